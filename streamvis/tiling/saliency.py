"""Which tiles hold detected objects, and where those are by now."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamvis.tiling.grid import TileGrid

_MARGIN_PX = 8  # objects move between two frames


def tiles_under(xyxy: NDArray[np.float32], grid: TileGrid) -> NDArray[np.bool_]:
    """bool [M]: tiles that the boxes [N, 4], encoder px, touch. Boxes that are not a number
    touch none."""
    under = np.zeros((grid.rows, grid.cols), np.bool_)
    finite = xyxy[np.isfinite(xyxy).all(axis=1)]
    first = np.floor((finite[:, :2] - _MARGIN_PX) / grid.tile_px).astype(int)
    last = np.floor((finite[:, 2:] + _MARGIN_PX) / grid.tile_px).astype(int)
    for (x0, y0), (x1, y1) in zip(np.maximum(first, 0), np.maximum(last, -1), strict=True):
        under[y0 : y1 + 1, x0 : x1 + 1] = True
    return under.ravel()


def follow(
    xyxy: NDArray[np.float32], vectors: NDArray[np.float32], grid: TileGrid
) -> NDArray[np.float32]:
    """Boxes [N, 4] of the canvas -> where they are in the frame whose tiles lie `vectors` [M, 2]
    px away in the canvas; each goes with the tile under its centre."""
    limit = np.array([grid.cols - 1, grid.rows - 1])
    finite = xyxy[np.isfinite(xyxy).all(axis=1)]
    centres = (finite[:, :2] + finite[:, 2:]) / 2
    cols, rows = np.clip(centres // grid.tile_px, 0, limit).astype(int).T
    return np.asarray(finite - np.tile(vectors[rows * grid.cols + cols], 2), np.float32)
