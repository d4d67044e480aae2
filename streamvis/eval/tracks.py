"""Tracks as production would have made them, from the saved detections of a run."""

from __future__ import annotations

from collections.abc import Mapping

from streamvis.eval.config import EvalConfig
from streamvis.eval.result import FrameKey
from streamvis.eval.shards import RunLog
from streamvis.track.tracker import Tracker
from streamvis.types import Detections


def track(log: RunLog, config: EvalConfig) -> Mapping[FrameKey, Detections]:
    """Every frame's detections that the config's own threshold lets through, with track ids."""
    trackers: dict[str, Tracker] = {}
    tracked: dict[FrameKey, Detections] = {}
    times = zip(log.found().items(), log.media_ns.tolist(), log.is_discont.tolist(), strict=True)
    for (key, detections), t_ns, is_discont in times:
        tracker = trackers.setdefault(key[0], Tracker(config.tracker))
        if is_discont:
            tracker.reset()
        sure = detections[detections.score >= config.detector.score]
        tracked[key] = tracker.update(sure[: config.detector.max_detections], t_ns)
    return tracked
