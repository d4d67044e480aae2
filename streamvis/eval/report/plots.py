"""The report's plots. The legend stands in the page, beside them, so no label can overlap.

Each function takes the runs to show with their marks and gives an SVG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator, NullLocator
from numpy.typing import NDArray

from streamvis.eval.report.style import CARD, MUTED, Mark
from streamvis.eval.report.svg import draw_svg
from streamvis.eval.result import Calibration, DetectionScore, Interval

Points: TypeAlias = Sequence[tuple[Mark, float, DetectionScore]]  # cost, accuracy

_SMALL_IN, _WIDE_IN = (3.6, 2.9), (5.4, 3.1)  # text must stay readable on a phone
_MOST_UPRIGHT = 5  # labels side by side
_LOG_FROM = 8.0  # a linear axis hides the small ones when the largest is so many times larger
_RECALL = np.linspace(0, 1, 101)


def cost_plot(name: str, points: Points, cost: str, group: str) -> Markup:
    """Accuracy over cost; the line joins the configs that no other beats in both."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(*_front(points), color=MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        for mark, x, score in points:
            _point(axes, mark, x, score.AP50, score.intervals.get("AP50"))
        _cost_axis(axes, [x for _, x, _ in points])
        axes.set(xlabel=f"{cost}  (left is cheaper)", ylabel=f"{group} AP50")
        _score_axis(axes, [score for _, _, score in points])

    return draw_svg(name, f"{group} AP50 against {cost}", draw)


def precision_plot(name: str, curves: Sequence[tuple[Mark, DetectionScore]], group: str) -> Markup:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for mark, score in curves:
            reached = int(np.flatnonzero(score.precision > 0).max(initial=-1)) + 1
            x, y = _RECALL[:reached], score.precision[:reached]
            axes.plot(x, y, color=mark.colour, linestyle=mark.line_style)
            if reached:
                axes.plot(x[-1], y[-1], color=mark.colour, marker=mark.marker, clip_on=False)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
        axes.set_title(group, loc="left", fontsize=10)

    return draw_svg(name, f"precision over recall, {group}", draw, _SMALL_IN)


