"""COCO average precision over the labelled frames of a drive, by class group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamvis.eval.labels import DriveLabels
from streamvis.eval.result import DetectionScore, Found, FrameKey
from streamvis.types import CLASSES

VEHICLES = ("car", "bus", "truck")  # datasets draw the line between them differently
GROUPS: Mapping[str, tuple[str, ...]] = {name: (name,) for name in CLASSES} | {"vehicle": VEHICLES}


@dataclass(frozen=True)
class MatchSettings:
    """What a detection must be to count at all. Stated in every result."""

    score_floor: float = 0.01
    max_detections: int = 100  # a frame and group, best first
    nms_iou: float = 0.5  # class-agnostic suppression within a group of several classes


@dataclass(frozen=True)
class Matches:
    """Which detection found which label, in a class group.

    L labels, D detections (best score first), T the ten IoU thresholds, A the size ranges
    (all, small, medium, large).
    """

    group: str
    keys: tuple[FrameKey, ...]  # the labelled frames
    label_frame: NDArray[np.int64]  # [L] index into keys
    label_track: NDArray[np.int64]  # [L] unique within the camera; -1 = none
    label_ignored: NDArray[np.bool_]  # [A, L] ignore region, or not of this size
    frame: NDArray[np.int64]  # [D] index into keys
    xyxy: NDArray[np.float32]  # [D, 4] source pixels
    score: NDArray[np.float64]  # [D]
    near: NDArray[np.int64]  # [D] counted label it overlaps most (IoU >= 0.1), or -1
    label: NDArray[np.int64]  # [A, T, D] the matched label's row, or -1
    ignored: NDArray[np.bool_]  # [A, T, D] neither right nor wrong


def groups_of(labels: DriveLabels) -> tuple[str, ...]:
    """The groups that have counted labels: classes first, then `vehicle`."""
    raise NotImplementedError


def match_detections(
    labels: DriveLabels, found: Found, group: str, settings: MatchSettings | None = None
) -> Matches:
    """Match by COCO's rules. `found` must have every labelled frame (ValueError otherwise); its
    other frames are passed over."""
    raise NotImplementedError


def score_matches(matches: Matches) -> DetectionScore:
    """Average precision as COCOeval gives it, without intervals. ValueError if the group has no
    counted label: see `groups_of`."""
    raise NotImplementedError
