"""What the figures say, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from streamvis.eval.report.style import Mark
from streamvis.eval.report.tables import encoded_share, number, signed, tone
from streamvis.eval.result import ConfigResult, Difference, EvalResult, Interval


def verdicts(
    runs: Sequence[tuple[Mark, ConfigResult]], group: str
) -> list[tuple[Mark, str, str, str]]:
    """(mark, config, what it reaches, how it compares to the first) for every config."""
    return [
        (mark, run.name, _reached(run, group), "" if row == 0 else _compared(run, group))
        for row, (mark, run) in enumerate(runs)
    ]


def evidence(result: EvalResult) -> str:
    """Why these figures are no promise for another drive."""
    return (
        f"One drive of {result.duration_s:.0f} s is little evidence. The intervals are 95 % "
        "bootstrap intervals over the objects seen here: they say how far a figure might move "
        "with other objects on the same streets, and nothing about other weather, places or "
        "cameras. When an interval of a difference holds 0, this drive does not show which of "
        "the two is better."
    )


def _reached(run: ConfigResult, group: str) -> str:
    scores = run.detection.get(group)
    if scores is None:
        return f"no {group} scores, {_price(run)}"
    interval = _interval(scores.intervals.get("AP50"), "{:.2f}".format)
    return f"{group} AP50 {scores.AP50:.2f}{interval}, {_price(run)}"


def _price(run: ConfigResult) -> str:
    times_ms = [float(np.median(it)) for it in (run.cost.encode_ms, run.cost.detect_ms) if len(it)]
    time = f"{number(sum(times_ms))} ms a frame to encode and detect" if times_ms else "not timed"
    return f"{encoded_share(run.cost)} of the tiles encoded, {time}"


def _compared(run: ConfigResult, group: str) -> str:
    scores = run.detection.get(group)
    difference = scores.differences.get("AP50") if scores else None
    if difference is None:
        return "not compared"
    interval = _interval(difference.interval, signed)
    return f"{_direction(difference)}: {signed(difference.value)}{interval}"


def _direction(difference: Difference) -> str:
    if difference.interval is None:
        return "difference without an interval"
    return tone(difference) or "no difference shown"


def _interval(interval: Interval | None, form: Callable[[float], str]) -> str:
    return f" [{form(interval.low)}, {form(interval.high)}]" if interval else ""
