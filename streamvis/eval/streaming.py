"""Streaming accuracy: each labelled frame against the newest result that was there by its time.

Li et al., "Towards Streaming Perception", ECCV 2020. While a machine computes, the world moves
on: late boxes are misplaced boxes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamvis.eval.detection import (
    MatchSettings,
    check_frames,
    groups_of,
    match_detections,
    score_matches,
)
from streamvis.eval.labels import DriveLabels
from streamvis.eval.result import Found, FrameKey, StreamingScore
from streamvis.types import Detections


@dataclass(frozen=True)
class Schedule:
    """The rounds that were processed, in order."""

    round: NDArray[np.int64]  # [P] index into the rounds
    finish_ms: NDArray[np.float64]  # [P] when its result is there


@dataclass(frozen=True)
class Streamed:
    """What a subscriber had in hand at the time of each labelled frame."""

    found: Found  # the newest result by then; empty before the first
    staleness_ms: NDArray[np.float64]  # of the frames that had a result: how old its picture was


def stream_schedule(
    arrival_ms: NDArray[np.float64], service_ms: NDArray[np.float64], speed_factor: float = 1.0
) -> Schedule:
    """One machine over K rounds: when free it takes the newest round that has arrived; older ones
    that wait are dropped. Arrivals ascend. `speed_factor` divides the service times."""
    arrival_ms, service_ms = np.asarray(arrival_ms, float), np.asarray(service_ms, float)
    _check_times(arrival_ms, service_ms, speed_factor)
    rounds: list[int] = []
    finish: list[float] = []
    free_ms, number = -np.inf, 0
    while number < len(arrival_ms):
        start_ms = max(free_ms, arrival_ms[number])
        # The newest that is there when the machine starts; of equal arrivals the last.
        number = int(np.searchsorted(arrival_ms, start_ms, side="right")) - 1
        free_ms = start_ms + service_ms[number] / speed_factor
        rounds.append(number)
        finish.append(free_ms)
        number += 1
    return Schedule(np.array(rounds, np.int64), np.array(finish, np.float64))


def streamed_results(
    labels: DriveLabels,
    found: Found,
    rounds: Sequence[Sequence[FrameKey]],
    arrival_ms: NDArray[np.float64],
    schedule: Schedule,
) -> Streamed:
    """Each labelled frame's newest result of its camera that had finished by its arrival. A
    result that finishes at that very time counts."""
    arrival_of = {key: ms for row, ms in zip(rounds, arrival_ms, strict=True) for key in row}
    unknown = [key for key in labels.frames if key not in arrival_of]
    if unknown:
        raise ValueError(f"{len(unknown)} labelled frames are in no round, first {unknown[0]}")
    results = _results_by_camera(rounds, schedule)
    streamed: dict[FrameKey, Detections] = {}
    staleness_ms: list[float] = []
    for key in labels.frames:
        newest = results[key[0]].newest(arrival_of[key])
        streamed[key] = found[newest] if newest else Detections.empty()
        if newest:
            staleness_ms.append(arrival_of[key] - arrival_of[newest])
    return Streamed(streamed, np.array(staleness_ms, np.float64))


def streaming_score(
    labels: DriveLabels,
    found: Found,
    rounds: Sequence[Sequence[FrameKey]],
    arrival_ms: NDArray[np.float64],
    service_ms: NDArray[np.float64],
    speed_factor: float = 1.0,
    settings: MatchSettings | None = None,
) -> StreamingScore:
    """sAP of a run that processed every frame.

    `rounds` [K] names the frames of each round, `arrival_ms` [K] when it was there (media time),
    `service_ms` [K] how long its processing took. `labels` restricted to frames of the rounds.
    """
    check_frames(labels, found)
    schedule = stream_schedule(arrival_ms, service_ms, speed_factor)
    streamed = streamed_results(labels, found, rounds, arrival_ms, schedule)
    matches = {
        group: match_detections(labels, streamed.found, group, settings)
        for group in groups_of(labels)
    }
    p50, p99 = _percentiles(streamed.staleness_ms)
    return StreamingScore(
        speed_factor=speed_factor,
        detection={group: score_matches(it) for group, it in matches.items()},
        processed_share=len(schedule.round) / max(1, len(rounds)),
        staleness_p50_ms=p50,
        staleness_p99_ms=p99,
    )


def _check_times(
    arrival_ms: NDArray[np.float64], service_ms: NDArray[np.float64], speed_factor: float
) -> None:
    if arrival_ms.shape != service_ms.shape or arrival_ms.ndim != 1:
        raise ValueError(
            f"one arrival and one service time a round, got {arrival_ms.shape = }, "
            f"{service_ms.shape = }"
        )
    if not np.all(np.isfinite(arrival_ms)) or np.any(np.diff(arrival_ms) < 0):
        raise ValueError("arrivals must ascend")
    if not np.all(service_ms >= 0) or not speed_factor > 0:
        raise ValueError("service times must not be negative, and speed_factor must be positive")


@dataclass(frozen=True)
class _Results:
    """One camera's results in the order in which they came."""

    finish_ms: list[float]  # ascending: one machine
    keys: list[FrameKey]

    def newest(self, time_ms: float) -> FrameKey | None:
        count = bisect_right(self.finish_ms, time_ms)
        return self.keys[count - 1] if count else None


def _results_by_camera(
    rounds: Sequence[Sequence[FrameKey]], schedule: Schedule
) -> Mapping[str, _Results]:
    results: dict[str, _Results] = defaultdict(lambda: _Results([], []))
    for number, finish_ms in zip(schedule.round, schedule.finish_ms, strict=True):
        for key in rounds[number]:
            results[key[0]].finish_ms.append(float(finish_ms))
            results[key[0]].keys.append(key)
    return results


def _percentiles(staleness_ms: NDArray[np.float64]) -> tuple[float | None, float | None]:
    if not len(staleness_ms):  # no result before the last label
        return None, None
    p50, p99 = np.percentile(staleness_ms, (50, 99))
    return float(p50), float(p99)
