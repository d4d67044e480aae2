"""Frames of an evaluation as the report shows them: labels, detections and encoded tiles."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamvis.eval.labels import FrameLabels
from streamvis.render.draw import draw_detections
from streamvis.render.jpeg import encode_jpeg
from streamvis.render.picture import Colour, Picture, fill, resize
from streamvis.render.tile_map import draw_tiles
from streamvis.track.tracker import box_iou
from streamvis.types import CLASSES, Detections, TileState

FOUND: Colour = (60, 220, 110)
MISSED: Colour = (255, 60, 60)
IGNORED: Colour = (170, 176, 184)
_INK: Colour = (16, 18, 22)
CLASS_COLOURS: dict[str, Colour] = {  # none is the green or red of the labels
    "person": (250, 230, 70),
    "bicycle": (240, 150, 220),
    "car": (90, 190, 255),
    "motorcycle": (200, 140, 255),
    "bus": (110, 140, 255),
    "truck": (70, 225, 225),
    "traffic_light": (245, 245, 245),
    "traffic_sign": (235, 190, 140),
}

_WIDTH_PX = 880
_TILES_WIDTH_PX = 560
_MIN_LABELLED_PX = 26
_LINE_PX = 2
_DASH_PX = 7
_MATCH_IOU = 0.5
# A car called a truck was still seen: vehicles match each other, as in the `vehicle` group.
_GROUP = np.array(
    [CLASSES.index({"bus": "car", "truck": "car"}.get(name, name)) for name in CLASSES]
)


@dataclass(frozen=True)
class FramePicture:
    """One frame worth looking at."""

    config: str
    camera: str
    frame_index: int
    image: Picture  # [h, w, 3] RGB, the content without padding
    labels: FrameLabels  # source px
    detections: Detections  # source px
    source_size: tuple[int, int]  # (width, height) px
    tiles: NDArray[np.uint8] | None  # [rows, cols] of TileState, the encoder's grid; None: unknown
    why: str  # one line under the picture

    @property
    def is_reused(self) -> bool:
        """Whether some tiles were not encoded, so that a map of them tells something."""
        return self.tiles is not None and bool((self.tiles != TileState.ENCODED).any())


def boxes_uri(frame: FramePicture) -> str:
    """The frame with its labels and detections, as a data: address."""
    picture = scaled(frame.image, _WIDTH_PX)
    scale = np.float32(picture.shape[1] / frame.source_size[0])
    found = frame.detections.with_boxes(frame.detections.xyxy * scale)
    colours = [CLASS_COLOURS[CLASSES[number]] for number in found.class_id]
    draw_detections(picture, found, CLASSES, colours, _MIN_LABELLED_PX)
    is_missed = missed(frame.labels, frame.detections)
    for row, xyxy in enumerate(frame.labels.xyxy * scale):
        if frame.labels.is_ignored[row]:
            _draw_dashed(picture, xyxy, IGNORED, _LINE_PX - 1, gap_alpha=0.0)
        elif is_missed[row]:
            _tint(picture, xyxy, MISSED)
            _draw_dashed(picture, xyxy, MISSED, _LINE_PX + 1)
        else:
            _draw_dashed(picture, xyxy, FOUND, _LINE_PX)
    return picture_uri(picture)


def tiles_uri(frame: FramePicture) -> str:
    """The frame with a map of how its tiles were served, as a data: address."""
    assert frame.tiles is not None, "a frame without tiles has no tile map"
    picture = scaled(frame.image, _TILES_WIDTH_PX)
    rows, cols = frame.tiles.shape
    # The content fills the encoder's input in one direction and is padded in the other.
    draw_tiles(picture, frame.tiles, max(picture.shape[1] / cols, picture.shape[0] / rows))
    return picture_uri(picture)


def missed(labels: FrameLabels, detections: Detections) -> NDArray[np.bool_]:
    """Which labels [N] no detection of their group covers; the surest detection chooses first."""
    is_open = ~labels.is_ignored
    overlap = box_iou(detections.xyxy.astype(np.float64), labels.xyxy.astype(np.float64))  # [D, N]
    same = _GROUP[detections.class_id][:, None] == _GROUP[labels.class_id]
    for row in np.argsort(-detections.score, kind="stable"):
        fits = np.where(is_open & same[row], overlap[row], 0.0)
        if fits.max(initial=0.0) >= _MATCH_IOU:
            is_open[fits.argmax()] = False
    return is_open


def _draw_dashed(
    picture: Picture,
    xyxy: NDArray[np.float32],
    colour: Colour,
    line_px: int,
    gap_alpha: float = 1.0,
) -> None:
    """Dashes of the colour, and of ink between them: seen on bright and on dark ground."""
    x0, y0, x1, y1 = _inside(picture, xyxy)
    inks = ((colour, 1.0), (_INK, gap_alpha))
    for number, x in enumerate(range(x0, x1, _DASH_PX)):
        size = (min(_DASH_PX, x1 - x), line_px)
        for y in (y0, max(y1 - line_px, y0)):
            fill(picture, x, y, *size, *inks[number % 2])
    for number, y in enumerate(range(y0, y1, _DASH_PX)):
        size = (line_px, min(_DASH_PX, y1 - y))
        for x in (x0, max(x1 - line_px, x0)):
            fill(picture, x, y, *size, *inks[number % 2])


def _tint(picture: Picture, xyxy: NDArray[np.float32], colour: Colour) -> None:
    x0, y0, x1, y1 = _inside(picture, xyxy)
    fill(picture, x0, y0, x1 - x0, y1 - y0, colour, 0.22)


def _inside(picture: Picture, xyxy: NDArray[np.float32]) -> tuple[int, int, int, int]:
    """The box in whole pixels, cut off at the picture's edges."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = np.clip(xyxy.round().astype(int), 0, [width, height] * 2).tolist()
    return x0, y0, x1, y1


def scaled(image: Picture, width_px: int) -> Picture:
    """A copy of this width."""
    size = (width_px, round(width_px * image.shape[0] / image.shape[1]))
    return resize(image, size).copy()


def picture_uri(picture: Picture) -> str:
    """The picture itself, as a data: address."""
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(picture, 82)).decode()
