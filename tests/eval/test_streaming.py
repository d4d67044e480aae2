import numpy as np
import pytest
from eval_samples import detected, draw_drive, drive, labelled

from streamvis.eval.detection import MatchSettings, match_detections, score_matches
from streamvis.eval.labels import DriveLabels
from streamvis.eval.result import Found
from streamvis.eval.streaming import stream_schedule, streamed_results, streaming_score

# One camera, a frame every 100 ms, each needs 150 ms but the last one 20 ms.
#
#   ms       0    100   200   300   400   500
#   arrives  r0    r1    r2    r3    r4    r5
#   works    [---- r0 ----]
#                         [---- r1 ----]            150: r1 has arrived, r2 has not
#                                      [---- r3 ----]    300: r3 has just arrived, r2 is dropped
#                                                   [---- r4 ----]    450: r4, then
#                                                                [r5]   600 to 620
#   newest   -     -     r0    r1    r1    r3
#   age                  200   200   300   200
ARRIVAL = np.arange(6) * 100.0
SERVICE = np.array([150, 150, 150, 150, 150, 20.0])
ROUNDS = [[("front", i)] for i in range(6)]


def box(i: int) -> list[float]:
    return [100.0 * i, 0, 100.0 * i + 80, 50]


@pytest.fixture
def labels() -> DriveLabels:
    return drive({("front", i): labelled(("car", box(i), 1)) for i in range(6)})


@pytest.fixture
def found() -> Found:
    return {("front", i): detected(("car", box(i), 0.9)) for i in range(6)}


def test_the_timeline() -> None:
    schedule = stream_schedule(ARRIVAL, SERVICE)
    assert schedule.round.tolist() == [0, 1, 3, 4, 5]
    assert schedule.finish_ms.tolist() == [150, 300, 450, 600, 620]


def test_each_frame_gets_the_newest_result(labels: DriveLabels, found: Found) -> None:
    streamed = streamed_results(labels, found, ROUNDS, ARRIVAL, stream_schedule(ARRIVAL, SERVICE))
    first_x = [row.xyxy[0, 0] / 100 if len(row) else None for row in streamed.found.values()]
    assert first_x == [None, None, 0, 1, 1, 3]
    assert streamed.staleness_ms.tolist() == [200, 200, 300, 200]


def test_late_boxes_miss_what_moves(labels: DriveLabels, found: Found) -> None:
    score = streaming_score(labels, found, ROUNDS, ARRIVAL, SERVICE)
    assert score.detection["car"].AP50 == 0
    assert score.processed_share == pytest.approx(5 / 6)
    assert (score.staleness_p50_ms, score.staleness_p99_ms) == (200, pytest.approx(297))


def test_late_boxes_still_hit_what_stands(found: Found) -> None:
    labels = drive({("front", i): labelled(("car", box(0), 1)) for i in range(6)})
    same = dict.fromkeys(found, found["front", 0])
    # Four of six frames have a result: 67 of the 101 recalls are reached.
    score = streaming_score(labels, same, ROUNDS, ARRIVAL, SERVICE)
    assert pytest.approx(67 / 101) == score.detection["car"].AP


def test_a_machine_that_keeps_up_drops_nothing() -> None:
    schedule = stream_schedule(ARRIVAL, SERVICE, speed_factor=2)
    assert schedule.round.tolist() == [0, 1, 2, 3, 4, 5]
    assert schedule.finish_ms.tolist() == [75, 175, 275, 375, 475, 510]


def test_a_result_is_never_there_for_its_own_frame(labels: DriveLabels, found: Found) -> None:
    score = streaming_score(labels, found, ROUNDS, ARRIVAL, SERVICE, speed_factor=1000)
    assert score.processed_share == 1
    assert score.detection["car"].AP50 == 0
    assert score.staleness_p99_ms == 100


def test_without_latency_it_is_the_offline_score() -> None:
    labels, found = draw_drive(0)
    rounds = [[("front", i), ("left", i)] for i in range(20)]
    arrival, settings = np.arange(20) * 66.7, MatchSettings(max_detections=9)
    score = streaming_score(labels, found, rounds, arrival, arrival * 0 + 200, np.inf, settings)
    offline = score_matches(match_detections(labels, found, "car", settings))
    assert score.detection["car"].to_dict() == offline.to_dict()
    assert score.staleness_p99_ms == 0


def test_rounds_that_arrive_together() -> None:
    schedule = stream_schedule(np.array([0, 0, 50.0]), np.array([10, 10, 10.0]))
    assert schedule.round.tolist() == [1, 2]


def test_cameras_have_results_of_their_own() -> None:
    rounds = [[("a", 0)], [("b", 0)], [("a", 1)], [("b", 1)]]
    labels = drive({key: labelled(("car", box(0), 1)) for row in rounds for key in row})
    found = {key: detected(("car", box(0), 0.9)) for key in labels.frames}
    arrival = np.array([0, 10, 100, 110.0])
    schedule = stream_schedule(arrival, np.full(4, 5.0))
    streamed = streamed_results(labels, found, rounds, arrival, schedule)
    assert [len(row) for row in streamed.found.values()] == [0, 0, 1, 1]
    assert streamed.staleness_ms.tolist() == [100, 100]


def test_a_machine_that_is_never_done_in_time(labels: DriveLabels, found: Found) -> None:
    score = streaming_score(labels, found, ROUNDS, ARRIVAL, SERVICE * 100)
    assert score.detection["car"].AP == 0
    assert score.staleness_p50_ms is None
    assert score.to_dict()["staleness_ms"] == {"p50": None, "p99": None}


def test_labels_outside_the_rounds(labels: DriveLabels, found: Found) -> None:
    with pytest.raises(ValueError, match=r"1 labelled frames are in no round, first .*5"):
        streaming_score(labels, found, ROUNDS[:5], ARRIVAL[:5], SERVICE[:5])


@pytest.mark.parametrize(
    ("arrival", "service", "speed"),
    [([0, 1], [1], 1), ([1, 0], [1, 1], 1), ([0, 1], [1, -1], 1), ([0, 1], [1, 1], 0)],
)
def test_impossible_times(arrival: list[float], service: list[float], speed: float) -> None:
    with pytest.raises(ValueError, match=r"time|ascend"):
        stream_schedule(np.array(arrival), np.array(service), speed)
