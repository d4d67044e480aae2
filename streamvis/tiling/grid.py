"""A picture as a grid of square tiles, row-major."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TileGrid:
    rows: int
    cols: int
    tile_px: int

    @staticmethod
    def over(width: int, height: int, tile_px: int) -> TileGrid:
        """The grid that covers a picture exactly; ValueError when the tile does not divide it."""
        if width % tile_px or height % tile_px:
            raise ValueError(f"{width}x{height} is not a multiple of the {tile_px} px tile")
        return TileGrid(height // tile_px, width // tile_px, tile_px)

    @property
    def num_tiles(self) -> int:
        return self.rows * self.cols

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        return self.rows * self.tile_px, self.cols * self.tile_px, 3

    def view(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture [H, W, 3] as tiles, without a copy: [rows, cols, T, T, 3]."""
        t = self.tile_px
        return picture.reshape(self.rows, t, self.cols, t, 3).swapaxes(1, 2)

    def cut(self, picture: NDArray[np.uint8], index: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Copies of the tiles `index` [K] out of a picture: [K, T, T, 3]."""
        rows, cols = np.divmod(index, self.cols)
        return self.view(picture)[rows, cols]

    def paste(
        self, picture: NDArray[np.uint8], index: NDArray[np.int32], tiles: NDArray[np.uint8]
    ) -> None:
        """Write tiles [K, T, T, 3] into a picture, in place."""
        rows, cols = np.divmod(index, self.cols)
        self.view(picture)[rows, cols] = tiles
