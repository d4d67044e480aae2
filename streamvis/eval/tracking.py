"""How well tracks follow labelled objects: HOTA, MOTA and IDF1 of a class group.

The three are this project's own (hota.py, clear.py, identity.py), checked against TrackEval's
figures. Here is what comes before them: which labels and detections take part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from streamvis.eval.clear import ClearCounts, count_clear
from streamvis.eval.detection import MatchSettings, check_frames, group_detections, group_rows
from streamvis.eval.hota import HotaCounts, count_hota
from streamvis.eval.identity import IdentityCounts, count_identity
from streamvis.eval.labels import DriveLabels, FrameLabels
from streamvis.eval.result import Found, TrackingScore
from streamvis.eval.sequence import TrackFrame, TrackSequence
from streamvis.track.tracker import box_iou
from streamvis.types import Detections

MATCH_IOU = 0.5
MIN_INSIDE = 0.5  # share of a detection's area that lies in one ignore region


def tracking_score(
    labels: DriveLabels, found: Found, group: str, settings: MatchSettings | None = None
) -> TrackingScore:
    """Score tracked detections (`track_id` unique within the camera; -1 is left out) over all
    labelled cameras. `found` must have every labelled frame. ValueError where the labels have no
    tracks of this group."""
    return score_sequences(track_sequences(labels, found, group, settings or MatchSettings()))


def score_sequences(sequences: Sequence[TrackSequence]) -> TrackingScore:
    """All cameras together: counts are added, as TrackEval combines sequences."""
    hota = HotaCounts.sum([count_hota(it) for it in sequences])
    clear = ClearCounts.sum([count_clear(it, MATCH_IOU) for it in sequences])
    identity = IdentityCounts.sum([count_identity(it, MATCH_IOU) for it in sequences])
    return TrackingScore(
        HOTA=hota.HOTA,
        DetA=hota.DetA,
        AssA=hota.AssA,
        LocA=hota.LocA,
        MOTA=clear.MOTA,
        IDF1=identity.IDF1,
        num_switches=clear.num_switches,
        num_false=clear.num_false,
        num_missed=clear.num_missed,
        num_tracks=sum(len(it.label_count) for it in sequences),
    )


def track_sequences(
    labels: DriveLabels, found: Found, group: str, settings: MatchSettings
) -> list[TrackSequence]:
    """One sequence for each camera, without ignore regions and what was detected in them."""
    check_frames(labels, found)
    frames = {
        key: _track_frame(frame, found[key], group, settings)
        for key, frame in labels.frames.items()
    }
    label_ids = np.concatenate([np.zeros(0, np.int64), *(it.label for it in frames.values())])
    if not len(label_ids) or np.any(label_ids < 0):
        raise ValueError(f"no labelled tracks of {group!r}: nothing to score")
    return [
        TrackSequence.make([frame for key, frame in frames.items() if key[0] == camera])
        for camera in labels.cameras
    ]


def _track_frame(
    labels: FrameLabels, found: Detections, group: str, settings: MatchSettings
) -> TrackFrame:
    is_member = group_rows(labels.class_id, group)
    counted, regions = is_member & ~labels.is_ignored, is_member & labels.is_ignored
    tracked = group_detections(found[found.track_id >= 0], group, settings)
    iou = box_iou(_boxes(labels.xyxy[counted]), _boxes(tracked.xyxy))  # [G, D]
    stays = _is_matched(iou) | ~_is_inside(tracked.xyxy, labels.xyxy[regions])
    return TrackFrame(labels.track_id[counted], tracked.track_id[stays], iou[:, stays])


def _is_matched(iou: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[D] what the best one-to-one assignment gives to a label."""
    score = np.where(iou >= MATCH_IOU, iou, 0.0)
    rows, columns = linear_sum_assignment(score, maximize=True)
    is_matched = np.zeros(iou.shape[1], np.bool_)
    is_matched[columns[score[rows, columns] > 0]] = True
    return is_matched


def _is_inside(xyxy: NDArray[np.float32], regions: NDArray[np.float32]) -> NDArray[np.bool_]:
    """[D] whether half of a box lies in one of the ignore regions."""
    low = np.maximum(xyxy[:, None, :2], regions[:, :2])
    high = np.minimum(xyxy[:, None, 2:], regions[:, 2:])
    overlap = np.clip(high - low, 0, None).prod(axis=2)  # [D, regions]
    area = (xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1)
    is_inside: NDArray[np.bool_] = np.any(overlap >= MIN_INSIDE * area[:, None], axis=1)
    return is_inside


def _boxes(xyxy: NDArray[np.float32]) -> NDArray[np.float64]:
    return xyxy.astype(np.float64)
