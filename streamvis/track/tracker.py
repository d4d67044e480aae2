"""Object identities over time, for one camera.

The association is ByteTrack's (Zhang et al., ECCV 2022): sure detections are matched to the
predicted boxes first, then unsure ones to the tracks that are still without a box; a low score
often means "half hidden" rather than "wrong".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from streamvis.track.config import TrackerConfig
from streamvis.track.kalman import BoxFilter
from streamvis.types import CLASSES, Detections

Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]
Matrix = NDArray[np.float64]

# Overlap with another class of the same group counts a little less. When a detector reports one
# vehicle as car and as truck, the two boxes then keep their ids instead of swapping them.
OTHER_CLASS_FACTOR = 0.9


class Tracker:
    """Gives one camera's detections their ids. Make one per camera: it shares nothing."""

    def __init__(self, config: TrackerConfig, classes: Sequence[str] = CLASSES) -> None:
        self._config = config
        self._group_of_class = _class_groups(config.merge_classes, classes)
        self._next_id = 1
        self.reset()

    def reset(self) -> None:
        """Forget every object, for instance after a gap or a cut. Ids are never used again."""
        self._t_ns: int | None = None
        self._filter = BoxFilter()
        self._track_id = np.zeros(0, np.int64)  # -1 until seen `min_hits` times
        self._class_id = np.zeros(0, np.int32)  # as last detected
        self._hits = np.zeros(0, np.int64)
        self._seen_ns = np.zeros(0, np.int64)

    def update(self, detections: Detections, t_ns: int) -> Detections:
        """The same detections with their track ids; -1 for those that belong to no track (yet).

        `t_ns` is the frame's time on any one clock. If it runs backwards, the tracker resets.
        """
        previous_ns = self._t_ns
        self._advance(t_ns)
        is_high = detections.score >= self._config.high_score
        is_low = (detections.score >= self._config.low_score) & ~is_high
        confirmed = self._track_id >= 0

        owner = np.full(len(detections), -1, np.intp)  # row of each detection's track
        self._match(owner, detections, is_high, confirmed, self._config.match_iou)
        # A track that was lost before this frame has drifted too far to trust a weak detection.
        is_recent = confirmed & (self._seen_ns == previous_ns)
        self._match(owner, detections, is_low, is_recent, self._config.low_match_iou)
        self._match(owner, detections, is_high, ~confirmed, self._config.match_iou)

        self._correct(owner, detections, t_ns)
        self._start(owner, detections, is_high & (owner < 0), t_ns)
        self._confirm()
        track_id = np.append(self._track_id, -1)[owner]  # row -1: no track
        self._keep((self._track_id >= 0) | (self._seen_ns == t_ns))
        return detections.with_tracks(track_id)

    def _advance(self, t_ns: int) -> None:
        """Drop what has been hidden for too long and move the rest to time `t_ns`."""
        if self._t_ns is not None and t_ns < self._t_ns:
            self.reset()
        if self._t_ns is not None:
            self._keep(t_ns - self._seen_ns <= self._config.max_lost)
            self._filter.predict((t_ns - self._t_ns) / 1e9)
        self._t_ns = t_ns

    def _match(
        self,
        owner: Rows,
        detections: Detections,
        is_candidate: Mask,
        is_wanted: Mask,
        min_iou: float,
    ) -> None:
        """Write the best one-to-one assignment of free detections to free tracks into `owner`."""
        is_taken = np.zeros(len(self._filter), np.bool_)
        is_taken[owner[owner >= 0]] = True
        boxes = np.flatnonzero(is_candidate & (owner < 0))
        tracks = np.flatnonzero(is_wanted & ~is_taken)
        if not len(boxes) or not len(tracks):
            return
        similarity = self._similarity(detections[boxes], tracks)
        similarity[similarity < min_iou] = 0.0
        box, track = linear_sum_assignment(similarity, maximize=True)
        is_match = similarity[box, track] > 0
        owner[boxes[box[is_match]]] = tracks[track[is_match]]

    def _similarity(self, detections: Detections, tracks: Rows) -> Matrix:
        """Overlap [K, N] in [0, 1]; 0 between classes that are never the same object."""
        iou = box_iou(detections.xyxy.astype(np.float64), self._filter.xyxy[tracks])
        ours, theirs = detections.class_id[:, None], self._class_id[tracks]
        groups = self._group_of_class
        factor = np.where(ours == theirs, 1.0, OTHER_CLASS_FACTOR)
        return np.where(groups[ours] == groups[theirs], iou * factor, 0.0)

    def _correct(self, owner: Rows, detections: Detections, t_ns: int) -> None:
        matched = np.flatnonzero(owner >= 0)
        tracks = owner[matched]
        self._filter.correct(tracks, detections.xyxy[matched].astype(np.float64))
        self._class_id[tracks] = detections.class_id[matched]
        self._hits[tracks] += 1
        self._seen_ns[tracks] = t_ns

    def _start(self, owner: Rows, detections: Detections, is_new: Mask, t_ns: int) -> None:
        new = detections[is_new]
        owner[is_new] = len(self._filter) + np.arange(len(new))
        self._filter.add(new.xyxy.astype(np.float64))
        self._track_id = np.append(self._track_id, np.full(len(new), -1, np.int64))
        self._class_id = np.append(self._class_id, new.class_id)
        self._hits = np.append(self._hits, np.ones(len(new), np.int64))
        self._seen_ns = np.append(self._seen_ns, np.full(len(new), t_ns, np.int64))

    def _confirm(self) -> None:
        rows = np.flatnonzero((self._track_id < 0) & (self._hits >= self._config.min_hits))
        self._track_id[rows] = self._next_id + np.arange(len(rows))
        self._next_id += len(rows)

    def _keep(self, rows: Mask) -> None:
        self._filter.keep(rows)
        self._track_id = self._track_id[rows]
        self._class_id = self._class_id[rows]
        self._hits = self._hits[rows]
        self._seen_ns = self._seen_ns[rows]


def box_iou(a: Matrix, b: Matrix) -> Matrix:
    """Intersection over union [A, B] of the boxes [A, 4] and [B, 4], xyxy."""
    low = np.maximum(a[:, None, :2], b[:, :2])
    high = np.minimum(a[:, None, 2:], b[:, 2:])
    overlap = np.clip(high - low, 0, None).prod(axis=2)
    union = _area(a)[:, None] + _area(b) - overlap
    iou: Matrix = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    return iou


def _area(xyxy: Matrix) -> Matrix:
    area: Matrix = np.clip(xyxy[:, 2:] - xyxy[:, :2], 0, None).prod(axis=1)
    return area


def _class_groups(merged: Sequence[Sequence[str]], classes: Sequence[str]) -> NDArray[np.int32]:
    """The group number [C] of each class; classes that are not merged have one of their own."""
    group = np.arange(len(classes), dtype=np.int32)
    for names in merged:
        members = [index for index, name in enumerate(classes) if name in names]
        group[members] = min(members, default=0)
    return group
