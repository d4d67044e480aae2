"""How many tiles a frame may have, and which ones go first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamvis.tiling.config import TilingConfig

_AIM = 0.75  # of the deadline: what is left is for the frames that take longer
_SHRINK, _GROW = 0.75, 1.05
_MAX_SCORE = 1e6  # stands for "infinitely": keeps the products finite


class Allowance:
    """The most tiles a P packet may carry; None: as many as changed.

    `deadline` knows no model of the encoder's cost: it gives way fast when a frame took too long
    and comes back slowly, as a network's congestion control does (and as there, RFC 7661, an
    allowance that was not used up does not grow).
    """

    def __init__(self, config: TilingConfig, num_tiles: int) -> None:
        self._deadline_ns = round((config.deadline_ms or 0) * 1e6)
        self._fixed = config.budget
        self._num_tiles = num_tiles
        self.reset()

    def reset(self) -> None:
        self._tiles = float(self._num_tiles)

    def update(self, service_ns: int, num_sent: int) -> int | None:
        """`service_ns`: what the frame before took behind the front; 0 when it is not known."""
        if not self._deadline_ns:
            return self._fixed
        is_used_up = num_sent >= int(self._tiles)  # else its time says nothing about more tiles
        if service_ns > _AIM * self._deadline_ns:
            self._tiles = max(1.0, self._tiles * _SHRINK)
        elif service_ns > 0 and is_used_up:
            self._tiles = min(float(self._num_tiles), max(self._tiles * _GROW, self._tiles + 0.25))
        return int(self._tiles)


def choose(
    wanted: NDArray[np.bool_],
    score: NDArray[np.float32],
    saliency: NDArray[np.float32],
    age: NDArray[np.int32],
    allowance: int | None,
) -> NDArray[np.int32]:
    """The tiles that travel, ascending: all that are wanted, or of them the best by
    score x saliency x age."""
    index = np.flatnonzero(wanted)
    if allowance is not None and len(index) > allowance:
        sure = np.nan_to_num(score[index], nan=_MAX_SCORE, posinf=_MAX_SCORE)
        rank = np.maximum(sure, 0.1) * saliency[index] * (1.0 + age[index])
        best = np.argsort(-rank, kind="stable")[:allowance]
        index = np.sort(index[best])
    return index.astype(np.int32)
