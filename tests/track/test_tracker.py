from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from streamvis.track.config import TrackerConfig
from streamvis.track.tracker import Tracker, box_iou
from streamvis.types import CLASSES, Detections

CAR, BUS, TRUCK, PERSON = (CLASSES.index(n) for n in ("car", "bus", "truck", "person"))
FRAME_NS = 100_000_000
BOTH_AT_ONCE = TrackerConfig(min_hits=1)


def box(x: float, y: float = 100, w: float = 60, h: float = 40) -> tuple[float, ...]:
    return x, y, x + w, y + h


def see(
    *boxes: tuple[float, ...], score: float | list[float] = 0.9, class_id: int | list[int] = CAR
) -> Detections:
    n = len(boxes)
    return Detections.make(
        np.array(boxes, np.float32).reshape(n, 4),
        np.broadcast_to(np.array(score, np.float32), n).copy(),
        np.broadcast_to(np.array(class_id, np.int32), n).copy(),
    )


def ids(tracker: Tracker, frame: int, detections: Detections) -> list[int]:
    tracked = tracker.update(detections, frame * FRAME_NS)
    return [int(i) for i in tracked.track_id]


def test_an_id_comes_with_the_second_sighting_and_stays() -> None:
    tracker = Tracker(TrackerConfig())
    assert [ids(tracker, k, see(box(5 * k))) for k in range(5)] == [[-1], [1], [1], [1], [1]]


def test_only_the_ids_are_changed() -> None:
    seen = see(box(0), box(200), score=[0.9, 0.05], class_id=[CAR, PERSON])
    tracked = Tracker(BOTH_AT_ONCE).update(seen, 0)
    assert tracked.track_id.tolist() == [1, -1]
    for column in ("xyxy", "score", "class_id"):
        np.testing.assert_array_equal(getattr(tracked, column), getattr(seen, column))
    assert tracked.track_id.dtype == np.int64


def test_a_single_flicker_never_gets_an_id() -> None:
    tracker = Tracker(TrackerConfig())
    seen = [ids(tracker, k, see(*[box(300)] * (k % 2))) for k in range(6)]
    assert seen == [[], [-1], [], [-1], [], [-1]]


def test_crossing_objects_keep_their_ids() -> None:
    """Two cars drive through each other at 150 px/s; only their motion tells them apart."""
    tracker = Tracker(BOTH_AT_ONCE)
    for k in range(40):
        left, right = box(15 * k), box(600 - 15 * k, y=112)
        assert ids(tracker, k, see(left, right)) == [1, 2]


def test_the_order_of_the_detections_does_not_matter() -> None:
    tracker = Tracker(BOTH_AT_ONCE)
    ids(tracker, 0, see(box(0), box(200), box(400)))
    assert ids(tracker, 1, see(box(401), box(1), box(201))) == [3, 1, 2]


def test_a_moving_object_is_found_behind_an_occlusion() -> None:
    """Hidden for 0.7 s, it comes out 140 px further: more than twice its width."""
    tracker = Tracker(TrackerConfig())
    for k in range(10):
        ids(tracker, k, see(box(20 * k)))
    for k in range(10, 17):
        ids(tracker, k, Detections.empty())
    assert ids(tracker, 17, see(box(20 * 17))) == [1]


@pytest.mark.parametrize(("gap", "same_id"), [(10, True), (11, False)])
def test_max_lost_ends_a_track(gap: int, same_id: bool) -> None:
    tracker = Tracker(TrackerConfig(max_lost="1s", min_hits=1))
    assert ids(tracker, 0, see(box(0))) == [1]
    for k in range(1, gap):
        ids(tracker, k, Detections.empty())
    assert ids(tracker, gap, see(box(0))) == ([1] if same_id else [2])


def test_low_scores_continue_a_track() -> None:
    tracker = Tracker(TrackerConfig())
    scores = [0.9, 0.9, 0.2, 0.15, 0.3, 0.9]
    seen = [ids(tracker, k, see(box(8 * k), score=s)) for k, s in enumerate(scores)]
    assert seen == [[-1], [1], [1], [1], [1], [1]]


def test_low_scores_start_nothing() -> None:
    tracker = Tracker(TrackerConfig())
    assert [ids(tracker, k, see(box(0), score=0.3)) for k in range(4)] == [[-1]] * 4


def test_low_scores_do_not_bring_back_a_lost_track() -> None:
    tracker = Tracker(BOTH_AT_ONCE)
    ids(tracker, 0, see(box(0)))
    ids(tracker, 1, Detections.empty())
    assert ids(tracker, 2, see(box(0), score=0.3)) == [-1]
    assert ids(tracker, 3, see(box(0), score=0.9)) == [1]


def test_a_sure_detection_comes_before_a_better_fitting_unsure_one() -> None:
    tracker = Tracker(BOTH_AT_ONCE)
    ids(tracker, 0, see(box(0)))
    assert ids(tracker, 1, see(box(0), box(10), score=[0.3, 0.9])) == [-1, 1]


def test_jitter() -> None:
    rng = np.random.default_rng(7)
    tracker = Tracker(BOTH_AT_ONCE)
    base = np.array([box(100 * k) for k in range(8)], np.float32)
    for k in range(50):
        noisy = base + rng.normal(0, 3, base.shape)
        assert ids(tracker, k, see(*noisy)) == list(range(1, 9))


def test_dropped_frames_are_bridged_by_time() -> None:
    """120 px/s, then a hole of 6 frames: 72 px, more than the box is wide."""
    tracker = Tracker(BOTH_AT_ONCE)
    for k in range(10):
        assert ids(tracker, k, see(box(12 * k))) == [1]
    assert ids(tracker, 16, see(box(12 * 16))) == [1]


