"""Features of every tile of one camera, laid out as the picture, and updated in place.

K tiles   C channels   t a tile's side in cells   h, w cells
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from streamvis.types import TilePlan


def split_rows(x: Tensor, counts: Sequence[int]) -> tuple[Tensor, ...]:
    """Each camera's share of the packed rows."""
    parts: tuple[Tensor, ...] = x.split(list(counts))  # type: ignore[no-untyped-call]
    return parts


def as_index(index: NDArray[np.int32], device: torch.device) -> Tensor:
    """int64 [K] on the device; a copy, for a plan from the wire cannot be written to."""
    return torch.from_numpy(index.astype(np.int64)).to(device)


class FeatureMap:
    """One map, channels last. Its tiles are written by its owner only; `values` is the memory
    itself, so whoever needs it beyond the next write copies it."""

    def __init__(
        self,
        rows: int,
        cols: int,
        side: int,
        channels: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.values = torch.zeros(rows * side, cols * side, channels, dtype=dtype, device=device)
        x = self.values.view(rows, side, cols, side, channels)
        self._tiles = x.transpose(1, 2)  # [rows, cols, t, t, C], the same memory
        self._cols = cols

    def read(self, index: Tensor) -> Tensor:
        """Copies of the tiles `index` [K]: [K, t, t, C]."""
        return self._tiles[index // self._cols, index % self._cols]

    def write(self, index: Tensor, tiles: Tensor) -> None:
        """Put tiles [K, t, t, C] in their places."""
        self._tiles[index // self._cols, index % self._cols] = tiles

    def canary(self, plan: TilePlan, index: NDArray[np.int32], tiles: Tensor) -> float:
        """How far off were the tiles that travel although they did not change? 1 - cosine of
        what lies here and what is to be written, the worst one; 0 when there is none."""
        quiet = (plan.score[index] < 1).nonzero()[0]
        if plan.kind == "I" or not len(quiet):
            return 0.0
        chosen = torch.from_numpy(quiet).to(tiles.device)
        places = torch.from_numpy(index[quiet]).to(tiles.device, torch.long)
        old, new = self.read(places).flatten(1), tiles[chosen].flatten(1)
        return max(0.0, 1.0 - float(F.cosine_similarity(old.float(), new.float()).min()))
