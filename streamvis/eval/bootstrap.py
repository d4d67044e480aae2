"""How far an average precision could be off, from the drive at hand: a bootstrap over tracks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamvis.eval.detection import Matches
from streamvis.eval.result import Difference, Interval


@dataclass(frozen=True)
class Bootstrap:
    """Intervals of every config, and of its difference to the first one, on the same draws.

    Inner keys: AP, AP50, AP75. Both are empty where there are too few units to say anything.
    """

    intervals: Mapping[str, Mapping[str, Interval]]  # by config
    differences: Mapping[str, Mapping[str, Difference]]  # by config, without the first
    unit: str  # what was drawn: "track", or "block of 50 frames"
    num_units: int  # of labels: tracks, or blocks


def intervals(
    matches_by_config: Mapping[str, Matches],
    draws: int = 1000,
    seed: int = 0,
    block_frames: int = 50,
) -> Bootstrap:
    """95 % percentile intervals of one group's AP, AP50 and AP75, for configs on the same frames.

    `block_frames` is used where the labels have no track ids: take about 5 s of media.
    """
    raise NotImplementedError
