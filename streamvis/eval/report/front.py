"""The picture of a sweep: what each setting costs and what it loses, and who is never beaten."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from streamvis.eval.report.style import CARD, COLOURS, INK, MUTED
from streamvis.eval.report.svg import draw_files
from streamvis.eval.tune import Tried, Tuning, short

_SIZE_IN = (9.6, 4.8)
_OTHER, _FRONT, _CHOSEN = MUTED, COLOURS[0], COLOURS[1]


def draw_front(tuning: Tuning) -> tuple[bytes, bytes]:
    """SVG and PNG: AP50 lost over operations and over time, both as shares of the dense run's."""

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        dense = tuning.tried[0]
        _panel(left, tuning, lambda one: one.gflops / dense.gflops, "operations")
        _panel(right, tuning, lambda one: one.ms / dense.ms, "time to encode and detect")
        front = tuning.front  # by operations: times depend on what else the machine did
        x, y = [one.gflops / dense.gflops for one in front], [one.loss_points for one in front]
        left.plot(x, y, color=_FRONT, linewidth=1)
        left.set_ylabel("AP50 lost, points  (lower is better)")
        figure.suptitle(_title(tuning), x=0.01, ha="left", fontsize=11, color=INK)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)

    return draw_files("front", draw, _SIZE_IN)


def _panel(axes: Axes, tuning: Tuning, cost: Callable[[Tried], float], what: str) -> None:
    front, chosen = tuning.front, tuning.recommended
    others = [one for one in tuning.tried if one not in front and one is not chosen]
    for points, marker, size, colour, label in (
        (others, "o", 7.5, _OTHER, "beaten by another"),
        (front, "o", 7.5, _FRONT, "Pareto front"),
        ([chosen], "*", 15, _CHOSEN, "recommended"),
    ):
        x, y = [cost(one) for one in points], [one.loss_points for one in points]
        dots = axes.plot(x, y, marker, color=colour, markersize=size, label=label, zorder=3)
        dots[0].set_markeredgecolor(CARD)
    axes.axhline(
        tuning.loss_limit, color=_CHOSEN, linewidth=1, linestyle=(0, (4, 3)), label="most allowed"
    )
    named = [tuning.tried[0], *front, chosen]
    _name_points(axes, list({one.name: one for one in named}.values()), cost)
    axes.set_xlim(left=0)
    axes.margins(y=0.15)
    axes.set_xlabel(f"{what}, share of dense  (left is cheaper)")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:.0f} %"))


def _name_points(axes: Axes, points: list[Tried], cost: Callable[[Tried], float]) -> None:
    """In turns above and below: neighbours on the front lie close together."""
    for number, one in enumerate(sorted(points, key=cost)):
        text = " · ".join(map(short, one.values.values())) or "dense"
        shift, align = ((6, 6), "bottom") if number % 2 == 0 else ((-6, -6), "top")
        axes.annotate(
            text,
            (cost(one), one.loss_points),
            textcoords="offset points",
            xytext=shift,
            ha="left" if number % 2 == 0 else "right",
            va=align,
            fontsize=8,
            color=INK,
        )


def _title(tuning: Tuning) -> str:
    keys = " · ".join(key for one in tuning.tried[1:2] for key in one.values)
    measure = "labels" if tuning.has_labels else "what the dense run found"
    return f"{tuning.drive}, {tuning.num_frames} frames, against {measure}; at the points: {keys}"
