"""What sv_tiny keeps of one camera: what every tile said of itself."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from streamvis.encode.feature_map import FeatureMap, as_index
from streamvis.types import ModelId, TilePlan


class SvTinyCache:
    """Only SvTinyEncoder writes it."""

    def __init__(self, model: ModelId, pyramid: Mapping[int, FeatureMap], x32: FeatureMap) -> None:
        self.model = model
        self.pyramid = pyramid  # by stride
        self.x32 = x32  # what the context reads
        self.is_empty = True

    def reset(self) -> None:
        """Forget the camera; the memory stays."""
        self.is_empty = True

    @torch.inference_mode()
    def update(self, plan: TilePlan, pyramid: Mapping[int, Tensor], x32: Tensor) -> float:
        """Put the plan's tiles, [K, C, t, t] each, in their places; returns the canary's error."""
        if not len(plan.index):
            return 0.0
        new = x32.permute(0, 2, 3, 1)  # [K, C, t, t] -> [K, t, t, C]
        canary = 0.0 if self.is_empty else self.x32.canary(plan, plan.index, new)
        index = as_index(plan.index, x32.device)
        self.x32.write(index, new)
        for stride, tiles in pyramid.items():
            self.pyramid[stride].write(index, tiles.permute(0, 2, 3, 1))
        self.is_empty = False
        return canary
