"""Matplotlib's drawings as SVG that lives inside a page, in the page's colours."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.figure import Figure

from streamvis.eval.report.style import CARD, CSS_VARIABLES, INK, LINE, MUTED

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # real text: sharp, searchable and small
    "text.parse_math": False,  # a name may hold a dollar sign
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": CARD,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "lines.scale_dashes": True,
}
# Dates and creators would make equal results unequal files.
_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))

_FONT = re.compile(r"'DejaVu Sans'[^;\"]*")
# A style element inside an SVG is in force for the whole page.
_DROPPED = re.compile(r"<(metadata|style)\b.*?</\1>", re.DOTALL)
_ID = re.compile(r'(\bid="|url\(#|href="#)')
_COLOUR = re.compile("|".join(CSS_VARIABLES))


def draw_svg(
    name: str, title: str, draw: Callable[[Figure], None], size_in: tuple[float, float] = (4.4, 3.1)
) -> Markup:
    """What `draw` puts on a figure. `name` must be unique in the page: every id starts with it."""
    with rc_context(_SETTINGS | {"svg.hashsalt": name}):
        figure = Figure(figsize=size_in, layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=_METADATA, transparent=True)
    return _inline(buffer.getvalue(), name, title)


def draw_files(
    name: str, draw: Callable[[Figure], None], size_in: tuple[float, float], dpi: int = 150
) -> tuple[bytes, bytes]:
    """The same by itself, on its own ground: an SVG file and a PNG file."""
    with rc_context(_SETTINGS | {"svg.hashsalt": name, "figure.facecolor": CARD}):
        figure = Figure(figsize=size_in, layout="constrained")
        draw(figure)
        svg, png = io.BytesIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata=_METADATA)
        figure.savefig(png, format="png", dpi=dpi, metadata={"Software": None})
    return svg.getvalue(), png.getvalue()


def _inline(document: str, name: str, title: str) -> Markup:
    view_box = re.search(r'viewBox="([^"]+)"', document)
    assert view_box, "matplotlib wrote an SVG without viewBox"
    body = document[document.index(">", document.index("<svg")) + 1 :]
    body = _DROPPED.sub("", body)
    body = _ID.sub(rf"\g<1>{name}-", body)
    body = _COLOUR.sub(lambda found: f"var({CSS_VARIABLES[found.group()]})", body)
    body = _FONT.sub("var(--sans)", body)
    label = f'role="img" aria-label="{escape(title)}"'
    return Markup(f'<svg viewBox="{view_box.group(1)}" {label}>{body}')  # body ends with </svg>
