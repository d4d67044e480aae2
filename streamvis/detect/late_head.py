"""The head of sv_tiny with late context: towers inside a tile, the context after them.

B batch   M tiles   P pyramid channels   C channels   K classes   t a tile's side in cells
A cells of all strides, fine to coarse, row-major
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamvis.detect.head import PRIOR_LOGIT, decode, rows_of
from streamvis.encode.sv_tiny import STRIDES, ConvNorm, SvTinyArch, from_tiles


class TileTower(nn.Module):
    """For classes and boxes at once, inside a tile; the last ReLU waits for the context."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        both = 2 * channels
        self.layers = nn.Sequential(
            ConvNorm(channels, channels, 3, groups=channels, relu=False),
            ConvNorm(channels, both, 1),
            ConvNorm(both, both, 3, groups=both, relu=False),
            ConvNorm(both, both, 1, groups=2, relu=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[M, P, t, t] -> [M, 2P, t, t]"""
        out: Tensor = self.layers(x)
        return out


class LateHead(nn.Module):
    """One box and one score per class at every cell, as `head.Head`."""

    def __init__(self, arch: SvTinyArch, num_classes: int) -> None:
        super().__init__()
        P, C = arch.pyramid_channels, arch.channels[3]
        self.num_classes = num_classes
        self.towers = nn.ModuleDict({str(s): TileTower(P) for s in STRIDES})
        self.context = nn.ModuleDict({str(s): nn.Conv2d(C, 2 * P, 1) for s in STRIDES})
        self.out = nn.ModuleDict({str(s): nn.Conv2d(2 * P, num_classes + 4, 1) for s in STRIDES})
        for layer in self.out.values():
            nn.init.constant_(layer.get_parameter("bias")[:num_classes], PRIOR_LOGIT)

    def hidden(self, pyramid: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """What a tile knows of itself: [M, P, t, t] -> [M, 2P, t, t] at each stride."""
        return {s: self.towers[str(s)](x) for s, x in pyramid.items()}

    def finish(self, hidden: Mapping[int, Tensor], context: Tensor) -> tuple[Tensor, Tensor]:
        """Always dense: [B, 2P, h, w] at each stride, context [B, C, h, w] at stride 32 -> class
        logits [B, A, K], boxes xyxy px [B, A, 4], both float32."""
        logits, boxes = [], []
        for stride, x in hidden.items():
            name = str(stride)
            wide = F.interpolate(self.context[name](context), scale_factor=32.0 / stride)
            out = self.out[name](F.relu(x + wide))
            logits.append(rows_of(out[:, : self.num_classes]))
            boxes.append(decode(out[:, self.num_classes :], stride))
        return torch.cat(logits, 1), torch.cat(boxes, 1)

    def forward(
        self, pyramid: Mapping[int, Tensor], context: Tensor, grid: tuple[int, int, int]
    ) -> tuple[Tensor, Tensor]:
        """Of whole pictures, [M, P, t, t] of a grid of (B, rows, cols) tiles: as `finish`."""
        hidden = {s: from_tiles(x, grid) for s, x in self.hidden(pyramid).items()}
        return self.finish(hidden, context)
