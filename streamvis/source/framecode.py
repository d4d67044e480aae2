"""A frame number in the pixels: which frame is this result really for?

A strip of black and white cells along the top edge, from the left corner. It survives H.264 and
scaling because a cell is much larger than a macroblock's error and is read in its middle.

    white  black  index (16 bits)  camera number (4 bits)  CRC-8 of the 20 bits  black  white
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

CELLS_ACROSS = 96  # cells in the picture's width: 10 px at 960, 6.7 px at 640
INDEX_BITS, CAMERA_BITS, CHECK_BITS = 16, 4, 8
_START, _STOP = (1, 0), (0, 1)
NUM_CELLS = len(_START) + INDEX_BITS + CAMERA_BITS + CHECK_BITS + len(_STOP)
MIN_WIDTH = 288  # px: cells of 3
_MIN_CONTRAST = 80  # grey levels between the darkest white and the lightest black


@dataclass(frozen=True)
class FrameCode:
    index: int
    camera_number: int


def write(image: NDArray[np.uint8], index: int, camera_number: int) -> None:
    """Paint the code into [H, W, 3] in place. An index beyond 16 bits starts again at 0."""
    if index < 0 or not 0 <= camera_number < 1 << CAMERA_BITS:
        raise ValueError(f"cannot encode {index = }, {camera_number = }")
    if image.shape[1] < MIN_WIDTH:
        raise ValueError(f"a frame code needs {MIN_WIDTH} px of width, got {image.shape[1]}")
    value = (index % (1 << INDEX_BITS)) << CAMERA_BITS | camera_number
    bits = (
        *_START,
        *_bits(value, INDEX_BITS + CAMERA_BITS),
        *_bits(_crc8(value), CHECK_BITS),
        *_STOP,
    )
    edge = _edges(image.shape[1])
    for bit, left, right in zip(bits, edge[:-1], edge[1:], strict=True):
        image[: edge[1], left:right] = 235 if bit else 16


def read(image: NDArray[np.uint8], width: int | None = None) -> FrameCode | None:
    """The code in [H, W, 3], or None. `width` is the picture's inside a padded image, px."""
    width = width or image.shape[1]
    if not MIN_WIDTH <= width <= image.shape[1]:
        return None
    edge = _edges(width)
    cells = np.array([_middle(image, edge[1], a, b) for a, b in pairwise(edge)])
    bits = cells > 126
    if cells[bits].min(initial=255) - cells[~bits].max(initial=0) < _MIN_CONTRAST:
        return None
    if tuple(bits[:2]) != _START or tuple(bits[-2:]) != _STOP:
        return None
    whole = int("".join("1" if b else "0" for b in bits[2:-2]), 2)
    value, check = whole >> CHECK_BITS, whole & ((1 << CHECK_BITS) - 1)
    if check != _crc8(value):
        return None
    return FrameCode(value >> CAMERA_BITS, value & ((1 << CAMERA_BITS) - 1))


def _edges(width: int) -> list[int]:
    """Where the cells begin, px, and where the last one ends."""
    return [round(k * width / CELLS_ACROSS) for k in range(NUM_CELLS + 1)]


def _middle(image: NDArray[np.uint8], height: int, left: int, right: int) -> float:
    """Mean of a cell without its outer quarter, which scaling mixes with the neighbours."""
    x, y = max(1, (right - left) // 4), max(1, height // 4)
    return float(image[y : height - y, left + x : right - x].mean())


def _bits(value: int, count: int) -> list[int]:
    return [value >> k & 1 for k in reversed(range(count))]


def _crc8(value: int) -> int:
    """CRC-8/SMBUS polynomial over three bytes; starts at 0x5A so that all black is not valid."""
    crc = 0x5A
    for byte in value.to_bytes(3, "big"):
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc
