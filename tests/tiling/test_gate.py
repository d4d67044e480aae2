"""The gate that repeats another's decisions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from conftest import make_frame

from streamvis.encode.config import EncoderConfig
from streamvis.front import build_front
from streamvis.tiling.config import TilingConfig
from streamvis.types import Feedback

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
