"""Labels and detections for the tests of the metrics, made without files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamvis.eval.labels import DriveLabels, FrameLabels
from streamvis.eval.result import FrameKey
from streamvis.types import CLASSES, Detections

SIZE = (640, 360)


def labelled(*rows: tuple[Any, ...]) -> FrameLabels:
    """Rows (class, xyxy, track_id, is_ignored); the last two may be missing."""
    full = [(*row, -1, False)[:4] if len(row) == 2 else (*row, False)[:4] for row in rows]
    return FrameLabels(
        xyxy=np.array([row[1] for row in full], np.float32).reshape(-1, 4),
        class_id=np.array([CLASSES.index(row[0]) for row in full], np.int32),
        track_id=np.array([row[2] for row in full], np.int64),
        is_ignored=np.array([row[3] for row in full], np.bool_),
    )


def drive(frames: Mapping[FrameKey, FrameLabels]) -> DriveLabels:
    return DriveLabels(Path("labels.json"), frames, {camera: SIZE for camera, _ in frames})


def detected(*rows: tuple[Any, ...]) -> Detections:
    """Rows (class, xyxy, score, track_id); the last may be missing."""
    return Detections(
        xyxy=np.array([row[1] for row in rows], np.float32).reshape(-1, 4),
        score=np.array([row[2] for row in rows], np.float32),
        class_id=np.array([CLASSES.index(row[0]) for row in rows], np.int32),
        track_id=np.array([row[3] if len(row) > 3 else -1 for row in rows], np.int64),
    )


def draw_drive(
    seed: int, num_frames: int = 20, names: Sequence[str] = ("car",), has_tracks: bool = True
) -> tuple[DriveLabels, dict[FrameKey, Detections]]:
    """Objects of all sizes that stand still, some ignored; found loosely, with false boxes,
    double boxes, equal scores, and frames without labels or without detections."""
    rng = np.random.default_rng(seed)
    home = _draw_boxes(rng, 14)
    classes = rng.choice(names, len(home))
    frames, found = {}, {}
    for key in [(camera, i) for camera in ("front", "left") for i in range(num_frames)]:
        there = np.flatnonzero(rng.random(len(home)) < (0.7 if rng.random() > 0.1 else 0))
        frames[key] = labelled(
            *((classes[k], home[k], int(k) if has_tracks else -1, k % 5 == 0) for k in there)
        )
        rows = rng.choice(there, int(1.3 * len(there))) if len(there) else there
        loose = home[rows] + rng.normal(0, 0.08, (len(rows), 4)) * np.tile(_size(home[rows]), 2)
        boxes = np.concatenate([loose, _draw_boxes(rng, 6)])
        boxes = np.concatenate([boxes[:, :2], np.maximum(boxes[:, 2:], boxes[:, :2] + 1)], axis=1)
        scores = np.round(rng.random(len(boxes)), 1)  # many equal ones
        kinds = rng.choice(names, len(boxes))
        if rng.random() < 0.1:
            boxes, scores, kinds = boxes[:0], scores[:0], kinds[:0]
        found[key] = detected(*zip(kinds, boxes, scores, strict=True))
    return drive(frames), found


def _draw_boxes(rng: np.random.Generator, count: int) -> Any:
    low = rng.random((count, 2)) * (500, 250)
    size = np.exp(rng.uniform(np.log(8), np.log(160), (count, 1))) * rng.uniform(0.7, 1, (count, 2))
    return np.concatenate([low, low + size], axis=1)


def _size(xyxy: Any) -> Any:
    return xyxy[:, 2:] - xyxy[:, :2]