def calibration_plot(name: str, runs: Sequence[tuple[Mark, Calibration]], group: str) -> Markup:
    """Share that is right over the score, above how many detections each point stands on."""

    def draw(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot((0, 1), (0, 1), color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        width = 1 / (len(runs[0][1].count) * (len(runs) + 1))
        for number, (mark, run) in enumerate(runs):
            seen = run.count > 0
            look = {"color": mark.colour, "linestyle": mark.line_style, "marker": mark.marker}
            upper.plot(run.mean_score[seen], run.precision[seen], **look, markersize=4.5)
            left = np.arange(len(run.count)) / len(run.count) + (number + 0.5) * width
            lower.bar(left, run.count, width, align="edge", color=mark.colour)
        upper.set(xlim=(0, 1), ylim=(0, 1.04), ylabel="share that is right")
        upper.set_title(group, loc="left", fontsize=10)
        lower.set(xlabel="score", ylabel="detections")
        _count_axis(lower, max(int(run.count.max(initial=0)) for _, run in runs))

    return draw_svg(name, f"calibration, {group}", draw, (3.6, 3.7))


def latency_plot(name: str, runs: Sequence[tuple[Mark, NDArray[np.float32]]]) -> Markup:
    """Share of the frames that were done within a time; p50 and p99 are marked."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for mark, latency_ms in runs:
            x, y = np.sort(latency_ms), np.arange(1, len(latency_ms) + 1) / len(latency_ms)
            axes.plot(x, y, color=mark.colour, linestyle=mark.line_style, drawstyle="steps-post")
            marked = np.percentile(latency_ms, (50, 99))
            axes.plot(marked, (0.5, 0.99), mark.marker, color=mark.colour, markeredgecolor=CARD)
        _cost_axis(axes, np.concatenate([values for _, values in runs]).tolist(), starts_at_0=False)
        axes.set(ylim=(0, 1.03), xlabel="latency, ms", ylabel="share of frames")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.0f} %"))

    return draw_svg(name, "distribution of the latency", draw, _WIDE_IN)


def streaming_plot(
    name: str, runs: Sequence[tuple[Mark, DetectionScore, DetectionScore]], group: str
) -> Markup:
    """Offline accuracy at the left, with the latency counted at the right."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, (mark, *scores) in enumerate(runs):
            shift = 0.04 * (number - (len(runs) - 1) / 2)  # intervals must not hide each other
            x = (shift, 1 + shift)
            axes.plot(x, [s.AP50 for s in scores], color=mark.colour, linestyle=mark.line_style)
            for at, score in zip(x, scores, strict=True):
                _point(axes, mark, at, score.AP50, score.intervals.get("AP50"))
        axes.set(xlim=(-0.35, 1.35), ylabel=f"{group} AP50")
        axes.set_xticks((0, 1), ("offline", "streaming"))
        _score_axis(axes, [score for _, *scores in runs for score in scores])

    return draw_svg(name, f"offline and streaming AP50, {group}", draw)


def probe_plot(
    name: str, runs: Sequence[tuple[Mark, Mapping[str, DetectionScore]]], group: str
) -> Markup:
    """AP50 of each config by probe; the first label of each run is the undisturbed drive."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        labels = list(dict.fromkeys(label for _, scores in runs for label in scores))
        for number, (mark, scores) in enumerate(runs):
            shift = 0.12 * (number - (len(runs) - 1) / 2)
            for label, score in scores.items():
                at = labels.index(label) + shift
                _point(axes, mark, at, score.AP50, score.intervals.get("AP50"))
        axes.set(xlim=(-0.5, len(labels) - 0.5), ylabel=f"{group} AP50")
        axes.set_xticks(range(len(labels)), labels)
        if len(labels) > _MOST_UPRIGHT:
            for text in axes.get_xticklabels():
                text.set(rotation=35, horizontalalignment="right", rotation_mode="anchor")
        _score_axis(axes, [score for _, scores in runs for score in scores.values()])

    return draw_svg(name, f"{group} AP50 by probe", draw, _WIDE_IN)


def _point(axes: Axes, mark: Mark, x: float, y: float, interval: Interval | None) -> None:
    if interval:  # the interval of a bootstrap need not hold the figure itself
        axes.vlines(x, interval.low, interval.high, color=mark.colour, linewidth=1.2, zorder=2)
    axes.plot(x, y, mark.marker, color=mark.colour, markersize=7.5, markeredgecolor=CARD, zorder=3)


def _front(points: Points) -> tuple[list[float], list[float]]:
    """The corners of the best accuracy to be had for each cost."""
    x: list[float] = []
    y: list[float] = []
    for _, cost, score in sorted(points, key=lambda point: (point[1], -point[2].AP50)):
        if not y:
            x, y = [cost], [score.AP50]
        elif y[-1] < score.AP50:
            x, y = [*x, cost, cost], [*y, y[-1], score.AP50]
    return x, y


def _cost_axis(axes: Axes, values: Sequence[float], starts_at_0: bool = True) -> None:
    low, high = min(values), max(values)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    if low > 0 and high > _LOG_FROM * low:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.4, high * 1.4)
        ticks = [m * 10.0**e for e in range(-4, 7) for m in (1, 2, 5)]
        axes.set_xticks([tick for tick in ticks if low / 1.4 <= tick <= high * 1.4])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        low = 0.0 if starts_at_0 else low
        margin = 0.08 * (high - low) or 0.1 * high or 1.0
        axes.set_xlim(max(0.0, low - margin), high + margin)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def _count_axis(axes: Axes, most: int) -> None:
    axes.set_yscale("log")
    axes.set_ylim(0.7, max(10, 2 * most))
    ticks = [10**e for e in range(7) if 10**e <= max(10, 2 * most)]
    axes.set_yticks(ticks, [f"{tick:,}".replace(",", " ") for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())


def _score_axis(axes: Axes, scores: Sequence[DetectionScore]) -> None:
    """Room for every figure and interval, in steps of 0.1, at least 0.2 high."""
    intervals = [score.intervals["AP50"] for score in scores if "AP50" in score.intervals]
    lows = [score.AP50 for score in scores] + [it.low for it in intervals]
    highs = [score.AP50 for score in scores] + [it.high for it in intervals]
    high = max(0.2, np.ceil(10 * max(highs) + 0.2) / 10)
    low = max(0.0, min(np.floor(10 * min(lows) - 0.2) / 10, high - 0.2))
    axes.set_ylim(low, min(high, 1.02))
    axes.yaxis.set_major_locator(MultipleLocator(0.05 if high - low < 0.35 else 0.1))
