"""Random tile streams for the tests of the executors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from streamvis.encode.encoder import Cache, Encoder, Features, TileUpdate
from streamvis.tiling.grid import TileGrid
from streamvis.tiling.motion import shifted_tiles
from streamvis.types import TilePlan

TILE_PX = 64


class Camera:
    """A canvas and its cache, and updates that fit them."""

    def __init__(self, encoder: Encoder, seed: int = 0) -> None:
        width, height = encoder.input_size
        self.rows, self.cols = height // TILE_PX, width // TILE_PX
        self.picture = np.zeros((height, width, 3), np.uint8)
        self.cache: Cache = encoder.new_cache()
        self._random = np.random.default_rng(seed)

    @property
    def num_tiles(self) -> int:
        return self.rows * self.cols

    def update(self, index: list[int] | NDArray[np.int32], quiet: bool = False) -> TileUpdate:
        """New noise in these tiles; `quiet` ones come again as they are."""
        index = np.array(index, np.int32)
        view = self.picture.reshape(self.rows, TILE_PX, self.cols, TILE_PX, 3).swapaxes(1, 2)
        where = np.divmod(index, self.cols)
        if not quiet:
            shape = (len(index), TILE_PX, TILE_PX, 3)
            view[where] = self._random.integers(0, 256, shape, np.uint8)
        plan = TilePlan(
            self.rows,
            self.cols,
            TILE_PX,
            "I" if len(index) == self.num_tiles else "P",
            index,
            np.zeros((0, 2), np.int16),
            np.zeros(self.num_tiles, np.float32),
            np.ones(self.num_tiles, np.int32),
        )
        return TileUpdate(self.picture, plan, view[where], self.cache)

    def every_tile(self, quiet: bool = False) -> TileUpdate:
        return self.update(list(range(self.num_tiles)), quiet)

    def dense(self, encoder: Encoder) -> Features:
        return encoder.encode_full(torch.from_numpy(self.picture)[None])


def relative_error(found: torch.Tensor, want: torch.Tensor) -> float:
    """|found - want| / |want|, over everything."""
    return float((found - want).norm() / want.norm().clamp(min=1e-9))


def worst_error(found: Features, want: Features) -> float:
    pairs = [(found.pyramid[s], want.pyramid[s]) for s in want.pyramid]
    pairs.append((found.embedding, want.embedding))
    if found.context is not None and want.context is not None:
        pairs.append((found.context, want.context))
    return max(relative_error(*pair) for pair in pairs)


def compensate(canvas: NDArray[np.uint8], plan: TilePlan) -> NDArray[np.uint8]:
    """The canvas before this plan's tiles came, with its moved tiles where the frame has them: what
    the gate held the frame against. A copy; [H, W, 3]."""
    grid = TileGrid(plan.rows, plan.cols, plan.tile_px)
    moved = canvas.copy()
    if len(plan.motion):
        index = np.flatnonzero(plan.motion.any(axis=1)).astype(np.int32)
        grid.paste(moved, index, shifted_tiles(canvas, grid, index, plan.motion[index]))
    return moved