def test_the_same_hole_without_its_time_loses_the_object() -> None:
    tracker = Tracker(BOTH_AT_ONCE)
    for k in range(10):
        ids(tracker, k, see(box(12 * k)))
    assert ids(tracker, 10, see(box(12 * 16))) == [2]


def test_reset_forgets_but_never_repeats_an_id() -> None:
    tracker = Tracker(BOTH_AT_ONCE)
    assert ids(tracker, 0, see(box(0), box(200))) == [1, 2]
    tracker.reset()
    assert ids(tracker, 0, see(box(0), box(200))) == [3, 4]


def test_time_running_backwards_is_a_discontinuity() -> None:
    tracker = Tracker(BOTH_AT_ONCE)
    assert ids(tracker, 100, see(box(0))) == [1]
    assert ids(tracker, 3, see(box(0))) == [2]
    assert ids(tracker, 4, see(box(0))) == [2]


def test_a_clock_that_stands_still_still_tracks() -> None:
    tracker = Tracker(BOTH_AT_ONCE)
    assert [ids(tracker, 0, see(box(4 * k))) for k in range(5)] == [[1]] * 5


def test_trackers_share_nothing() -> None:
    front, back = Tracker(BOTH_AT_ONCE), Tracker(BOTH_AT_ONCE)
    ids(front, 0, see(box(0), box(200)))
    assert ids(back, 0, see(box(0))) == [1]
    assert ids(front, 1, see(box(200))) == [2]


def test_nothing_seen_ever() -> None:
    tracker = Tracker(TrackerConfig())
    for k in range(3):
        assert len(tracker.update(Detections.empty(), k * FRAME_NS)) == 0


def test_a_car_may_turn_into_a_truck() -> None:
    tracker = Tracker(BOTH_AT_ONCE)
    flips = [CAR, CAR, TRUCK, CAR, BUS, TRUCK]
    assert [ids(tracker, k, see(box(0), class_id=c)) for k, c in enumerate(flips)] == [[1]] * 6


def test_a_person_does_not_turn_into_a_car() -> None:
    tracker = Tracker(BOTH_AT_ONCE)
    ids(tracker, 0, see(box(0), class_id=PERSON))
    assert ids(tracker, 1, see(box(0), class_id=CAR)) == [2]


def test_one_vehicle_reported_as_two_classes_does_not_swap_its_ids() -> None:
    tracker = Tracker(BOTH_AT_ONCE)
    rng = np.random.default_rng(5)
    for k in range(30):
        a, b = (np.add(box(6 * k), rng.normal(0, 0.7, 4)) for _ in range(2))
        assert ids(tracker, k, see(a, b, class_id=[CAR, TRUCK])) == [1, 2]


def test_classes_of_another_model() -> None:
    tracker = Tracker(BOTH_AT_ONCE, classes=("truck", "cat", "car"))
    ids(tracker, 0, see(box(0), box(200), class_id=[0, 0]))
    assert ids(tracker, 1, see(box(0), box(200), class_id=[2, 1])) == [1, 3]


def test_config_refuses_crossed_thresholds() -> None:
    with pytest.raises(ValidationError, match="low_score must not exceed high_score"):
        TrackerConfig(low_score=0.6, high_score=0.5)


def test_box_iou() -> None:
    a = np.array([[0, 0, 10, 10], [5, 5, 5, 5]], np.float64)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], np.float64)
    np.testing.assert_allclose(box_iou(a, b), [[1, 50 / 150, 0], [0, 0, 0]])
    assert box_iou(np.array([[3.0, 3, 3, 3]]), np.array([[3.0, 3, 3, 3]])) == 0


coordinate = st.integers(-50, 400)
one_box = st.tuples(
    coordinate, coordinate, st.integers(0, 120), st.integers(0, 120),
    st.sampled_from([0.05, 0.3, 0.5, 0.9]), st.integers(0, len(CLASSES) - 1),
)  # fmt: skip
frames = st.lists(
    st.tuples(st.integers(-1, 4), st.lists(one_box, max_size=8)), min_size=1, max_size=12
)


def play(video: list[tuple[int, list[tuple[float, ...]]]]) -> list[NDArray[np.int64]]:
    tracker, t_ns, seen = Tracker(TrackerConfig()), 0, []
    for step, rows in video:
        t_ns += step * FRAME_NS
        boxes = [box(x, y, w, h) for x, y, w, h, _, _ in rows]
        scores, classes = [r[4] for r in rows], [int(r[5]) for r in rows]
        seen.append(tracker.update(see(*boxes, score=scores, class_id=classes), t_ns).track_id)
    return seen


@settings(max_examples=150, deadline=None)
@given(frames)
def test_ids_are_unique_dense_and_repeatable(
    video: list[tuple[int, list[tuple[float, ...]]]],
) -> None:
    seen = play(video)
    for track_id, (_, rows) in zip(seen, video, strict=True):
        given_ids = track_id[track_id >= 0]
        assert len(np.unique(given_ids)) == len(given_ids)
        assert all(score >= 0.1 for i, (*_, score, _) in zip(track_id, rows, strict=True) if i > 0)
    every_id = np.unique(np.concatenate(seen))
    every_id = every_id[every_id >= 0]
    assert every_id.tolist() == list(range(1, len(every_id) + 1))
    for first, second in zip(seen, play(video), strict=True):
        np.testing.assert_array_equal(first, second)
