"""The gate that repeats another's decisions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from conftest import make_frame

from streamvis.encode.config import EncoderConfig
from streamvis.front import build_front
from streamvis.tiling.config import TilingConfig
from streamvis.types import Feedback, Ledger, SourceCounts

ENCODER = EncoderConfig(input_size=(640, 384))


def test_recorded_plans_are_taken_by_the_frames_number():
    dense = build_front(ENCODER, TilingConfig())
    plans = {i: dense.step(make_frame(i), Feedback()).plan for i in (0, 3)}
    some = np.array([1, 5], np.int32)
    plans[3] = replace(plans[3], kind="P", index=some)
    front = build_front(ENCODER, TilingConfig(), plans)
    first, second = (front.step(make_frame(i), Feedback()) for i in (0, 3))
    assert (first.plan, second.plan) == (plans[0], plans[3])
    assert (second.base_seq, second.seq) == (0, 1)
    np.testing.assert_array_equal(second.tiles[1], make_frame(3).image[0:64, 320:384])


def test_the_first_frames_that_nobody_wanted_are_not_in_the_books():
    front = build_front(ENCODER, TilingConfig())
    frame = replace(make_frame(7), num_skipped=5, lost_decode=1)
    counts = front.step(frame, Feedback()).counts
    assert (counts.frames, counts.lost_decode, counts.lost_policy) == (3, 1, 1)


def test_a_packet_that_was_not_acknowledged_gave_no_result():
    front = build_front(ENCODER, TilingConfig())
    front.step(make_frame(0), Feedback())
    assert front.step(make_frame(1), Feedback(acked_seq=0)).lost_infer == 0
    assert front.step(make_frame(2), Feedback()).lost_infer == 1, "its worker died"
    assert front.step(make_frame(3), Feedback(acked_seq=2)).lost_infer == 1


def test_a_restarted_camera_goes_on_with_the_books_of_the_one_before():
    lost = {"source": 1, "decode": 2, "policy": 3, "infer": 4, "publish": 5}
    before = Ledger(source_frames=100, published=85, in_flight=0, lost=lost)
    front = build_front(ENCODER, TilingConfig(), before=before)
    packet = front.step(replace(make_frame(101), lost_decode=2), Feedback())
    assert packet.lost_infer == 4
    assert packet.counts.frames == 102
    assert front.account(SourceCounts(102, 1, 2)).lost_policy == 4, "frame 100 was dropped"
