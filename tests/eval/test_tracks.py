from __future__ import annotations

from dataclasses import replace

import numpy as np
from tiny_drive import tiny_config

from streamvis.eval.shards import RunLog
from streamvis.eval.tracks import track


def make_log(score: list[float]) -> RunLog:
    """One object a frame that stands still; ten frames a second."""
    num = len(score)
    index = np.arange(num, dtype=np.int64)
    ones = np.ones(num, np.int64)
    return RunLog(
        camera=np.array(["a"] * num),
        frame_index=index,
        media_ns=index * 100_000_000,
        is_discont=np.zeros(num, np.bool_),
        tiles=np.ones((num, 1, 2), np.uint8),
        encode_ns=ones,
        detect_ns=ones,
        latency_ns=ones,
        embedding=np.zeros((num, 0), np.float32),
        num_found=ones,
        xyxy=np.tile(np.array([[10, 10, 60, 60]], np.float32), (num, 1)),
        score=np.array(score, np.float32),
        class_id=np.full(num, 2, np.int32),
        num_frames=ones,
        round_media_ns=index * 100_000_000,
        service_ns=ones,
    )


def ids(log: RunLog, **detector: object) -> list[list[int]]:
    tracked = track(log, tiny_config(detector=detector))
    return [tracked[key].track_id.tolist() for key in log.keys]


def test_an_object_gets_an_id_after_two_frames() -> None:
    assert ids(make_log([0.9, 0.9, 0.9])) == [[-1], [1], [1]]


def test_what_production_would_not_see_is_not_tracked() -> None:
    assert ids(make_log([0.9, 0.9, 0.2, 0.9])) == [[-1], [1], [], [1]]
    assert ids(make_log([0.9, 0.9, 0.2, 0.9]), score=0.1) == [[-1], [1], [1], [1]]


def test_a_jump_of_the_clock_begins_anew() -> None:
    log = make_log([0.9, 0.9, 0.9, 0.9])
    cut = replace(log, is_discont=np.array([False, False, True, False]))
    assert ids(cut) == [[-1], [1], [-1], [2]]
