import numpy as np
import pytest
import torch

from streamvis.detect.config import DetectorConfig
from streamvis.detect.postprocess import MAX_CANDIDATES, select, select_logits
from streamvis.types import CLASSES, Detections

PERSON, CAR, TRUCK = (CLASSES.index(name) for name in ("person", "car", "truck"))
CONFIG = DetectorConfig(score=0.3, nms_iou=0.5, max_detections=10)


def run(rows: list[tuple[int, float, list[float]]], config: DetectorConfig = CONFIG) -> Detections:
    """One picture whose cells say (class, score, box)."""
    score = torch.zeros(1, len(rows), len(CLASSES))
    for i, (class_id, value, _) in enumerate(rows):
        score[0, i, class_id] = value
    return select(score, torch.tensor([[box for _, _, box in rows]]), config)[0]


def test_best_first_and_weak_ones_dropped() -> None:
    rows = [(CAR, 0.4, [0, 0, 9, 9]), (CAR, 0.2, [50, 0, 59, 9]), (CAR, 0.9, [20, 0, 29, 9])]
    found = run([(c, s, [float(v) for v in b]) for c, s, b in rows])
    assert found.score.tolist() == pytest.approx([0.9, 0.4])
    assert found.xyxy.tolist() == [[20, 0, 29, 9], [0, 0, 9, 9]]


def test_a_thing_is_one_kind_of_vehicle_but_a_person_may_stand_before_it() -> None:
    box = [0.0, 0.0, 10.0, 10.0]
    found = run([(CAR, 0.6, box), (TRUCK, 0.8, box), (PERSON, 0.5, box)])
    assert found.class_id.tolist() == [TRUCK, PERSON]


def test_at_most_so_many() -> None:
    rows = [(CAR, 0.5, [20.0 * i, 0.0, 20.0 * i + 9, 9.0]) for i in range(20)]
    assert len(run(rows)) == 10


def test_no_objects_gives_empty_columns() -> None:
    found = run([(CAR, 0.1, [0.0, 0.0, 9.0, 9.0])])
    assert len(found) == 0
    assert found.xyxy.shape == (0, 4)


def test_equals_plain_greedy_suppression() -> None:
    generator = torch.Generator().manual_seed(3)
    corner = torch.rand(300, 2, generator=generator) * 60
    boxes = torch.cat([corner, corner + 5 + torch.rand(300, 2, generator=generator) * 30], 1)
    scores = torch.rand(300, generator=generator)
    rows = [(CAR, float(s), b.tolist()) for s, b in zip(scores, boxes, strict=True)]
    config = DetectorConfig(score=0.3, nms_iou=0.5, max_detections=300)
    got = run(rows, config)
    want = greedy(boxes.numpy(), scores.numpy(), 0.3, 0.5)
    np.testing.assert_allclose(got.xyxy, boxes.numpy()[want])


def greedy(boxes: np.ndarray, scores: np.ndarray, least: float, most_iou: float) -> list[int]:
    kept: list[int] = []
    for i in np.argsort(-scores):
        if scores[i] >= least and all(iou(boxes[i], boxes[j]) <= most_iou for j in kept):
            kept.append(int(i))
    return kept


def iou(a: np.ndarray, b: np.ndarray) -> float:
    w, h = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    inter = max(w, 0) * max(h, 0)
    return float(inter / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inter))


def test_logits_give_what_scores_give() -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(2, 1500, len(CLASSES), generator=generator) * 2 - 3
    corner = torch.rand(2, 1500, 2, generator=generator) * 300
    boxes = torch.cat([corner, corner + 4 + torch.rand(2, 1500, 2, generator=generator) * 40], -1)
    asked: list[int] = []

    def boxes_of(cell: torch.Tensor) -> torch.Tensor:
        asked.append(cell.shape[1])
        return torch.stack([b[c] for b, c in zip(boxes, cell, strict=True)])

    for least in (0.01, 0.3):
        config = DetectorConfig(score=least)
        got = select_logits(logits, boxes_of, config)
        for mine, plain in zip(got, select(logits.sigmoid(), boxes, config), strict=True):
            assert len(plain) > 5
            np.testing.assert_array_equal(mine.xyxy, plain.xyxy)
            np.testing.assert_array_equal(mine.class_id, plain.class_id)
            np.testing.assert_array_equal(mine.score, plain.score)
    assert asked == [MAX_CANDIDATES] * 2


def test_a_part_of_a_surer_thing_goes_if_asked() -> None:
    whole, part, beside = [0.0, 0.0, 40.0, 40.0], [2.0, 20.0, 12.0, 30.0], [35.0, 0.0, 55.0, 20.0]
    rows = [(CAR, 0.9, whole), (TRUCK, 0.6, part), (PERSON, 0.5, part), (CAR, 0.4, beside)]
    assert run(rows).class_id.tolist() == [CAR, TRUCK, PERSON, CAR]
    found = run(rows, CONFIG.model_copy(update={"max_inside": 0.85}))
    assert found.class_id.tolist() == [CAR, PERSON, CAR]


def test_a_large_weak_box_leaves_the_surer_small_one() -> None:
    rows = [(CAR, 0.5, [0.0, 0.0, 40.0, 40.0]), (CAR, 0.9, [2.0, 20.0, 12.0, 30.0])]
    assert len(run(rows, CONFIG.model_copy(update={"max_inside": 0.85}))) == 2
