"""Two logs of a replay: what counts as a difference, and what is rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matrix import contract
from wire_samples import ORIGIN, make_packet, make_result

from streamvis.replay.compare import Log, Tolerance, as_log, differences
from streamvis.types import Detections
from streamvis.wire import DetMessage, EmbMessage, PlanMessage

TOLERANCE = Tolerance(box_px=0.5, score=0.02, embedding_cosine=0.999)
MIN_SCORE = 0.3


def detections(*rows: tuple[float, float, int, int]) -> Detections:
    """(x, score, class, track) of boxes of 10 px."""
    return Detections(
        xyxy=np.array([[x, 0, x + 10, 10] for x, *_ in rows], np.float32).reshape(-1, 4),
        score=np.array([row[1] for row in rows], np.float32),
        class_id=np.array([row[2] for row in rows], np.int32),
        track_id=np.array([row[3] for row in rows], np.int64),
    )


def det_log(*rows: tuple[float, float, int, int], **changes) -> Log:
    result = replace(make_result(4), detections=detections(*rows), **changes)
    return as_log([DetMessage.of(result, ORIGIN, seq=4)])


def fields(reference: Log, got: Log) -> list[str]:
    found = differences(reference, got, ["front", "left"], TOLERANCE, MIN_SCORE)
    return [difference.field for difference in found]


def test_equal_logs_do_not_differ():
    packet = PlanMessage.of(make_packet(), 0, ORIGIN, seq=4)
    result = make_result(4)
    log = as_log([DetMessage.of(result, ORIGIN, 4), EmbMessage.of(result, ORIGIN, 4), packet])
    assert fields(log, log) == []


@contract("replay")
@pytest.mark.parametrize(
    ("row", "found"),
    [
        ((100.4, 0.8, 2, 7), []),
        ((100.6, 0.8, 2, 7), ["det.xyxy"]),
        ((100, 0.815, 2, 7), []),
        ((100, 0.83, 2, 7), ["det.score"]),
        ((float("nan"), 0.8, 2, 7), ["det.xyxy"]),
        ((100, 0.8, 3, 7), ["det.object", "det.object"]),
        ((100, 0.8, 2, 8), ["det.object", "det.object"]),
    ],
)
def test_boxes_and_scores_have_a_tolerance_classes_and_tracks_none(row, found):
    assert fields(det_log((100, 0.8, 2, 7)), det_log(row)) == found


def test_the_order_of_objects_is_not_compared():
    a, b = (100, 0.8, 2, 7), (300, 0.8, 2, 9)
    assert fields(det_log(a, b), det_log(b, a)) == []


def test_two_alike_are_paired_with_the_nearest():
    a, b = (100, 0.8, 2, -1), (300, 0.8, 2, -1)
    assert fields(det_log(a, b), det_log(b, a)) == []


@contract("replay")
@pytest.mark.parametrize(("score", "found"), [(0.31, []), (0.33, ["det.object"])])
def test_only_an_object_at_the_threshold_may_come_and_go(score, found):
    sure, marginal = (100, 0.8, 2, 7), (300, score, 2, -1)
    assert fields(det_log(sure, marginal), det_log(sure)) == found
    assert fields(det_log(sure), det_log(sure, marginal)) == found


def test_what_has_no_tolerance_is_exact():
    changed = make_result(4).tiles
    log = det_log((100, 0.8, 2, 7))
    assert fields(log, det_log((100, 0.8, 2, 7), pts=1)) == ["det.pts"]
    fewer = replace(changed, encoded=1)
    assert fields(log, det_log((100, 0.8, 2, 7), tiles=fewer)) == ["det.tiles"]


def test_an_embedding_is_compared_by_its_direction():
    def log(vector: np.ndarray) -> Log:
        result = replace(make_result(4), embedding=vector.astype(np.float32))
        return as_log([EmbMessage.of(result, ORIGIN, 4)])

    one = np.eye(64)[0]
    assert fields(log(one), log(one + 0.01 * np.eye(64)[1])) == []
    assert fields(log(one), log(one + 0.1 * np.eye(64)[1])) == ["emb.embedding"]
    assert fields(log(one), log(np.full(64, np.nan))) == ["emb.embedding"]
    assert fields(log(one), log(one[:32])) == ["emb.embedding"]


def test_another_plan_is_a_difference():
    one = as_log([PlanMessage.of(make_packet(), 0, ORIGIN, seq=4)])
    two = as_log([PlanMessage.of(make_packet(is_i=False), 1, ORIGIN, seq=4)])
    assert fields(one, two) == [
        "plan.batch",
        "plan.base_seq",
        "plan.kind",
        "plan.index",
        "plan.motion",
    ]


def test_the_first_difference_is_of_the_earliest_frame_then_the_first_camera():
    def log(*frames: tuple[str, int]) -> Log:
        results = [make_result(index, camera) for camera, index in frames]
        return as_log([DetMessage.of(result, ORIGIN, 0) for result in results])

    whole = log(("front", 1), ("left", 1), ("left", 0), ("front", 2))
    found = list(differences(whole, log(("front", 2)), ["front", "left"], TOLERANCE, MIN_SCORE))
    assert [(d.camera, d.frame_index) for d in found] == [("left", 0), ("front", 1), ("left", 1)]
    assert str(found[0]) == ("left frame 0 det: reference present, got absent (tolerance: exact)")
