"""The gate: which tiles of a frame travel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from streamvis.tiling.config import TilingConfig
from streamvis.tiling.grid import TileGrid
from streamvis.types import Feedback, Frame, TilePlan


class Gate(Protocol):
    """Chooses the tiles of each frame that goes to the back."""

    def plan(self, frame: Frame, feedback: Feedback) -> TilePlan: ...


def build_gate(config: TilingConfig, grid: TileGrid) -> Gate:
    """The gate of a policy."""
    assert config.policy == "off", "the only policy so far"
    return DenseGate(grid)


class DenseGate:
    """Policy `off`: every frame is an I frame, so no tile is ever reused or stale."""

    def __init__(self, grid: TileGrid) -> None:
        count = grid.num_tiles
        self._plan = TilePlan(
            rows=grid.rows,
            cols=grid.cols,
            tile_px=grid.tile_px,
            kind="I",
            index=np.arange(count, dtype=np.int32),
            motion=np.zeros((0, 2), np.int16),
            score=np.zeros(count, np.float32),
            age=np.zeros(count, np.int32),
        )

    def plan(self, frame: Frame, feedback: Feedback) -> TilePlan:  # noqa: ARG002 - the seam
        return self._plan


class RecordedGate:
    """Repeats what another gate decided; it is asked only for frames that went to the back then."""

    def __init__(self, plans: Mapping[int, TilePlan]) -> None:
        """`plans` by frame index."""
        self._plans = plans

    def plan(self, frame: Frame, feedback: Feedback) -> TilePlan:  # noqa: ARG002 - the seam
        return self._plans[frame.index]
