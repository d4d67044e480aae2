"""Frames worth a look: where most went wrong."""

from __future__ import annotations

import numpy as np

from streamvis.eval.detection import MatchSettings, match_detections
from streamvis.eval.labels import DriveLabels
from streamvis.eval.precision import IOU_50
from streamvis.eval.result import Found, FrameKey

SURE_SCORE = 0.3


def worst_frames(
    labels: DriveLabels,
    found: Found,
    group: str = "vehicle",
    count: int = 4,
    min_gap: int = 10,
    settings: MatchSettings | None = None,
) -> list[tuple[FrameKey, str]]:
    """The frames with most missed and false objects at a score of 0.3, worst first, each with a
    few words that say why. Frames of one camera lie at least `min_gap` frames apart. Frames
    without an error are never chosen, so there may be fewer than `count`."""
    errors = _count_errors(labels, found, group, settings)
    chosen: list[tuple[FrameKey, str]] = []
    for key in sorted(errors, key=lambda key: -sum(errors[key])):  # stable: ties as in the labels
        missed, false = errors[key]
        is_far = all(key[0] != cam or abs(key[1] - index) >= min_gap for (cam, index), _ in chosen)
        if missed + false and is_far and len(chosen) < count:
            chosen.append((key, f"{group}: {missed} missed, {false} false"))
    return chosen


def _count_errors(
    labels: DriveLabels, found: Found, group: str, settings: MatchSettings | None
) -> dict[FrameKey, tuple[int, int]]:
    """Missed and false objects of each frame at IoU 0.50."""
    matches = match_detections(labels, found, group, settings)
    sure = matches.score >= SURE_SCORE
    judged = sure & ~matches.ignored[0, IOU_50]
    label = matches.label[0, IOU_50]
    is_missed = matches.is_counted.copy()
    is_missed[label[judged & (label >= 0)]] = False
    missed = np.bincount(matches.label_frame[is_missed], minlength=len(matches.keys))
    false = np.bincount(matches.frame[judged & (label < 0)], minlength=len(matches.keys))
    return dict(zip(matches.keys, zip(missed.tolist(), false.tolist(), strict=True), strict=True))
