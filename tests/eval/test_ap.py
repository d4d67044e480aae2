import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamvis.errors import SourceError
from streamvis.eval.ap import ApEvaluator
from streamvis.types import CLASSES, Detections

CATEGORIES = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]


def box(image: int, name: str, xywh: list[float], crowd: int = 0) -> dict[str, Any]:
    return {
        "image_id": image,
        "category_id": CLASSES.index(name) + 1,
        "bbox": xywh,
        "area": xywh[2] * xywh[3],
        "iscrowd": crowd,
    }


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    images = [{"id": i, "camera": "front", "frame_index": i} for i in (1, 2)]
    annotations = [
        box(1, "car", [10, 10, 40, 20]),
        box(1, "truck", [100, 10, 60, 60]),
        box(1, "car", [200, 0, 100, 100], crowd=1),
        box(2, "person", [5, 5, 10, 30]),
    ]
    for number, row in enumerate(annotations, 1):
        row["id"] = number
    path = tmp_path / "labels.json"
    data = {"categories": CATEGORIES, "images": images, "annotations": annotations}
    path.write_text(json.dumps(data))
    return path


def found(*rows: tuple[str, list[float], float]) -> Detections:
    names, boxes, scores = zip(*rows, strict=True)
    return Detections.make(
        np.array(boxes, np.float32),
        np.array(scores, np.float32),
        np.array([CLASSES.index(name) for name in names], np.int32),
    )


def test_perfect_detections(labels: Path) -> None:
    evaluator = ApEvaluator(labels)
    rows = ("car", [10, 10, 50, 30], 0.9), ("truck", [100, 10, 160, 70], 0.8)
    evaluator.add("front", 1, found(*rows))
    ap = evaluator.compute()
    assert set(ap) == {"car", "truck", "vehicle"}  # frame 2 was not judged
    assert ap["vehicle"].ap == pytest.approx(1.0)
    assert ap["vehicle"].num_boxes == 2


def test_a_wrong_kind_of_vehicle_is_still_a_vehicle(labels: Path) -> None:
    evaluator = ApEvaluator(labels)
    evaluator.add("front", 1, found(("bus", [100, 10, 160, 70], 0.8)))
    ap = evaluator.compute()
    assert ap["truck"].ap50 == 0
    assert ap["vehicle"].ap50 == pytest.approx(0.5, abs=0.01)  # one of two


def test_what_lies_in_an_ignore_region_does_not_count(labels: Path) -> None:
    evaluator = ApEvaluator(labels)
    rows = ("car", [210, 10, 240, 40], 0.99), ("car", [10, 10, 50, 30], 0.9)
    evaluator.add("front", 1, found(*rows))
    assert evaluator.compute()["car"].ap50 == pytest.approx(1.0)


def test_a_false_alarm_costs_precision(labels: Path) -> None:
    evaluator = ApEvaluator(labels)
    rows = ("car", [400, 300, 440, 330], 0.99), ("car", [10, 10, 50, 30], 0.9)
    evaluator.add("front", 1, found(*rows))
    assert evaluator.compute()["car"].ap50 == pytest.approx(0.5)


def test_a_loose_box_counts_at_050_only(labels: Path) -> None:
    evaluator = ApEvaluator(labels)
    evaluator.add("front", 1, found(("car", [10, 10, 50, 22], 0.9)))  # IoU 0.6
    car = evaluator.compute()["car"]
    assert car.ap50 == pytest.approx(1.0)
    assert car.ap == pytest.approx(0.3)  # 0.50, 0.55 and 0.60 of ten


def test_a_judged_frame_without_detections_counts(labels: Path) -> None:
    evaluator = ApEvaluator(labels)
    evaluator.add("front", 2, Detections.empty())
    assert evaluator.compute()["person"].ap50 == 0


def test_missing_labels(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="needs a drive with labels"):
        ApEvaluator(tmp_path / "labels.json")
