"""How far two pictures are apart, block by block, and how noisy a camera is.

The measure: mean absolute difference over a block of 8x8 px, in grey levels, of the channel that
differs most; of a tile, the worst of its blocks. A mean over the whole tile would hide a person
of 7x20 px.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.tiling.grid import TileGrid

BLOCK_PX = 8
_QUIET_QUANTILE = 0.1  # of blocks: sky and road stay flat when all else moves
_NOISE_STEP = 0.1  # how fast the estimate follows
_MAX_NOISE = 16.0  # grey levels: more is not noise
_JUMP = math.log(1.15)  # of the exposure; cameras adapt in smaller steps
_STEADY = 0.04  # of the mean: whatever happened, it was no jump
_LIT = (16, 240)  # grey levels: what is darker or brighter does not follow the exposure
_AGREEING = 0.8  # of the lit blocks: else something moved

Image = NDArray[np.uint8]  # [H, W, 3]
Blocks = NDArray[np.uint8]  # [H / 8, W / 8, 3] grey levels, rounded


def block_differences(one: Image, other: Image) -> Blocks:
    """Mean absolute difference of each 8x8 block and channel."""
    height, width = one.shape[:2]
    size = (width // BLOCK_PX, height // BLOCK_PX)
    difference = cv2.absdiff(one, other)
    return np.asarray(cv2.resize(difference, size, interpolation=cv2.INTER_AREA), np.uint8)


def worst_of_tiles(blocks: Blocks, grid: TileGrid) -> NDArray[np.float32]:
    """float32 [M]: the largest value in each tile."""
    side = grid.tile_px // BLOCK_PX
    tiles = blocks.reshape(grid.rows, side, grid.cols, side, 3)
    return np.asarray(tiles.max(axis=(1, 3, 4)).ravel(), np.float32)


class NoiseMeter:
    """The camera's noise, as the difference it makes between two pictures of the same scene.

    Measured from picture to picture and in the quietest blocks, so that neither motion nor a
    slow fade passes for noise.
    """

    def __init__(self) -> None:
        self._level: float | None = None
        self._last: Image | None = None

    def reset(self) -> None:
        self._level = self._last = None

    def update(self, image: Image, content_size: tuple[int, int]) -> float:
        """Grey levels; 0 until two pictures came. Padding beyond `content_size` (width, height)
        px is not looked at."""
        last, self._last = self._last, image
        if last is None or last.shape != image.shape:
            return self._level or 0.0
        cols, rows = (side // BLOCK_PX for side in content_size)
        blocks = block_differences(image, last)[:rows, :cols].max(axis=2)
        if blocks.size:
            rank = int(_QUIET_QUANTILE * (blocks.size - 1))
            now = min(float(np.partition(blocks, rank, axis=None)[rank]), _MAX_NOISE)
            before = now if self._level is None else self._level
            self._level = before + _NOISE_STEP * (now - before)
        return self._level or 0.0


class ExposureMeter:
    """Sees when a camera's exposure jumps: nearly all blocks brighter or darker by one factor."""

    def __init__(self) -> None:
        self._last: NDArray[np.uint8] | None = None

    def reset(self) -> None:
        self._last = None

    def update(self, image: Image, content_size: tuple[int, int]) -> bool:
        """Whether it jumped since the picture before; padding as for NoiseMeter."""
        cols, rows = (side // BLOCK_PX for side in content_size)
        size = (image.shape[1] // BLOCK_PX, image.shape[0] // BLOCK_PX)
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)[:rows, :cols]
        last, self._last = self._last, np.asarray(small.max(axis=2), np.uint8)
        if last is None or last.shape != self._last.shape:
            return False
        now = self._last
        if abs(now.mean() / max(last.mean(), 1) - 1) < _STEADY:  # nearly always, and cheap
            return False
        is_lit = (np.minimum(now, last) >= _LIT[0]) & (np.maximum(now, last) <= _LIT[1])
        if is_lit.mean() < _QUIET_QUANTILE:
            return False
        gains = np.log(now[is_lit] / last[is_lit])
        gain = float(np.median(gains))
        agree = np.abs(gains - gain) < abs(gain) / 2
        return abs(gain) >= _JUMP and float(agree.mean()) >= _AGREEING
