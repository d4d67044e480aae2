"""Two ways to look at the same frames, side by side, with what each has cost so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streamvis.render.mosaic import Mosaic
from streamvis.render.picture import Colour, Picture
from streamvis.render.text import draw_text, text_mask
from streamvis.render.tile_map import ENCODED

_HALF_PX, _CELL_PX = 960, 640  # widths
_HEAD_PX = 56
_TEXT_PX, _PAD_PX, _BAR_PX = 17, 10, 8
_GROUND: Colour = (14, 16, 20)
_GROOVE: Colour = (52, 57, 64)
_PAPER: Colour = (255, 255, 255)
_QUIET: Colour = (190, 196, 204)


@dataclass(frozen=True)
class Spent:
    """What a side has cost since the film began."""

    tiles: int
    seconds: float


class Versus:
    """Two mosaics of the same cameras; the right one has tile maps and their legend."""

    def __init__(self, cameras: Sequence[str], titles: tuple[str, str]) -> None:
        cols = math.ceil(math.sqrt(len(cameras)))
        width = min(_CELL_PX, max(64, _HALF_PX // cols // 32 * 32))
        self.cell_size = width, width * 9 // 16
        self._titles = titles
        self._halves = (
            Mosaic(cameras, self.cell_size),
            Mosaic(cameras, self.cell_size, has_legend=True),
        )

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the composed picture, px; both even."""
        width, height = self._halves[1].size
        return 2 * width, height + _HEAD_PX

    def put(self, left: Mapping[str, Picture], right: Mapping[str, Picture]) -> None:
        """Show these cameras anew; the others keep their pictures."""
        for half, pictures in zip(self._halves, (left, right), strict=True):
            for camera, picture in pictures.items():
                half.put(camera, picture)

    def compose(self, left: Spent, right: Spent) -> Picture:
        """Both halves under their heads, the caller's own. Each bar is as long as the side's time,
        the longer one as wide as its half."""
        width, height = self.size
        canvas = np.full((height, width, 3), _GROUND, np.uint8)
        longest = max(left.seconds, right.seconds) or 1.0
        for number, (half, spent) in enumerate(zip(self._halves, (left, right), strict=True)):
            column = canvas[:, number * width // 2 : (number + 1) * width // 2]
            picture = half.compose()
            column[_HEAD_PX : _HEAD_PX + len(picture)] = picture
            figures = _figures(spent, left if number else None)
            _draw_head(column, self._titles[number], figures, spent.seconds / longest)
        return canvas


def _figures(spent: Spent, other: Spent | None) -> str:
    """Such as `2 110 tiles (35 %)   1.94 s (48 %)`; the shares are of the other side's."""
    tiles, seconds = f"{spent.tiles:,} tiles".replace(",", " "), f"{spent.seconds:.2f} s"
    if other is not None and other.tiles and other.seconds:
        tiles += f" ({100 * spent.tiles / other.tiles:.0f} %)"
        seconds += f" ({100 * spent.seconds / other.seconds:.0f} %)"
    return f"{tiles}   {seconds}"


def _draw_head(column: Picture, title: str, figures: str, share: float) -> None:
    width = column.shape[1]
    draw_text(column, title, _PAD_PX, _PAD_PX, _TEXT_PX, _PAPER)
    x = width - _PAD_PX - text_mask(figures, _TEXT_PX).shape[1]
    draw_text(column, figures, max(x, 0), _PAD_PX, _TEXT_PX, _QUIET)
    y, full = _HEAD_PX - _PAD_PX - _BAR_PX, width - 2 * _PAD_PX
    for length, colour in ((full, _GROOVE), (round(share * full), ENCODED)):
        column[y : y + _BAR_PX, _PAD_PX : _PAD_PX + length] = colour
