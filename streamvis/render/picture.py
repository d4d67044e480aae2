"""What the room draws on, and the two operations everything needs."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # [H, W, 3] RGB
Colour = tuple[int, int, int]  # RGB


def fit_size(size: tuple[int, int], cell_size: tuple[int, int]) -> tuple[int, int]:
    """The largest (width, height) with the shape of `size` that fits into a cell."""
    scale = min(cell_size[0] / size[0], cell_size[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resize(picture: Picture, size: tuple[int, int]) -> Picture:
    """To (width, height) px; the picture itself if it has that size."""
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    shrinks = size[0] < picture.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size, interpolation=interpolation), np.uint8)


def fill(
    picture: Picture, x: int, y: int, width: int, height: int, colour: Colour, alpha: float
) -> None:
    """Lay a colour over a rectangle; what lies outside the picture is cut off."""
    area = picture[y : y + height, x : x + width]
    paint = np.array(colour, np.float32) * alpha + 0.5  # the half rounds
    area[:] = area * np.float32(1 - alpha) + paint
