"""The filter against steps worked out by hand and against the textbook's matrices."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from streamvis.track.kalman import (
    ACCELERATION_STD,
    MEASUREMENT_STD,
    START_VELOCITY_STD,
    BoxFilter,
)

ROW = np.array([0])


def boxes(*rows: tuple[float, float, float, float]) -> NDArray[np.float64]:
    return np.array(rows, np.float64)


def make_filter(*rows: tuple[float, float, float, float]) -> BoxFilter:
    boxes_filter = BoxFilter()
    boxes_filter.add(boxes(*rows))
    return boxes_filter


def test_a_new_box_is_where_it_was_measured_and_at_rest() -> None:
    new = make_filter((10, 20, 50, 120))  # centre (30, 70), size 40 x 100
    assert new.mean[0].tolist() == [[30, 0], [70, 0], [40, 0], [100, 0]]
    assert new.cov[0, 0].tolist() == [
        [(MEASUREMENT_STD * 100) ** 2, 0],
        [0, (START_VELOCITY_STD * 100) ** 2],
    ]
    np.testing.assert_allclose(new.xyxy, boxes((10, 20, 50, 120)))


def test_first_prediction_by_hand() -> None:
    """Height 100, dt 0.1 s: R = 5^2, V = 200^2, q = 50^2.
    p_xx = 25 + V 0.01 + q 0.001/3; p_xv = V 0.1 + q 0.005; p_vv = V + q 0.1."""
    assert (MEASUREMENT_STD, START_VELOCITY_STD, ACCELERATION_STD) == (0.05, 2.0, 0.5)
    box = make_filter((0, 0, 40, 100))
    box.predict(0.1)
    np.testing.assert_allclose(box.xyxy, boxes((0, 0, 40, 100)))
    want = [[425.0 + 5 / 6, 4012.5], [4012.5, 40250.0]]
    np.testing.assert_allclose(box.cov[0], np.broadcast_to(want, (4, 2, 2)))


def test_first_correction_by_hand() -> None:
    """From the prediction above, S = 425.83 + 25 and the gain is [425.83, 4012.5] / S."""
    box = make_filter((0, 0, 40, 100))
    box.predict(0.1)
    box.correct(ROW, boxes((10, 0, 50, 100)))  # ten pixels to the right
    innovation_variance = 450.0 + 5 / 6
    x, v = box.mean[0, 0]
    assert x == pytest.approx(20 + 10 * 425.8333333 / innovation_variance)
    assert v == pytest.approx(10 * 4012.5 / innovation_variance)
    assert box.cov[0, 0, 1, 1] == pytest.approx(40250 - 4012.5**2 / innovation_variance)
    assert box.mean[0, 1].tolist() == [50, 0]  # nothing happened in y


def test_equals_the_joint_eight_state_filter() -> None:
    """The four little filters are the usual [cx cy w h, velocities] filter, block by block."""
    box = make_filter((100, 50, 160, 130))
    mean = np.array([130, 90, 60, 80, 0, 0, 0, 0], np.float64)
    cov = np.diag([(MEASUREMENT_STD * 80) ** 2] * 4 + [(START_VELOCITY_STD * 80) ** 2] * 4)
    eye, observe = np.eye(4), np.hstack([np.eye(4), np.zeros((4, 4))])
    rng = np.random.default_rng(3)
    for dt in (0.1, 0.033, 0.2):
        q = (ACCELERATION_STD * mean[3]) ** 2
        step = np.block([[eye, dt * eye], [0 * eye, eye]])
        noise = np.block([[dt**3 / 3 * eye, dt**2 / 2 * eye], [dt**2 / 2 * eye, dt * eye]])
        mean, cov = step @ mean, step @ cov @ step.T + q * noise
        box.predict(dt)
        r = (MEASUREMENT_STD * mean[3]) ** 2 * eye
        measured = mean[:4] + rng.normal(size=4)
        gain = cov @ observe.T @ np.linalg.inv(observe @ cov @ observe.T + r)
        mean = mean + gain @ (measured - observe @ mean)
        cov = cov - gain @ observe @ cov
        centre, size = measured[:2], measured[2:]
        box.correct(ROW, np.concatenate([centre - size / 2, centre + size / 2])[None])
    np.testing.assert_allclose(box.mean[0], mean.reshape(2, 4).T)
    np.testing.assert_allclose(box.cov[0, 2], cov[np.ix_([2, 6], [2, 6])])


def test_two_short_steps_equal_a_long_one() -> None:
    once, twice = make_filter((0, 0, 40, 100)), make_filter((0, 0, 40, 100))
    for box in (once, twice):
        box.mean[0, 0, 1] = 300  # px/s
    once.predict(0.2)
    twice.predict(0.05)
    twice.predict(0.15)
    np.testing.assert_allclose(once.mean, twice.mean)
    np.testing.assert_allclose(once.cov, twice.cov)


def test_learns_the_velocity_of_a_steady_box() -> None:
    box = make_filter((0, 0, 40, 100))
    for k in range(1, 15):
        box.predict(0.1)
        box.correct(ROW, boxes((25 * k, 0, 40 + 25 * k, 100)))
    assert box.mean[0, 0, 1] == pytest.approx(250, rel=0.01)


def test_rows_do_not_touch_each_other() -> None:
    both = make_filter((0, 0, 40, 100), (500, 0, 540, 50))
    alone = make_filter((500, 0, 540, 50))
    both.predict(0.1)
    alone.predict(0.1)
    before = both.mean[0].copy()
    both.correct(np.array([1]), boxes((510, 0, 550, 50)))
    alone.correct(ROW, boxes((510, 0, 550, 50)))
    np.testing.assert_array_equal(both.mean[0], before)
    both.keep(np.array([False, True]))
    np.testing.assert_array_equal(both.mean, alone.mean)
    np.testing.assert_array_equal(both.cov, alone.cov)


def test_a_box_without_area_stays_finite() -> None:
    flat = make_filter((10, 10, 10, 10))
    flat.predict(0.1)
    flat.correct(ROW, boxes((10, 10, 10, 10)))
    assert np.isfinite(flat.mean).all()
    assert (flat.cov[..., 0, 0] > 0).all()


def test_no_boxes() -> None:
    none = BoxFilter()
    none.predict(0.1)
    none.correct(np.zeros(0, np.intp), np.zeros((0, 4)))
    assert none.xyxy.shape == (0, 4)
