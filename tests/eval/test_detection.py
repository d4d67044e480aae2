import contextlib
import io
from typing import Any

import numpy as np
import pytest
from eval_samples import detected, draw_drive, drive, labelled
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from streamvis.eval.detection import (
    GROUPS,
    MatchSettings,
    groups_of,
    match_detections,
    score_matches,
)
from streamvis.eval.labels import DriveLabels
from streamvis.eval.result import DetectionScore, Found

ROOMY = {"car": [10, 10, 50, 30], "truck": [100, 10, 160, 70], "person": [5, 5, 15, 35]}


def coco_precision(labels: DriveLabels, found: Found, max_detections: int) -> Any:
    """[T, R, A] from pycocotools alone, all classes taken as one."""
    truth, rows = [], []
    for image_id, (key, frame) in enumerate(labels.frames.items()):
        for box, crowd in zip(xywh(frame.xyxy), frame.is_ignored.tolist(), strict=True):
            row = {"image_id": image_id, "category_id": 1, "bbox": box, "iscrowd": int(crowd)}
            truth.append(row | {"id": len(truth) + 1, "area": box[2] * box[3]})
        for box, score in zip(xywh(found[key].xyxy), found[key].score.tolist(), strict=True):
            rows.append({"image_id": image_id, "category_id": 1, "bbox": box, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        images = [{"id": number} for number in range(len(labels.frames))]
        coco.dataset = {"images": images, "annotations": truth, "categories": [{"id": 1}]}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(rows), "bbox")
        evaluation.params.maxDets = [1, 2, max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, 0, :, 2]


def xywh(xyxy: Any) -> list[list[float]]:
    boxes = xyxy.astype(np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()


def score(labels: DriveLabels, found: Found, group: str, **settings: Any) -> DetectionScore:
    return score_matches(match_detections(labels, found, group, MatchSettings(**settings)))


@pytest.mark.parametrize("max_detections", [100, 7])
@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_pycocotools(seed: int, max_detections: int) -> None:
    labels, found = draw_drive(seed)
    expected = coco_precision(labels, found, max_detections)
    ours = score(labels, found, "car", score_floor=0.0, max_detections=max_detections)
    assert 0.05 < ours.AP < 0.95
    assert pytest.approx(expected[:, :, 0].mean(), abs=1e-12) == ours.AP
    assert pytest.approx(expected[0, :, 0].mean(), abs=1e-12) == ours.AP50
    assert pytest.approx(expected[5, :, 0].mean(), abs=1e-12) == ours.AP75
    np.testing.assert_allclose(ours.precision, expected[0, :, 0], atol=1e-12)
    for size, value in enumerate((ours.AP_small, ours.AP_medium, ours.AP_large), start=1):
        mean = expected[:, :, size].mean()  # -1: no such labels
        assert value == (None if mean == -1 else pytest.approx(mean, abs=1e-12))


@pytest.fixture
def labels() -> DriveLabels:
    return drive(
        {
            ("front", 1): labelled(
                ("car", ROOMY["car"], 1),
                ("truck", ROOMY["truck"], 2),
                ("car", [200, 0, 300, 100], 3, True),
            ),
            ("front", 2): labelled(("person", ROOMY["person"], 4)),
        }
    )


def in_first(*rows: Any) -> Found:
    return {("front", 1): detected(*rows), ("front", 2): detected()}


def test_everything_found(labels: DriveLabels) -> None:
    found = in_first(("car", ROOMY["car"], 0.9), ("truck", ROOMY["truck"], 0.8))
    assert pytest.approx(1) == score(labels, found, "car").AP
    assert pytest.approx(1) == score(labels, found, "vehicle").AP
    assert score(labels, found, "vehicle").num_boxes == 2
    assert score(labels, found, "vehicle").num_tracks == 2
    assert score(labels, found, "person").AP == 0


def test_groups_are_those_with_counted_labels(labels: DriveLabels) -> None:
    assert groups_of(labels) == ("person", "car", "truck", "vehicle")
    assert groups_of(drive({("a", 0): labelled(("bus", [0, 0, 9, 9], 1, True))})) == ()
    assert list(GROUPS)[-1] == "vehicle"


def test_a_wrong_kind_of_vehicle_is_still_a_vehicle(labels: DriveLabels) -> None:
    found = in_first(("bus", ROOMY["truck"], 0.8))
    assert score(labels, found, "truck").AP50 == 0
    assert pytest.approx(51 / 101) == score(labels, found, "vehicle").AP50  # one of two


def test_one_vehicle_that_is_reported_twice_is_one(labels: DriveLabels) -> None:
    found = in_first(("bus", ROOMY["truck"], 0.9), ("truck", ROOMY["truck"], 0.8))
    assert len(match_detections(labels, found, "vehicle").score) == 1
    assert len(match_detections(labels, found, "truck").score) == 1
    assert len(match_detections(labels, found, "vehicle", MatchSettings(nms_iou=1.0)).score) == 2


def test_suppression_keeps_what_only_a_suppressed_box_overlaps() -> None:
    labels = drive({("front", 1): labelled(("car", [0, 0, 9, 9], 1))})
    rows = [("car", [x, 0, x + 100, 50], s) for x, s in ((0, 0.9), (30, 0.8), (60, 0.7))]
    found = {("front", 1): detected(*rows)}  # IoU 0.54 to the next, 0.25 over the next
    kept = match_detections(labels, found, "vehicle").score
    np.testing.assert_allclose(kept, [0.9, 0.7], atol=1e-6)


def test_what_lies_in_an_ignore_region_does_not_count(labels: DriveLabels) -> None:
    found = in_first(("car", [210, 10, 240, 40], 0.99), ("car", ROOMY["car"], 0.9))
    assert pytest.approx(1) == score(labels, found, "car").AP50
    assert pytest.approx(51 / 101) == score(labels, found, "vehicle").AP50


def test_a_false_alarm_costs_precision(labels: DriveLabels) -> None:
    found = in_first(("car", [400, 300, 440, 330], 0.99), ("car", ROOMY["car"], 0.9))
    assert pytest.approx(0.5) == score(labels, found, "car").AP50


def test_a_loose_box_counts_at_050_only(labels: DriveLabels) -> None:
    found = in_first(("car", [10, 10, 50, 22.2], 0.9))  # IoU 0.61
    car = score(labels, found, "car")
    assert pytest.approx(1) == car.AP50
    assert car.AP75 == 0
    assert pytest.approx(0.3) == car.AP  # 0.50, 0.55 and 0.60 of ten


def test_the_score_floor(labels: DriveLabels) -> None:
    found = in_first(("car", ROOMY["car"], 0.05))
    assert pytest.approx(1) == score(labels, found, "car").AP50
    assert score(labels, found, "car", score_floor=0.06).AP50 == 0


def test_sizes_without_boxes_have_no_figure(labels: DriveLabels) -> None:
    person = score(labels, in_first(), "person")  # 10 x 30 px
    assert person.AP_small == 0
    assert person.AP_medium is None
    assert person.AP_large is None


def test_labels_without_ids_have_no_number_of_tracks() -> None:
    labels = drive({("a", 0): labelled(("car", ROOMY["car"]))})
    assert score(labels, {("a", 0): detected()}, "car").num_tracks is None


def test_the_nearest_counted_label(labels: DriveLabels) -> None:
    found = in_first(
        ("car", [30, 10, 70, 30], 0.9),  # half beside the car: IoU 1/3
        ("car", [46, 10, 86, 30], 0.8),  # IoU 4/76
        ("car", [210, 10, 290, 90], 0.7),  # in the ignore region
    )
    assert match_detections(labels, found, "car").near.tolist() == [0, -1, -1]


def test_a_frame_that_was_not_run_is_no_empty_frame(labels: DriveLabels) -> None:
    with pytest.raises(ValueError, match=r"1 labelled frames were not run.*\('front', 2\)"):
        match_detections(labels, {("front", 1): detected()}, "car")


def test_frames_without_labels_are_passed_over(labels: DriveLabels) -> None:
    found = {
        **in_first(("car", ROOMY["car"], 0.9)),
        ("back", 7): detected(("car", [0, 0, 9, 9], 1)),
    }
    assert pytest.approx(1) == score(labels, found, "car").AP50


def test_nothing_to_score(labels: DriveLabels) -> None:
    with pytest.raises(ValueError, match="no counted label of 'bus'"):
        score(labels, in_first(), "bus")
