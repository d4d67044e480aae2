"""COCO average precision over the labelled frames of a drive, by class group.

A group is one class, or `vehicle`: car, bus and truck taken as one, because datasets draw the
line between them differently. Matching is pycocotools' own; `precision.py` turns its matches
into precision, so that the bootstrap can weight them.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from streamvis.eval.labels import DriveLabels
from streamvis.eval.precision import IOU_50, IOU_75, NUM_IOUS, WeightedMatches
from streamvis.eval.result import DetectionScore, Found, FrameKey
from streamvis.track.tracker import box_iou
from streamvis.types import CLASSES, Detections

VEHICLES = ("car", "bus", "truck")
GROUPS: Mapping[str, tuple[str, ...]] = {name: (name,) for name in CLASSES} | {"vehicle": VEHICLES}

NEAR_IOU = 0.1  # below, a false box has nothing to do with the object (TIDE, ECCV 2020)
SIZES = ("all", "small", "medium", "large")  # COCO's: below 32 x 32 px, below 96 x 96 px, above


@dataclass(frozen=True)
class MatchSettings:
    """What a detection must be to count at all. Stated in every result."""

    score_floor: float = 0.01
    max_detections: int = 100  # a frame and group, best first
    nms_iou: float = 0.5  # class-agnostic suppression within a group of several classes


@dataclass(frozen=True)
class Matches:
    """Which detection found which label, in a class group.

    L labels, D detections (best score first), T the ten IoU thresholds 0.50, 0.55, ... 0.95,
    A the size ranges of SIZES.
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

    @property
    def is_counted(self) -> NDArray[np.bool_]:
        """[L] labels of any size that are not ignore regions."""
        is_counted: NDArray[np.bool_] = ~self.label_ignored[0]
        return is_counted

    @property
    def tracks(self) -> NDArray[np.int64] | None:
        """Ids of the counted objects, ascending, or None if a label has no id. An id that two
        cameras use is one object: many labellers number objects through the whole drive."""
        ids = np.unique(self.label_track[self.is_counted])
        return None if np.any(ids < 0) else ids


def groups_of(labels: DriveLabels) -> tuple[str, ...]:
    """The groups that have counted labels: classes first, then `vehicle`."""
    there = set(labels.classes)
    return tuple(name for name, members in GROUPS.items() if there & set(members))


def group_rows(class_id: NDArray[np.int32], group: str) -> NDArray[np.bool_]:
    """[N] whether each class belongs to the group."""
    is_member: NDArray[np.bool_] = np.isin(class_id, [CLASSES.index(n) for n in GROUPS[group]])
    return is_member


def group_detections(found: Detections, group: str, settings: MatchSettings) -> Detections:
    """The detections of a group that count, best first."""
    members = found[group_rows(found.class_id, group) & (found.score >= settings.score_floor)]
    members = members[np.argsort(-members.score, kind="stable")]
    if len(GROUPS[group]) > 1:  # a car that is also reported as a truck is one vehicle
        members = members[_suppress(members.xyxy, settings.nms_iou)]
    return members[: settings.max_detections]


def match_detections(
    labels: DriveLabels, found: Found, group: str, settings: MatchSettings | None = None
) -> Matches:
    """Match by COCO's rules. `found` must have every labelled frame (ValueError otherwise); its
    other frames are passed over."""
    settings = settings or MatchSettings()
    keys = tuple(labels.frames)
    check_frames(labels, found)
    truth = _Truth.of(labels, group)
    rows = [group_detections(found[key], group, settings) for key in keys]
    frame = np.repeat(np.arange(len(keys)), [len(row) for row in rows])
    xyxy = np.concatenate([np.zeros((0, 4), np.float32), *(row.xyxy for row in rows)])
    score = np.concatenate([np.zeros(0), *(row.score.astype(np.float64) for row in rows)])
    label, ignored, label_ignored = _coco_match(len(keys), truth, frame, xyxy, score)
    order = np.argsort(-score, kind="stable")
    return Matches(
        group=group,
        keys=keys,
        label_frame=truth.frame,
        label_track=truth.track_id,
        label_ignored=label_ignored,
        frame=frame[order],
        xyxy=xyxy[order],
        score=score[order],
        near=_near(len(keys), truth, frame, xyxy)[order],
        label=label[:, :, order],
        ignored=ignored[:, :, order],
    )


def score_matches(matches: Matches) -> DetectionScore:
    """Average precision as COCOeval gives it, without intervals. ValueError if the group has no
    counted label: see `groups_of`."""
    if not np.any(matches.is_counted):
        raise ValueError(f"no counted label of {matches.group!r}: nothing to score")
    precision = _precision(matches, 0)  # [T, R]
    by_size = [_mean_precision(matches, size) for size in range(1, len(SIZES))]
    return DetectionScore(
        AP=float(precision.mean()),
        AP50=float(precision[IOU_50].mean()),
        AP75=float(precision[IOU_75].mean()),
        AP_small=by_size[0],
        AP_medium=by_size[1],
        AP_large=by_size[2],
        num_boxes=int(matches.is_counted.sum()),
        num_tracks=None if matches.tracks is None else len(matches.tracks),
        precision=precision[IOU_50],
    )


def check_frames(labels: DriveLabels, found: Found) -> None:
    """Raise ValueError unless every labelled frame was run: silence is not `nothing found`."""
    missing = [key for key in labels.frames if key not in found]
    if missing:
        raise ValueError(f"{len(missing)} labelled frames were not run, the first is {missing[0]}")


