"""The gate: which tiles of a frame travel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamvis.tiling.config import TilingConfig
from streamvis.tiling.grid import TileGrid
from streamvis.tiling.plan import every_tile
from streamvis.tiling.policy import Allowance, choose
from streamvis.tiling.residual import NoiseMeter, block_differences, worst_of_tiles
from streamvis.types import Feedback, Frame, TilePlan

_BOX_MARGIN_PX = 8  # objects move between two frames
_BOX_SALIENCY = 4.0  # a tile with an object goes before one without


class Gate(Protocol):
    def plan(self, frame: Frame, feedback: Feedback) -> TilePlan:
        """What of this frame travels; it is taken for sent."""


def build_gate(config: TilingConfig, grid: TileGrid) -> Gate:
    """The gate of a policy."""
    return DenseGate(grid) if config.policy == "off" else ChangeGate(config, grid)


class DenseGate:
    """Policy `off`: every frame is an I frame, so no tile is ever reused or stale."""

    def __init__(self, grid: TileGrid) -> None:
        self._plan = every_tile(grid)

    def plan(self, frame: Frame, feedback: Feedback) -> TilePlan:  # noqa: ARG002 - the seam
        return self._plan


class ChangeGate:
    """Sends the tiles that differ from what the back has, never from the frame before: slow
    change adds up and is seen.

    The reference is this side's copy of the back's canvas. It needs no answer to stay true: a
    packet that the back did not take makes it ask for an I packet.
    """

    def __init__(self, config: TilingConfig, grid: TileGrid) -> None:
        self._config = config
        self._grid = grid
        self._reference: NDArray[np.uint8] = np.zeros(grid.picture_shape, np.uint8)
        self._age: NDArray[np.int32] = np.zeros(grid.num_tiles, np.int32)
        self._noise = NoiseMeter()
        self._allowance = Allowance(config, grid.num_tiles)
        self._everything = every_tile(grid)
        self.reset()

    def reset(self) -> None:
        """Forget the camera: the next plan is an I plan."""
        self._last_index: int | None = None
        self._num_sent = 0
        self._noise.reset()
        self._allowance.reset()

    def plan(self, frame: Frame, feedback: Feedback) -> TilePlan:
        plan = self._choose(frame, feedback)
        self._commit(frame, plan)
        return plan

    def _choose(self, frame: Frame, feedback: Feedback) -> TilePlan:
        allowance = self._allowance.update(feedback.service_ns, self._num_sent)
        noise = self._noise.update(frame.image, frame.letterbox.content_size)
        if self._needs_every_tile(frame, feedback):
            return self._everything
        age = self._age + np.int32(frame.index - (self._last_index or 0))
        salient = self._under_boxes(feedback.boxes)
        score = self._score(frame.image, noise, salient)
        if self._config.refresh:
            score = np.where(age > self._config.max_age, np.maximum(score, 1), score)
        must = ~(score < 1)  # so that what is not a number travels
        if self._config.policy == "threshold" and must.mean() > self._config.dense_above:
            return self._everything
        saliency = np.where(salient, _BOX_SALIENCY, 1).astype(np.float32)
        index = choose(must | self._refreshed(age), score, saliency, age, allowance)
        return TilePlan(
            rows=self._grid.rows,
            cols=self._grid.cols,
            tile_px=self._grid.tile_px,
            kind="P",
            index=index,
            motion=np.zeros((0, 2), np.int16),
            score=score,
            age=age,
        )

    def _commit(self, frame: Frame, plan: TilePlan) -> None:
        """The back will have these tiles."""
        if plan.kind == "I":
            np.copyto(self._reference, frame.image)
        else:
            self._grid.paste(self._reference, plan.index, self._grid.cut(frame.image, plan.index))
        np.copyto(self._age, plan.age)
        self._age[plan.index] = 0
        self._num_sent = len(plan.index)
        # Nothing may build on a picture that was decoded with errors.
        self._last_index = None if frame.is_corrupt else frame.index

    def _needs_every_tile(self, frame: Frame, feedback: Feedback) -> bool:
        went_back = self._last_index is not None and frame.index <= self._last_index
        return (
            self._last_index is None
            or went_back
            or feedback.need_i
            or frame.is_discont
            or frame.is_corrupt
        )

    def _score(
        self, image: NDArray[np.uint8], noise: float, salient: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """float32 [M]: the tile's worst block over its threshold."""
        config = self._config
        residual = worst_of_tiles(block_differences(image, self._reference), self._grid)
        factor = np.where(salient, config.box_factor, 1)
        threshold = np.maximum(config.threshold * factor, config.noise_factor * noise)
        with np.errstate(divide="ignore", invalid="ignore"):
            score = residual / threshold
        return np.where(threshold > 0, score, np.inf).astype(np.float32)

    def _refreshed(self, age: NDArray[np.int32]) -> NDArray[np.bool_]:
        """The oldest tiles, so many that all have their turn within max_age frames."""
        chosen = np.zeros(len(age), np.bool_)
        if self._config.refresh:
            num = -(-len(age) // self._config.max_age)
            chosen[np.argsort(-age, kind="stable")[:num]] = True
        return chosen

    def _under_boxes(self, xyxy: NDArray[np.float32]) -> NDArray[np.bool_]:
        """bool [M]: tiles that the last detections touch, encoder px."""
        grid = self._grid
        under = np.zeros((grid.rows, grid.cols), np.bool_)
        finite = xyxy[np.isfinite(xyxy).all(axis=1)]
        first = np.floor((finite[:, :2] - _BOX_MARGIN_PX) / grid.tile_px).astype(int)
        last = np.floor((finite[:, 2:] + _BOX_MARGIN_PX) / grid.tile_px).astype(int)
        for (x0, y0), (x1, y1) in zip(np.maximum(first, 0), np.maximum(last, -1), strict=True):
            under[y0 : y1 + 1, x0 : x1 + 1] = True
        return under.ravel()


class RecordedGate:
    """Repeats what another gate decided; it is asked only for frames that went to the back then."""

    def __init__(self, plans: Mapping[int, TilePlan]) -> None:
        """`plans` by frame index."""
        self._plans = plans

    def plan(self, frame: Frame, feedback: Feedback) -> TilePlan:  # noqa: ARG002 - the seam
        return self._plans[frame.index]
