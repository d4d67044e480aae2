"""What sv_tiny keeps of one camera: the local features of every tile."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from streamvis.encode.feature_map import FeatureMap, as_index
from streamvis.types import ModelId, TilePlan

LOCAL_STRIDES = (8, 16)


class SvTinyCache:
    """Only SvTinyEncoder writes it."""

    def __init__(self, model: ModelId, maps: Sequence[FeatureMap]) -> None:
        self.model = model
        self.maps = tuple(maps)  # early context: at LOCAL_STRIDES; late: what it reads
        self.hidden: dict[int, FeatureMap] = {}  # late: by stride; written by the detector only
        self.is_empty = True

    def reset(self) -> None:
        """Forget the camera; the memory stays."""
        self.is_empty = True

    @torch.inference_mode()
    def update(self, plan: TilePlan, features: Sequence[Tensor]) -> float:
        """Put the plan's tiles, [K, C, t, t] at each stride, in their places; returns the
        canary's error."""
        tiles = [x.permute(0, 2, 3, 1) for x in features]  # [K, C, t, t] -> [K, t, t, C]
        canary = 0.0 if self.is_empty else self.maps[-1].canary(plan, plan.index, tiles[-1])
        index = as_index(plan.index, tiles[0].device)
        for kept, new in zip(self.maps, tiles, strict=True):
            kept.write(index, new)
        self.is_empty = False
        return canary
