"""Streaming accuracy: each labelled frame against the newest result that was there by its time.

Li et al., "Towards Streaming Perception", ECCV 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamvis.eval.detection import MatchSettings
from streamvis.eval.labels import DriveLabels
from streamvis.eval.result import Found, FrameKey, StreamingScore


@dataclass(frozen=True)
class Schedule:
    """The rounds that were processed, in order."""

    round: NDArray[np.int64]  # [P] index into the rounds
    finish_ms: NDArray[np.float64]  # [P] when its result is there


def stream_schedule(
    arrival_ms: NDArray[np.float64], service_ms: NDArray[np.float64], speed_factor: float = 1.0
) -> Schedule:
    """One machine over K rounds: when free it takes the newest round that has arrived; older ones
    that wait are dropped. Arrivals ascend. `speed_factor` divides the service times."""
    raise NotImplementedError


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
    raise NotImplementedError
