"""Many cameras in one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from streamvis.render.draw import draw_caption
from streamvis.render.picture import Picture, fit_size, resize
from streamvis.render.text import draw_text, text_mask
from streamvis.render.tile_map import legend

_GUTTER_PX = 4
_LEGEND_PX = 28
_GUTTER = (14, 16, 20)
_EMPTY_CELL = (30, 34, 40)
_FAINT = (120, 128, 138)


class Mosaic:
    """A near-square grid of cells, one for each camera in the order given."""

    def __init__(
        self,
        cameras: Sequence[str],
        cell_size: tuple[int, int] = (640, 360),
        has_legend: bool = False,
    ) -> None:
        """`cell_size` is (width, height) px, both even so that the whole can be H.264.
        `has_legend` tells below the cells what the colours of tiles mean."""
        if not cameras or cell_size[0] % 2 or cell_size[1] % 2:
            raise ValueError(f"need a camera and an even cell size, got {cameras}, {cell_size}")
        self.cell_size = cell_size
        cols = math.ceil(math.sqrt(len(cameras)))
        rows = math.ceil(len(cameras) / cols)
        height, width = _extent(rows, cols, cell_size)
        self._canvas = np.full((height + has_legend * _LEGEND_PX, width, 3), _GUTTER, np.uint8)
        if has_legend:
            self._canvas[height:] = legend(width, _LEGEND_PX)
        self._cells = {
            camera: _cell(self._canvas, *divmod(i, cols), cell_size)
            for i, camera in enumerate(cameras)
        }
        for camera in cameras:
            self.clear(camera)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the composed picture, px."""
        return self._canvas.shape[1], self._canvas.shape[0]

    def put(self, camera: str, picture: Picture) -> None:
        """Show `picture` in the camera's cell, as large as fits, centred."""
        cell = self._cells[camera]
        width, height = fit_size((picture.shape[1], picture.shape[0]), self.cell_size)
        cell[:] = _GUTTER
        x, y = (cell.shape[1] - width) // 2, (cell.shape[0] - height) // 2
        cell[y : y + height, x : x + width] = resize(picture, (width, height))

    def clear(self, camera: str) -> None:
        """Say that the camera has no signal."""
        cell = self._cells[camera]
        cell[:] = _EMPTY_CELL
        size = round(cell.shape[0] / 20)
        mask = text_mask("no signal", size)
        x, y = (cell.shape[1] - mask.shape[1]) // 2, (cell.shape[0] - mask.shape[0]) // 2
        draw_text(cell, "no signal", x, y, size, _FAINT)
        draw_caption(cell, camera, "")

    def compose(self) -> Picture:
        """The whole picture, the caller's own."""
        return self._canvas.copy()


def _extent(rows: int, cols: int, cell_size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the grid with a gutter around every cell, px."""
    width, height = cell_size
    return rows * (height + _GUTTER_PX) + _GUTTER_PX, cols * (width + _GUTTER_PX) + _GUTTER_PX


def _cell(canvas: Picture, row: int, col: int, cell_size: tuple[int, int]) -> Picture:
    """A view of the canvas."""
    y, x = _extent(row, col, cell_size)
    return canvas[y : y + cell_size[1], x : x + cell_size[0]]
