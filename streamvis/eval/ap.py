"""COCO average precision over the labelled frames of a drive.

Labels are COCO with `camera` and `frame_index` at each image. `iscrowd` boxes are ignore
regions: a detection inside one is neither right nor wrong. `vehicle` merges car, truck and
bus, because datasets draw the line between them differently.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from streamvis.errors import SourceError
from streamvis.types import CLASSES, Detections

VEHICLES = ("car", "truck", "bus")


@dataclass(frozen=True)
class ClassAp:
    ap: float  # mean over IoU 0.50 to 0.95
    ap50: float
    num_boxes: int  # labelled and not ignored

    def as_dict(self) -> dict[str, float]:
        return {"ap": round(self.ap, 4), "ap50": round(self.ap50, 4), "boxes": self.num_boxes}


class ApEvaluator:
    """Collects detections frame by frame; only frames that were added count."""

    def __init__(self, labels: Path) -> None:
        self._data = _read(labels)
        self._ids = {(i["camera"], i["frame_index"]): i["id"] for i in self._data["images"]}
        names = {c["id"]: c["name"] for c in self._data["categories"]}
        self._category = {name: number for number, name in names.items()}
        self._seen: set[int] = set()
        self._found: list[dict[str, Any]] = []

    @property
    def cameras(self) -> list[str]:
        """Cameras that have labels, in the order of the file."""
        return list(dict.fromkeys(camera for camera, _ in self._ids))

    def add(self, camera: str, frame_index: int, detections: Detections) -> None:
        """Detections in source pixels; a frame without labels is passed over."""
        image_id = self._ids.get((camera, frame_index))
        if image_id is None:
            return
        self._seen.add(image_id)
        rows = zip(detections.xyxy, detections.score, detections.class_id, strict=True)
        self._found += [self._row(image_id, *row) for row in rows]

    def compute(self) -> dict[str, ClassAp]:
        """By class, for classes that have labelled boxes in the frames added; then `vehicle`."""
        groups = {name: (name,) for name in CLASSES} | {"vehicle": VEHICLES}
        found = {name: self._evaluate(members) for name, members in groups.items()}
        return {name: ap for name, ap in found.items() if ap.num_boxes}

    def _row(self, image_id: int, xyxy: Any, score: Any, class_id: Any) -> dict[str, Any]:
        x0, y0, x1, y1 = (float(v) for v in xyxy)
        return {
            "image_id": image_id,
            "category_id": self._category[CLASSES[class_id]],
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "score": float(score),
        }

    def _evaluate(self, members: Iterable[str]) -> ClassAp:
        """One average precision for a group of classes taken as one."""
        numbers = {self._category[name] for name in members if name in self._category}
        truth = [
            {**row, "category_id": 1}
            for row in self._data["annotations"]
            if row["category_id"] in numbers and row["image_id"] in self._seen
        ]
        found = [{**row, "category_id": 1} for row in self._found if row["category_id"] in numbers]
        num_boxes = sum(not row["iscrowd"] for row in truth)
        if not num_boxes or not found:
            return ClassAp(0.0, 0.0, num_boxes)
        images = [{"id": number} for number in self._seen]
        precision = _precision(images, truth, found)  # [T, R]
        return ClassAp(float(precision.mean()), float(precision[0].mean()), num_boxes)


def _precision(
    images: list[dict[str, Any]], truth: list[dict[str, Any]], found: list[dict[str, Any]]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Precision [T, R] at COCO's 10 overlaps and 101 recalls, all sizes, 100 boxes a picture."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        coco = COCO()
        coco.dataset = {"images": images, "annotations": truth, "categories": [{"id": 1}]}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(copy.deepcopy(found)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, -1]  # [T, R, K, areas, max dets]
    return np.asarray(np.maximum(precision, 0))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        data: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise SourceError(
            f"{path}: cannot read it; accuracy needs a drive with labels.json", "not_found"
        ) from None
    except ValueError as error:
        raise SourceError(f"{path}: not valid JSON ({error}); copy it again") from None
    return data
