"""What a soak has shown: slopes with their confidence, and one verdict per promise."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

MEASURES = ("rss_mb", "fds", "threads")
TOLERANCE_PER_H = 1.0  # of each: a slope below it is no leak in weeks
WARM_UP_SHARE = 1 / 6  # of the soak: 10 minutes of an hour
LIFE_WARM_UP_MIN = 3  # of each process
MIN_LIFE_MIN = 4  # after that
MIN_SOAK_MIN = 30.0  # a shorter one cannot tell slopes from noise
NOT_JUDGED = {("ray", "fds")}  # its log monitor holds up to 200 logs of dead processes open
_Z = 2.58
_LAGS = 5  # minutes over which what disturbs a process may last

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Trend:
    """Of one measure of the processes with one role, an hour."""

    slope: float
    half_width: float  # of the 99 % interval: many are judged at once
    num_lives: int
    num_minutes: int  # that it rests on

    @property
    def grows(self) -> bool:
        return self.slope - self.half_width > 0 and self.slope > TOLERANCE_PER_H


def trends(log: Sequence[Row]) -> dict[str, dict[str, Trend]]:
    """By role and measure; empty for a soak that was too short."""
    samples = [row for row in log if row["kind"] == "sample"]
    if not samples or samples[-1]["t_s"] < MIN_SOAK_MIN * 60:
        return {}
    warm_s = samples[-1]["t_s"] * WARM_UP_SHARE
    roles = sorted({process["role"] for row in samples for process in row["processes"]})
    found = {
        role: {measure: trend(_lives(samples, role, measure, warm_s)) for measure in MEASURES}
        for role in roles
    }
    return {role: by for role, by in found.items() if by["rss_mb"].num_minutes}


def trend(lives: Iterable[Mapping[int, float]]) -> Trend:
    """One slope for all lives, each with a level of its own (fixed effects). The interval is
    Newey and West's, if that is wider: a disturbance that lasts for minutes counts once."""
    sums_xx, sums_xy, minutes = 0.0, 0.0, 0
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for life in lives:
        x = np.array(list(life)) / 60.0
        y = np.array(list(life.values()))
        x, y = x - x.mean(), y - y.mean()
        sums_xx, sums_xy, minutes = sums_xx + x @ x, sums_xy + x @ y, minutes + len(x)
        parts.append((x, y))
    if not parts:
        return Trend(0.0, float("inf"), 0, 0)
    slope = sums_xy / sums_xx
    residuals = [(x, y - slope * x) for x, y in parts]
    plain = sums_xx * sum(float(r @ r) for _, r in residuals) / max(1, minutes - len(parts) - 1)
    variance = max(plain, sum(_newey_west(x * r) for x, r in residuals)) / sums_xx**2
    return Trend(float(slope), float(_Z * variance**0.5), len(parts), minutes)


def _newey_west(scores: np.ndarray) -> float:
    total = float(scores @ scores)
    for lag in range(1, min(_LAGS, len(scores) - 1) + 1):
        total += 2 * (1 - lag / (_LAGS + 1)) * float(scores[lag:] @ scores[:-lag])
    return max(total, 0.0)


def _lives(
    samples: Sequence[Row], role: str, measure: str, warm_s: float
) -> Iterable[dict[int, float]]:
    """Of each process that lived long enough: its median in each minute, by the soak's minute."""
    values: defaultdict[str, defaultdict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in samples:
        for process in row["processes"]:
            if process["role"] == role:
                values[process["life"]][int(row["t_s"] // 60)].append(process[measure])
    for minutes in values.values():
        begin = max(min(minutes) + LIFE_WARM_UP_MIN, int(np.ceil(warm_s / 60)))
        kept = {m: float(np.median(v)) for m, v in sorted(minutes.items()) if m >= begin}
        if len(kept) >= MIN_LIFE_MIN:
            yield kept


def judge(log: Sequence[Row], end: Row | None, controls: Sequence[str]) -> dict[str, Any]:
    """The summary. `end` is what was there when the session had stopped; None if it never did."""
    faults = Counter(row["name"] for row in log if row["kind"] == "fault")
    slopes = trends(log)
    samples = [row for row in log if row["kind"] == "sample"]
    verdicts: dict[str, bool | None] = {
        "memory, files and threads are flat": (not _growing(slopes) if slopes else None),
        "nothing unforeseen happened": not any(row["kind"] == "problem" for row in log),
    }
    if end:
        verdicts |= _at_the_end(log, end, controls)
    return {
        "minutes": round(samples[-1]["t_s"] / 60, 1) if samples else 0,
        "faults": {**faults, **(end["counts"] if end else {})},
        "healed_s": _healed_s(log),
        "growing": _growing(slopes),
        "slopes_per_hour": {r: {m: asdict(t) for m, t in by.items()} for r, by in slopes.items()},
        "end": end,
        "verdicts": verdicts,
        "held": _held(verdicts) if end else False,
    }


def _held(verdicts: Mapping[str, bool | None]) -> bool | None:
    """None if nothing was broken, but not all of it could be judged."""
    if False in verdicts.values():
        return False
    return None if None in verdicts.values() else True


def _growing(slopes: Mapping[str, Mapping[str, Trend]]) -> list[str]:
    return [
        f"{role} {measure}"
        for role, by in slopes.items()
        for measure, found in by.items()
        if found.grows and (role, measure) not in NOT_JUDGED
    ]


def _at_the_end(log: Sequence[Row], end: Row, controls: Sequence[str]) -> dict[str, bool]:
    skipped = [row for row in log if row["kind"] == "skipped" and row["camera"] in controls]
    lossless = end["readers"]["lossless"]
    recording = end["summary"]["recording"]
    return {
        "the session ended with exit code 0": end["exit_code"] == 0,
        "every camera's books are exact": all(
            _are_exact(books, end["results"].get(camera, 0))
            for camera, books in end["summary"]["cameras"].items()
        ),
        "results come once, and in order": not end["out_of_order"],
        "the watcher missed no message": not end["watcher_gaps"],
        "the lossless reader missed none": lossless["gaps"] == lossless["lagging"] == 0,
        "the controls lost frames to workers and to haste only": all(
            row["lost"][stage] == 0 for row in skipped for stage in ("source", "decode", "publish")
        ),
        "the recording lost none, and reads": not any(recording["lost"].values())
        and end["recorded"]["damage"] is None,
        "old recordings were pruned": end["recorded"]["seconds"] <= end["recorded"]["keep_s"],
    }


def _are_exact(books: Row, num_results: int) -> bool:
    """Every frame is published once, or counted where it was lost."""
    accounted = books["published"] + sum(books["lost"].values())
    is_whole = books["in_flight"] == 0 and accounted == books["source_frames"]
    return bool(is_whole and books["published"] == num_results)


def _healed_s(log: Sequence[Row]) -> dict[str, dict[str, float]]:
    """From the beginning of a fault, its own length included, until results came again."""
    by_name: defaultdict[str, list[float]] = defaultdict(list)
    for row in log:
        if row["kind"] == "fault" and row["name"] != "subscriber_stop":
            by_name[row["name"]].append(row["t_s"] - row["began_s"])
    return {
        name: {"p50": round(float(np.median(s)), 2), "max": round(max(s), 2)}
        for name, s in sorted(by_name.items())
    }
