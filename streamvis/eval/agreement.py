"""What one run is sure of, in place of labels: how far do others agree with it?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from streamvis.eval.detection import MatchSettings, group_detections
from streamvis.eval.labels import DriveLabels, FrameLabels
from streamvis.eval.shards import RunLog
from streamvis.eval.worst import SURE_SCORE

_ANY_SIZE = (1, 1)  # of the pictures: nobody checks boxes against it


def sure_boxes(log: RunLog, group: str) -> DriveLabels:
    """The detections of a class group with a score of 0.3 or more, as labels without tracks. What
    matching would suppress is left out, so that a run agrees with itself to the full."""
    settings = replace(MatchSettings(), score_floor=SURE_SCORE)
    frames = {}
    for key, found in log.found().items():
        sure = group_detections(found, group, settings)
        frames[key] = FrameLabels(
            xyxy=sure.xyxy,
            class_id=sure.class_id,
            track_id=np.full(len(sure), -1, np.int64),
            is_ignored=np.zeros(len(sure), np.bool_),
        )
    sizes = dict.fromkeys((camera for camera, _ in frames), _ANY_SIZE)
    return DriveLabels(Path("the first run"), frames, sizes)
