"""The gate: which tiles of a frame travel."""

from __future__ import annotations

from streamvis.tiling.config import TilingConfig
from streamvis.tiling.grid import TileGrid
from streamvis.tiling.plan import every_tile
from streamvis.types import Feedback, Frame, TilePlan


def build_gate(config: TilingConfig, grid: TileGrid) -> DenseGate:
    """The gate of a policy."""
    assert config.policy == "off", "the only policy so far"
    return DenseGate(grid)


class DenseGate:
    """Policy `off`: every frame is an I frame, so no tile is ever reused or stale."""

    def __init__(self, grid: TileGrid) -> None:
        self._plan = every_tile(grid)

    def plan(self, frame: Frame, feedback: Feedback) -> TilePlan:  # noqa: ARG002 - the seam
        return self._plan
