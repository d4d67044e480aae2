"""The canvas: per camera, the picture the encoder has seen, tile by tile.

It is to the tile stream what the reference picture is to a video codec: a P packet only makes
sense on the state it was made for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamvis.tiling.grid import TileGrid
from streamvis.types import TilePacket, TilePlan


class Canvas:
    """One camera's reference picture. Nobody else writes `image`."""

    def __init__(self, grid: TileGrid) -> None:
        self._grid = grid
        self.image: NDArray[np.uint8] = np.zeros(grid.picture_shape, np.uint8)  # [H, W, 3] RGB
        self.seq = -1

    def fits(self, packet: TilePacket) -> bool:
        """Whether this packet builds on the state the canvas is in."""
        return _grid_of(packet.plan) == self._grid and packet.base_seq in (-1, self.seq)

    def apply(self, packet: TilePacket) -> None:
        """Paste the packet's tiles; it must fit."""
        assert self.fits(packet), f"{packet.base_seq = } does not fit {self.seq = }"
        self._grid.paste(self.image, packet.plan.index, packet.tiles)
        self.seq = packet.seq

    def reset(self) -> None:
        """Forget the state: only an I packet fits now."""
        self.image[:] = 0
        self.seq = -1


def _grid_of(plan: TilePlan) -> TileGrid:
    return TileGrid(plan.rows, plan.cols, plan.tile_px)
