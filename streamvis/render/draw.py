"""Boxes, labels and captions over a picture."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.render.picture import Colour, Picture, fill
from streamvis.render.text import draw_text, text_mask
from streamvis.types import Detections

Chip = tuple[int, int, int, int]  # x, y, width, height; px

# All sizes are for a picture of this height and grow with it.
_NOMINAL_HEIGHT_PX = 360
_FONT_PX = 12
_PADDING_PX = 3
_LINE_PX = 2
# Synthetic drives carry the frame number in the top rows: labels stay below.
_FRAME_CODE_PX = 20

_UNTRACKED: Colour = (176, 182, 190)
_INK: Colour = (16, 18, 22)
_PAPER: Colour = (255, 255, 255)
_GOLDEN_RATIO = 0.618033988749895


def track_colour(track_id: int) -> Colour:
    """The same for an id wherever it is drawn; steps of the golden ratio keep neighbours apart."""
    if track_id < 0:
        return _UNTRACKED
    r, g, b = colorsys.hsv_to_rgb(track_id * _GOLDEN_RATIO % 1, 0.6, 1.0)
    return round(r * 255), round(g * 255), round(b * 255)


def draw_detections(
    picture: Picture,
    detections: Detections,
    classes: Sequence[str],
    colours: Sequence[Colour] | None = None,
    min_labelled_px: int = 0,
) -> None:
    """Paint every box [picture px] and, where there is room, its class, id and score.

    `colours` has one for each detection; without it the track's id decides. Boxes lower than
    `min_labelled_px` get no text, so that a far crowd stays visible.
    """
    colours = colours or [track_colour(number) for number in detections.track_id.tolist()]
    by_size = np.argsort(-_area(detections.xyxy), kind="stable")
    for row in by_size:  # near objects first, so that those behind them stay visible
        _draw_box(picture, detections.xyxy[row], colours[row])
    chips: list[Chip] = []
    height = detections.xyxy[:, 3] - detections.xyxy[:, 1]
    for row in by_size[height[by_size] >= min_labelled_px]:
        _draw_label(picture, detections, int(row), classes, colours[row], chips)


def draw_caption(picture: Picture, camera: str, details: str) -> None:
    """Name the camera at the bottom left, with `details` behind it."""
    unit = _unit(picture)
    size, pad = round((_FONT_PX + 1) * unit), round(2 * _PADDING_PX * unit)
    gap = 2 * pad if details else 0
    name, rest = text_mask(camera, size), text_mask(details, size)
    width, height = 2 * pad + name.shape[1] + gap + rest.shape[1], pad + name.shape[0]
    y = picture.shape[0] - height
    fill(picture, 0, y, width, height, _INK, 0.72)
    draw_text(picture, camera, pad, y + pad // 2, size, _PAPER)
    draw_text(picture, details, pad + name.shape[1] + gap, y + pad // 2, size, _UNTRACKED)


def _draw_box(picture: Picture, xyxy: NDArray[np.float32], colour: Colour) -> None:
    height, width = picture.shape[:2]
    line = max(1, round(_LINE_PX * _unit(picture)))
    x1, y1, x2, y2 = np.clip(xyxy.round().astype(int), 0, [width, height] * 2).tolist()
    fill(picture, x1, y1, x2 - x1, y2 - y1, colour, 0.10)
    for ink, thickness in ((_INK, line + 2), (colour, line)):
        cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), ink, thickness)


def _draw_label(
    picture: Picture,
    detections: Detections,
    row: int,
    classes: Sequence[str],
    colour: Colour,
    chips: list[Chip],
) -> None:
    unit = _unit(picture)
    size, pad = round(_FONT_PX * unit), round(_PADDING_PX * unit)
    track_id = int(detections.track_id[row])
    name = classes[detections.class_id[row]].replace("_", " ")
    identity = f" #{track_id}" if track_id >= 0 else ""
    text = f"{name}{identity} {detections.score[row]:.2f}"
    mask = text_mask(text, size)
    chip = _find_place(
        picture, detections.xyxy[row], (mask.shape[1] + 2 * pad, mask.shape[0]), chips
    )
    if chip is None:
        return
    chips.append(chip)
    fill(picture, *chip, colour, 0.92)
    draw_text(picture, text, chip[0] + pad, chip[1], size, _INK)


def _find_place(
    picture: Picture, xyxy: NDArray[np.float32], size: tuple[int, int], chips: list[Chip]
) -> Chip | None:
    """Above the box, in it or below it; None if another label is in the way everywhere."""
    width, height = size
    x1, y1, _, y2 = xyxy.round().astype(int).tolist()
    lowest, highest = picture.shape[0] - height, round(_FRAME_CODE_PX * _unit(picture))
    x = min(max(x1 - 1, 0), picture.shape[1] - width)
    inside = [y1] if y2 - y1 > 2 * height else []  # a label must not hide its own object
    for y in (y1 - height, *inside, y2):
        chip = (x, y, width, height)
        if x >= 0 and highest <= y <= lowest and not any(_overlap(chip, other) for other in chips):
            return chip
    return None


def _overlap(a: Chip, b: Chip) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _area(xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    return (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])


def _unit(picture: Picture) -> float:
    return len(picture) / _NOMINAL_HEIGHT_PX
