"""Where and when a run encoded its tiles: a map for each camera, and the share over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from streamvis.eval.report.pictures import picture_uri, scaled
from streamvis.eval.report.style import Mark
from streamvis.eval.report.svg import draw_svg
from streamvis.render.picture import Colour, Picture, fill
from streamvis.render.text import draw_text, text_mask
from streamvis.render.tile_map import ENCODED
from streamvis.types import TileState

_NEVER: Colour = (16, 18, 22)
_PAPER: Colour = (255, 255, 255)
_WIDTH_PX = 560
_MIN_TEXT_PX = 22  # a narrower tile has no room for its figure
_PLOT_IN = (5.4, 2.4)


@dataclass(frozen=True)
class TileUse:
    """How the tiles of one camera were served in F frames of a run."""

    config: str
    camera: str
    image: Picture  # [h, w, 3] RGB, one frame of it, the content without padding
    media_s: NDArray[np.float64]  # [F] since the first frame
    tiles: NDArray[np.uint8]  # [F, rows, cols] of TileState

    @property
    def often(self) -> NDArray[np.float64]:
        """[rows, cols] in which share of the frames each tile was encoded."""
        return np.asarray((self.tiles == TileState.ENCODED).mean(axis=0), np.float64)

    @property
    def share(self) -> NDArray[np.float64]:
        """[F] which share of each frame's tiles was encoded."""
        return np.asarray((self.tiles == TileState.ENCODED).mean(axis=(1, 2)), np.float64)

    @property
    def is_reused(self) -> bool:
        """Whether some tiles were not encoded, so that there is something to see."""
        return bool((self.tiles != TileState.ENCODED).any())

    @property
    def words(self) -> str:
        """Such as `front: 34.0 % encoded, 0.2 % stale, over 96 frames`."""
        shares = {state: float((self.tiles == state).mean()) for state in TileState}
        text = f"{self.camera}: {100 * shares[TileState.ENCODED]:.1f} % encoded"
        for state in (TileState.MOVED, TileState.STALE):
            text += f", {100 * shares[state]:.1f} % {state.name.lower()}" if shares[state] else ""
        return f"{text}, over {len(self.tiles)} frames"


def often_uri(use: TileUse) -> str:
    """The camera's picture under a map of how often each tile was encoded, as a data: address."""
    picture = scaled(use.image, _WIDTH_PX)
    rows, cols = use.often.shape
    tile_px = max(picture.shape[1] / cols, picture.shape[0] / rows)  # padded at one side only
    edges = np.rint(np.arange(max(rows, cols) + 1) * tile_px).astype(int).tolist()
    for row, col in np.ndindex(rows, cols):
        x, y, side = edges[col], edges[row], edges[col + 1] - edges[col] - 1
        often = float(use.often[row, col])
        colour = np.array(_NEVER) + often * (np.array(ENCODED) - np.array(_NEVER))
        fill(picture, x, y, side, side, _colour(colour), 0.6)
        _write_percent(picture, x, y, side, often)
    return picture_uri(picture)


def share_plot(name: str, runs: Sequence[tuple[Mark, TileUse]], camera: str) -> Markup:
    """Share of a camera's tiles that was encoded, over media time."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for mark, use in runs:
            line = axes.plot(use.media_s, use.share, color=mark.colour, linestyle=mark.line_style)
            line[0].set_linewidth(1.3)
        axes.set(ylim=(0, 1.04), xlabel="media time, s", ylabel="tiles encoded")
        axes.set_title(camera, loc="left", fontsize=10)
        axes.margins(x=0)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.0f} %"))

    return draw_svg(name, f"share of the tiles of {camera} that was encoded", draw, _PLOT_IN)


def _write_percent(picture: Picture, x: int, y: int, side: int, often: float) -> None:
    """In the middle of the tile's visible part, which padding may cut."""
    size, height = round(0.26 * side), min(side, picture.shape[0] - y)
    mask = text_mask(f"{100 * often:.0f}", size)
    if side < _MIN_TEXT_PX or height < mask.shape[0]:
        return
    left, top = x + (side - mask.shape[1]) // 2, y + (height - mask.shape[0]) // 2
    for shift, colour in ((1, _NEVER), (0, _PAPER)):  # a shadow, for bright ground
        draw_text(picture, f"{100 * often:.0f}", left + shift, top + shift, size, colour)


def _colour(levels: NDArray[np.float64]) -> Colour:
    red, green, blue = levels.round().astype(int).tolist()
    return red, green, blue
