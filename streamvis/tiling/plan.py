"""What both ends of the tile stream say about a plan."""

from __future__ import annotations

import numpy as np

from streamvis.tiling.grid import TileGrid
from streamvis.types import TileCounts, TilePlan


def every_tile(grid: TileGrid) -> TilePlan:
    """An I plan: the dense encoder."""
    count = grid.num_tiles
    return TilePlan(
        rows=grid.rows,
        cols=grid.cols,
        tile_px=grid.tile_px,
        kind="I",
        index=np.arange(count, dtype=np.int32),
        motion=np.zeros((0, 2), np.int16),
        score=np.zeros(count, np.float32),
        age=np.zeros(count, np.int32),
    )


def count_tiles(plan: TilePlan) -> TileCounts:
    """How the plan serves the frame's tiles; stale are those that should have travelled and did
    not: their score is 1 or more, or not a number."""
    kept = np.ones(plan.num_tiles, np.bool_)
    kept[plan.index] = False
    moved = plan.motion.any(axis=1) if len(plan.motion) else np.zeros_like(kept)
    return TileCounts(
        total=plan.num_tiles,
        encoded=len(plan.index),
        moved=int((moved & kept).sum()),
        stale=int((kept & ~(plan.score < 1)).sum()),
        max_age=int(plan.age.max(where=kept, initial=0)),
    )
