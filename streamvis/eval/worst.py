"""Frames worth a look: where most went wrong."""

from __future__ import annotations

from streamvis.eval.detection import MatchSettings
from streamvis.eval.labels import DriveLabels
from streamvis.eval.result import Found, FrameKey


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
    raise NotImplementedError
