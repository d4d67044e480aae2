"""What a plan says of each tile is what the counts of the result say of all."""

from __future__ import annotations

import numpy as np
import pytest

from streamvis.tiling.plan import count_tiles
from streamvis.types import TilePlan, TileState


def draw_plan(rng: np.random.Generator, motion: bool) -> TilePlan:
    """Half of the scores are due, some are not a number; half of the tiles move."""
    index = np.flatnonzero(rng.random(12) < 0.3).astype(np.int32)
    score = rng.choice([0.0, 0.99, 1.0, 7.0, np.nan, np.inf], 12).astype(np.float32)
    vectors = rng.integers(-1, 2, (12 if motion else 0, 2)).astype(np.int16)
    return TilePlan(3, 4, 64, "P", index, vectors, score, np.ones(12, np.int32))


@pytest.mark.parametrize("motion", [False, True])
def test_states_agree_with_the_counts(motion: bool) -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        plan = draw_plan(rng, motion)
        states, counts = plan.states(), count_tiles(plan)
        assert states.shape == (3, 4)
        assert (states == TileState.ENCODED).sum() == counts.encoded
        assert (states == TileState.STALE).sum() == counts.stale
        is_stale = ~(plan.score < 1).reshape(3, 4)
        assert (states == TileState.MOVED).sum() <= counts.moved
        assert not (is_stale & (states == TileState.REUSED)).any()


def test_one_tile_of_each_kind() -> None:
    motion = np.array([[0, 0], [0, 0], [4, 0], [4, 0]], np.int16)
    score = np.array([0, 3, 0, 3], np.float32)
    plan = TilePlan(1, 4, 64, "P", np.array([1], np.int32), motion, score, np.zeros(4, np.int32))
    assert plan.states().tolist() == [
        [TileState.REUSED, TileState.ENCODED, TileState.MOVED, TileState.STALE]
    ]
