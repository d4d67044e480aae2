import numpy as np
import pytest
from eval_samples import detected, drive, labelled

from streamvis.eval.calibration import calibrate
from streamvis.eval.detection import match_detections
from streamvis.eval.result import Calibration

CAR, REGION = [10, 10, 50, 50], [100, 0, 200, 100]


def score(*rows: tuple[list[float], float]) -> Calibration:
    labels = drive({("a", 0): labelled(("car", CAR, 1), ("car", REGION, 2, True))})
    found = {("a", 0): detected(*(("car", *row) for row in rows))}
    return calibrate(match_detections(labels, found, "car"))


def test_bins_by_hand() -> None:
    away = [[300.0 + 20 * i, 0, 310 + 20 * i, 9] for i in range(3)]
    it = score((CAR, 0.98), (away[0], 0.92), (away[1], 0.94), (away[2], 0.25))
    assert it.count.tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0, 3]
    assert it.mean_score[[2, 9]] == pytest.approx([0.25, (0.98 + 0.92 + 0.94) / 3])
    assert it.precision[[2, 9]] == pytest.approx([0, 1 / 3])
    assert np.isnan(it.precision[[0, 1, 3]]).all()
    assert it.ece == pytest.approx((0.25 * 1 + (0.98 + 0.92 + 0.94 - 1)) / 4)


def test_a_score_of_one_is_in_the_last_bin() -> None:
    it = score((CAR, 1.0))
    assert it.count[9] == 1
    assert it.ece == 0


def test_what_lies_in_an_ignore_region_is_left_out() -> None:
    assert score(([110, 10, 150, 50], 0.9)).count.sum() == 0


def test_nothing_detected() -> None:
    assert score().ece == 0


def test_honest_scores_have_a_small_error() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.01, 1, 4000)
    is_right = rng.random(4000) < scores
    labels, found = {}, {}
    for i, (value, right) in enumerate(zip(scores, is_right, strict=True)):
        labels["a", i] = labelled(("car", CAR, 1))
        found["a", i] = detected(("car", CAR if right else REGION, value))
    matches = match_detections(drive(labels), found, "car")
    assert calibrate(matches).ece < 0.03
