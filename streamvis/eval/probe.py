"""Disturbances that a camera may suffer, applied to the picture before the gate sees it.

Each is a function of the picture, the frame's number and the camera alone, so a disturbed drive
is as reproducible as the drive.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.eval.labels import DriveLabels
from streamvis.types import Frame

Image = NDArray[np.uint8]  # [H, W, 3] RGB, the content without padding

_FADE_S = 10.0
_FADE_TO = 0.35
_FLICKER = 0.08
_EXPOSURE_S = 2.0
_EXPOSURES = (1.0, 1.6, 0.6, 1.9, 0.45, 1.3)  # gains, one after the other
_NOISE_STD = 8.0  # grey levels
_NIGHT_STD = 6.0
_XRAY_CONTRAST = 0.35
_LENS = 1.2  # tangent of the angle at one picture width / 2 from the centre
_EDGE_POINTS = 17  # of a box's side, bent one by one


@dataclass(frozen=True)
class Moment:
    """Which picture of which camera."""

    camera: str
    index: int
    fps: float

    @property
    def t_s(self) -> float:
        return self.index / self.fps


def disturb(probe: str, frame: Frame, fps: float) -> Frame:
    """The frame as the disturbed camera would have given it; the padding stays as it is."""
    width, height = frame.letterbox.content_size
    image = frame.image.copy()
    moment = Moment(frame.camera, frame.index, fps)
    image[:height, :width] = PROBES[probe](frame.image[:height, :width], moment)
    return replace(frame, image=image)


def _fade(image: Image, moment: Moment) -> Image:
    """The light goes down slowly for 10 s, and up again."""
    phase = abs((moment.t_s / _FADE_S + 1) % 2 - 1)  # 0 -> 1 -> 0
    return _gain(image, 1 - (1 - _FADE_TO) * phase)


def _flicker(image: Image, moment: Moment) -> Image:
    """Lamps on the mains: 8 % brighter, then darker, picture by picture."""
    return _gain(image, 1 + (_FLICKER if moment.index % 2 else -_FLICKER))


def _exposure(image: Image, moment: Moment) -> Image:
    """The automatic exposure jumps every 2 s."""
    return _gain(image, _EXPOSURES[int(moment.t_s / _EXPOSURE_S) % len(_EXPOSURES)])


def _noise(image: Image, moment: Moment) -> Image:
    """A noisy sensor."""
    return _to_uint8(image + _gaussian(image, moment) * _NOISE_STD)


def _night(image: Image, moment: Moment) -> Image:
    """Little light: dark, hardly any colour, noisy."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    dull = 0.35 * image + 0.65 * grey
    dark = 255 * 0.45 * (dull / 255) ** 1.6
    return _to_uint8(dark + _gaussian(image, moment) * _NIGHT_STD)


def _xray(image: Image, moment: Moment) -> Image:
    """Another domain: inverted grey of low contrast."""
    del moment
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    flat = 150 + _XRAY_CONTRAST * ((255 - grey) - 127.5)
    return _to_uint8(np.repeat(flat[..., None], 3, axis=2))


def _fisheye(image: Image, moment: Moment) -> Image:
    """A lens that bends straight lines; what it does not see is black."""
    del moment
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    points = np.stack([x + 0.5, y + 0.5], axis=-1)  # centres of the new picture's pixels
    old = _unbend(points, width, height) - 0.5
    return np.asarray(
        cv2.remap(image, old[..., 0], old[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    )


PROBES: Mapping[str, Callable[[Image, Moment], Image]] = {
    "fade": _fade,
    "flicker": _flicker,
    "exposure": _exposure,
    "noise": _noise,
    "night": _night,
    "fisheye": _fisheye,
    "xray": _xray,
}


def bend_boxes(xyxy: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Boxes [N, 4] px of the plain picture -> the boxes around them behind the fisheye lens."""
    share = np.linspace(0, 1, _EDGE_POINTS, dtype=np.float32)
    x = xyxy[:, :1] + (xyxy[:, 2:3] - xyxy[:, :1]) * share  # [N, points]
    y = xyxy[:, 1:2] + (xyxy[:, 3:4] - xyxy[:, 1:2]) * share
    sides = [
        *(np.stack([x, np.broadcast_to(edge, x.shape)], -1) for edge in (y[:, :1], y[:, -1:])),
        *(np.stack([np.broadcast_to(edge, y.shape), y], -1) for edge in (x[:, :1], x[:, -1:])),
    ]
    bent = _bend(np.concatenate(sides, axis=1), width, height)  # [N, 4 * points, 2]
    return np.concatenate([bent.min(axis=1), bent.max(axis=1)], axis=1).astype(np.float32)


def bend_labels(labels: DriveLabels) -> DriveLabels:
    """The labels behind the fisheye lens; ignore regions too."""
    frames = {
        key: replace(frame, xyxy=bend_boxes(frame.xyxy, *labels.size(key[0])))
        for key, frame in labels.frames.items()
    }
    return replace(labels, frames=frames)


def _bend(points: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """(x, y) px in the plain picture -> behind an equidistant lens: the radius grows with the
    angle. Top and bottom keep their places in the middle of the picture, so nothing is cut off."""
    offset, radius = _polar(points, width, height)
    fixed = height / width
    bent = fixed * np.arctan(_LENS * radius) / math.atan(_LENS * fixed)
    moved: NDArray[np.float32] = _cartesian(offset, radius, bent, width, height)
    return moved


def _unbend(points: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """The inverse of `_bend`."""
    offset, radius = _polar(points, width, height)
    fixed = height / width
    angle = np.minimum(radius / fixed * math.atan(_LENS * fixed), 1.5)  # below a right angle
    moved: NDArray[np.float32] = _cartesian(offset, radius, np.tan(angle) / _LENS, width, height)
    return moved


def _polar(points: NDArray[np.float32], width: int, height: int) -> tuple[Any, Any]:
    """Offsets from the centre, and their lengths in half widths."""
    offset = points - np.array([width / 2, height / 2], np.float32)
    return offset, np.linalg.norm(offset, axis=-1, keepdims=True) / (width / 2)


def _cartesian(offset: Any, radius: Any, new: Any, width: int, height: int) -> Any:
    factor = np.divide(new, radius, out=np.ones_like(radius), where=radius > 0)
    moved = offset * factor + np.array([width / 2, height / 2], np.float32)
    return moved.astype(np.float32)


def _gaussian(image: Image, moment: Moment) -> NDArray[np.float32]:
    seed = (zlib.crc32(moment.camera.encode()), moment.index)
    return np.random.default_rng(seed).standard_normal(image.shape, np.float32)


def _gain(image: Image, gain: float) -> Image:
    return _to_uint8(image * np.float32(gain))


def _to_uint8(values: Any) -> Image:
    image: Image = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return image
