"""How each config looks, the same in every table and plot: colour, dash and marker.

The colours keep apart for colour-blind readers, and the dash and the marker say it again. Plots
are drawn with the colours below; the page replaces them by its style sheet's variables, so that
they follow light and dark mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamvis.eval.result import ConfigResult, EvalResult

INK = "#1b1e23"
MUTED = "#5c646f"
LINE = "#d8dce2"
CARD = "#fefefe"
COLOURS = ("#0072b2", "#c8500a", "#00805c", "#a03f86", "#856700", "#4b5563")

# On the page each is a variable of style.css, which has a second value for dark mode.
CSS_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", CARD: "--card"} | {
    colour: f"--c{number}" for number, colour in enumerate(COLOURS)
}

_MARKERS = "os^DvP"
_DASHES = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2), (9, 2), (3, 1.5, 3, 1.5, 1, 1.5))
_MARKER_PATHS = {  # in a box of 10 x 10
    "o": "M5 1a4 4 0 1 1 0 8a4 4 0 1 1 0-8z",
    "s": "M1.4 1.4h7.2v7.2h-7.2z",
    "^": "M5 .8L9.4 9H.6z",
    "D": "M5 .3L9.7 5L5 9.7L.3 5z",
    "v": "M5 9.2L.6 1h8.8z",
    "P": "M3.4 .6h3.2v2.8h2.8v3.2H6.6v2.8H3.4V6.6H.6V3.4h2.8z",
}


@dataclass(frozen=True)
class Mark:
    """What stands for one config."""

    number: int

    @property
    def colour(self) -> str:
        return COLOURS[self.number % len(COLOURS)]

    @property
    def css(self) -> str:
        return f"var({CSS_VARIABLES[self.colour]})"

    @property
    def dashes(self) -> tuple[float, ...]:
        """On and off lengths, in line widths; empty: solid."""
        step = self.number + self.number // len(COLOURS)  # a colour's second use is dashed anew
        return _DASHES[step % len(_DASHES)]

    @property
    def line_style(self) -> str | tuple[int, tuple[float, ...]]:
        """As matplotlib wants it."""
        return (0, self.dashes) if self.dashes else "-"

    @property
    def marker(self) -> str:
        return _MARKERS[(self.number + self.number // len(COLOURS)) % len(_MARKERS)]

    @property
    def marker_path(self) -> str:
        return _MARKER_PATHS[self.marker]


def marks_of(result: EvalResult) -> Mapping[str, Mark]:
    """By name; a probed run looks like the same config undisturbed."""
    bases = dict.fromkeys(base_name(config) for config in result.configs)
    marks = {base: Mark(number) for number, base in enumerate(bases)}
    return marks | {config.name: marks[base_name(config)] for config in result.configs}


def base_name(config: ConfigResult) -> str:
    """The config's name without the probe that disturbed its drive."""
    return config.name.removesuffix(f"+{config.probe}") if config.probe else config.name
