"""The gate: which tiles of a frame travel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamvis.tiling.config import TilingConfig
from streamvis.tiling.grid import TileGrid
from streamvis.tiling.motion import MotionSearch, try_vectors
from streamvis.tiling.plan import every_tile
from streamvis.tiling.policy import Allowance, choose
from streamvis.tiling.residual import (
    ExposureMeter,
    NoiseMeter,
    block_differences,
    worst_of_tiles,
)
from streamvis.tiling.saliency import follow, tiles_under
from streamvis.types import Feedback, Frame, LetterBox, TilePlan

_NO_MOTION = np.zeros((0, 2), np.int16)
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


@dataclass(frozen=True)
class _Judgement:
    """Of each of a frame's tiles."""

    score: NDArray[np.float32]  # [M] as in TilePlan
    motion: NDArray[np.int16]  # [M, 2] as in TilePlan
    salient: NDArray[np.bool_]  # [M] an object is there


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
        self._exposure = ExposureMeter()
        self._motion = MotionSearch(config.motion, grid)
        self._allowance = Allowance(config, grid.num_tiles)
        self._everything = every_tile(grid)
        self.reset()

    def reset(self) -> None:
        """Forget the camera: the next plan is an I plan."""
        self._last_index: int | None = None
        self._last_box: LetterBox | None = None
        self._num_sent = 0
        for part in (self._noise, self._exposure, self._motion, self._allowance):
            part.reset()

    def plan(self, frame: Frame, feedback: Feedback) -> TilePlan:
        plan = self._choose(frame, feedback)
        self._commit(frame, plan)
        return plan

    def _choose(self, frame: Frame, feedback: Feedback) -> TilePlan:
        config, content_size = self._config, frame.letterbox.content_size
        allowance = self._allowance.update(feedback.service_ns, self._num_sent)
        noise = self._noise.update(frame.image, content_size)
        has_jumped = self._exposure.update(frame.image, content_size)
        if self._needs_every_tile(frame, feedback):
            return self._everything
        age = self._age + np.int32(frame.index - (self._last_index or 0))
        judged = self._judge(frame, feedback.boxes, noise, age)
        score = judged.score
        must = ~(score < 1)  # so that what is not a number travels
        if config.policy == "threshold" and (has_jumped or must.mean() > config.dense_above):
            return self._everything
        saliency = np.where(judged.salient, _BOX_SALIENCY, 1).astype(np.float32)
        index = choose(must | self._refreshed(age), score, saliency, age, allowance)
        judged.motion[index] = 0
        return TilePlan(
            rows=self._grid.rows,
            cols=self._grid.cols,
            tile_px=self._grid.tile_px,
            kind="P",
            index=index,
            motion=judged.motion if judged.motion.any() else _NO_MOTION,
            score=score,
            age=age,
        )

    def _commit(self, frame: Frame, plan: TilePlan) -> None:
        """The back will have these tiles."""
        if plan.kind == "I":
            np.copyto(self._reference, frame.image)
        else:
            self._grid.paste(self._reference, plan.index, self._grid.cut(frame.image, plan.index))
        self._motion.settle(frame, plan)
        np.copyto(self._age, plan.age)
        self._age[plan.index] = 0
        self._num_sent = len(plan.index)
        # Nothing may build on a picture that was decoded with errors.
        self._last_index = None if frame.is_corrupt else frame.index
        self._last_box = frame.letterbox

    def _needs_every_tile(self, frame: Frame, feedback: Feedback) -> bool:
        if self._last_index is None or frame.letterbox != self._last_box:
            return True
        step = frame.index - self._last_index
        is_gap = step <= 0 or step > self._config.max_age
        return is_gap or feedback.need_i or frame.is_discont or frame.is_corrupt

    def _judge(
        self, frame: Frame, boxes: NDArray[np.float32], noise: float, age: NDArray[np.int32]
    ) -> _Judgement:
        """How far each tile is from the canvas, and which of them only moved."""
        residual = worst_of_tiles(block_differences(frame.image, self._reference), self._grid)
        salient = tiles_under(boxes, self._grid)
        score = _over(residual, self._threshold(noise, salient))
        motion = np.zeros((self._grid.num_tiles, 2), np.int16)
        vectors = self._motion.look(frame, self._reference, ~(score < 1), age)
        is_overdue = (age > self._config.max_age) & self._config.refresh
        if vectors is not None:
            salient |= tiles_under(follow(boxes, vectors, self._grid), self._grid)
            threshold = self._threshold(noise, salient)
            score = _over(residual, threshold)
            tried = ~(score < 1) & ~salient & ~is_overdue
            found, left = try_vectors(frame.image, self._reference, tried, vectors, self._grid)
            moved = _over(left, threshold)
            score, motion = np.where(moved < 1, moved, score), found * (moved < 1)[:, None]
        score = np.where(is_overdue, np.maximum(score, 1), score)
        return _Judgement(score, motion, salient)

    def _threshold(self, noise: float, salient: NDArray[np.bool_]) -> NDArray[np.float64]:
        """[M] grey levels."""
        config = self._config
        factor = np.where(salient, config.box_factor, 1)
        return np.maximum(config.threshold * factor, config.noise_factor * noise)

    def _refreshed(self, age: NDArray[np.int32]) -> NDArray[np.bool_]:
        """The oldest tiles, so many that all have their turn within max_age frames."""
        chosen = np.zeros(len(age), np.bool_)
        if self._config.refresh:
            num = -(-len(age) // self._config.max_age)
            chosen[np.argsort(-age, kind="stable")[:num]] = True
        return chosen


def _over(residual: NDArray[np.float32], threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """Of their threshold; from a threshold of 0 on everything is a change."""
    with np.errstate(divide="ignore", invalid="ignore"):
        score = residual / threshold
    return np.where(threshold > 0, score, np.inf).astype(np.float32)


class RecordedGate:
    """Repeats what another gate decided; it is asked only for frames that went to the back then."""

    def __init__(self, plans: Mapping[int, TilePlan]) -> None:
        """`plans` by frame index."""
        self._plans = plans

    def plan(self, frame: Frame, feedback: Feedback) -> TilePlan:  # noqa: ARG002 - the seam
        return self._plans[frame.index]
