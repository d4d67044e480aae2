"""What the figures say, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamvis.eval.report.style import Mark
from streamvis.eval.report.tables import NONE, compute_ms, encoded_share, number, signed, tone
from streamvis.eval.result import ConfigResult, Difference, EvalResult, Interval


@dataclass(frozen=True)
class Comparison:
    """One config against the first."""

    lead: str
    tone: str  # "better", "worse" or nothing shown
    text: str


@dataclass(frozen=True)
class Verdict:
    """One config in two lines."""

    mark: Mark
    name: str
    reached: str
    compared: Comparison | None  # None: it is the first


def verdicts(runs: Sequence[tuple[Mark, ConfigResult]], group: str) -> list[Verdict]:
    """One for every config, in their order."""
    first = runs[0][1].name if runs else ""
    return [
        Verdict(mark, run.name, _reached(run, group), _compared(run, group, first) if row else None)
        for row, (mark, run) in enumerate(runs)
    ]


def facts(result: EvalResult) -> list[tuple[str, str]]:
    """What was run, as names and values."""
    known = {**result.settings, **result.machine}
    return [
        ("drive", f"{result.drive}, {result.duration_s:.1f} s"),
        ("cameras", ", ".join(result.cameras)),
        ("frames", f"{result.num_frames} run, {result.num_labelled} labelled"),
        *((name, _text(value)) for name, value in known.items() if value is not None),
    ]


def evidence(result: EvalResult) -> str:
    """Why these figures are no promise for another drive."""
    return (
        f"One drive of {result.duration_s:.0f} s is little evidence. The intervals are 95 % "
        "bootstrap intervals: they say how far a figure might move had other objects been on "
        "these streets, and nothing about other weather, places or cameras. When the interval of "
        "a difference holds 0, this drive does not show which of the two is better. Where too "
        "little was labelled to draw from, there is no interval."
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)


def _reached(run: ConfigResult, group: str) -> str:
    scores = run.detection.get(group)
    if scores is None:
        return f"no {group} scores, {_price(run)}"
    interval = _interval(scores.intervals.get("AP50"), "{:.2f}".format)
    return f"{group} AP50 {scores.AP50:.2f}{interval}, {_price(run)}"


def _price(run: ConfigResult) -> str:
    time_ms = compute_ms(run)
    time = f"{number(time_ms)} ms a frame to encode and detect" if time_ms else "not timed"
    share = encoded_share(run)
    return f"no tiles, {time}" if share == NONE else f"{share} of the tiles encoded, {time}"


def _compared(run: ConfigResult, group: str, first: str) -> Comparison:
    scores = run.detection.get(group)
    difference = scores.differences.get("AP50") if scores else None
    if difference is None:
        return Comparison(f"Not compared with {first}.", "", "")
    interval = _interval(difference.interval, signed)
    text = f"{_direction(difference)}, {signed(difference.value)}{interval}"
    return Comparison(f"Against {first}:", tone(difference), text)


def _direction(difference: Difference) -> str:
    if difference.interval is None:
        return "difference without an interval"
    return tone(difference) or "no difference shown"


def _interval(interval: Interval | None, form: Callable[[float], str]) -> str:
    return f" [{form(interval.low)},\N{NO-BREAK SPACE}{form(interval.high)}]" if interval else ""