@dataclass(frozen=True)
class _Truth:
    """The labels of a group over all frames, as columns."""

    frame: NDArray[np.int64]  # [L]
    xyxy: NDArray[np.float32]  # [L, 4]
    track_id: NDArray[np.int64]  # [L]
    is_ignored: NDArray[np.bool_]  # [L]

    @staticmethod
    def of(labels: DriveLabels, group: str) -> _Truth:
        frames = list(labels.frames.values())
        masks = [group_rows(frame.class_id, group) for frame in frames]
        pairs = list(zip(frames, masks, strict=True))
        return _Truth(
            frame=np.repeat(np.arange(len(frames)), [int(mask.sum()) for mask in masks]),
            xyxy=np.concatenate([np.zeros((0, 4), np.float32), *(f.xyxy[m] for f, m in pairs)]),
            track_id=np.concatenate([np.zeros(0, np.int64), *(f.track_id[m] for f, m in pairs)]),
            is_ignored=np.concatenate([np.zeros(0, bool), *(f.is_ignored[m] for f, m in pairs)]),
        )


def _suppress(xyxy: NDArray[np.float32], max_iou: float) -> NDArray[np.bool_]:
    """Greedy non-maximum suppression of boxes that are sorted best first: [N] what stays."""
    overlaps = box_iou(xyxy.astype(np.float64), xyxy.astype(np.float64)) > max_iou
    stays = np.ones(len(xyxy), np.bool_)
    for row in range(len(xyxy)):
        if stays[row]:
            stays[row + 1 :] &= ~overlaps[row, row + 1 :]
    return stays


def _near(
    num_frames: int, truth: _Truth, frame: NDArray[np.int64], xyxy: NDArray[np.float32]
) -> NDArray[np.int64]:
    """[D] the counted label that each detection overlaps most, or -1."""
    near = np.full(len(frame), -1, np.int64)
    counted = np.flatnonzero(~truth.is_ignored)
    for number in range(num_frames):
        labels = counted[truth.frame[counted] == number]
        rows = np.flatnonzero(frame == number)
        if not len(labels) or not len(rows):
            continue
        iou = box_iou(xyxy[rows].astype(np.float64), truth.xyxy[labels].astype(np.float64))
        best = iou.argmax(axis=1)
        near[rows] = np.where(iou.max(axis=1) >= NEAR_IOU, labels[best], -1)
    return near


def _coco_match(
    num_frames: int,
    truth: _Truth,
    frame: NDArray[np.int64],
    xyxy: NDArray[np.float32],
    score: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """label [A, T, D], ignored [A, T, D] and label_ignored [A, L] from COCOeval.evaluateImg."""
    num_labels = len(truth.frame)
    label = np.full((len(SIZES), NUM_IOUS, len(frame)), -1, np.int64)
    ignored = np.zeros(label.shape, np.bool_)
    label_ignored = np.ones((len(SIZES), num_labels), np.bool_)
    evaluation = _evaluate(num_frames, truth, frame, xyxy, score)
    for size, images in enumerate(np.split(np.array(evaluation, object), len(SIZES))):
        for image in images:
            if image is None:  # neither labels nor detections
                continue
            rows = np.array(image["dtIds"], np.int64) - 1
            label[size][:, rows] = image["dtMatches"].astype(np.int64) - 1
            ignored[size][:, rows] = image["dtIgnore"]
            label_ignored[size, np.array(image["gtIds"], np.int64) - 1] = image["gtIgnore"]
    return label, ignored, label_ignored


def _evaluate(
    num_frames: int,
    truth: _Truth,
    frame: NDArray[np.int64],
    xyxy: NDArray[np.float32],
    score: NDArray[np.float64],
) -> Sequence[Mapping[str, Any] | None]:
    """COCOeval's `evalImgs`, by size, then frame. The ids of rows are their number plus one."""
    labels = _annotations(truth.frame, truth.xyxy, iscrowd=truth.is_ignored.astype(int).tolist())
    detections = _annotations(frame, xyxy, score=score.tolist())
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        evaluation = COCOeval(
            _coco(num_frames, labels), _coco(num_frames, detections), iouType="bbox"
        )
        evaluation.params.maxDets = [max(1, len(frame))]  # MatchSettings has cut already
        evaluation.evaluate()
    return list(evaluation.evalImgs)


def _annotations(
    frame: NDArray[np.int64], xyxy: NDArray[np.float32], **columns: list[Any]
) -> list[dict[str, Any]]:
    xywh = xyxy.astype(np.float64)
    xywh[:, 2:] -= xywh[:, :2]
    rows = zip(frame.tolist(), xywh.tolist(), *columns.values(), strict=True)
    return [
        {
            "id": number,
            "image_id": image_id,
            "category_id": 1,
            "bbox": bbox,
            "area": bbox[2] * bbox[3],
            **dict(zip(columns, values, strict=True)),
        }
        for number, (image_id, bbox, *values) in enumerate(rows, start=1)
    ]


def _coco(num_frames: int, annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": number} for number in range(num_frames)],
        "categories": [{"id": 1}],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


def _precision(matches: Matches, size: int) -> NDArray[np.float64]:
    """[T, R] with every label and detection counted once."""
    once = WeightedMatches(
        label=matches.label[size],
        ignored=matches.ignored[size],
        is_counted=~matches.label_ignored[size],
        label_unit=np.zeros(len(matches.label_frame), np.int64),
        unit=np.zeros(len(matches.score), np.int64),
        num_units=1,
    )
    weight = np.ones((1, 1))
    return np.stack([once.precision(iou, weight)[:, 0] for iou in range(NUM_IOUS)])


def _mean_precision(matches: Matches, size: int) -> float | None:
    if np.all(matches.label_ignored[size]):
        return None
    return float(_precision(matches, size).mean())
