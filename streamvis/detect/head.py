"""An anchor-free head: one box and one score per class at every cell of the pyramid.

B batch   C channels   K classes   A cells of all strides, fine to coarse, row-major
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from streamvis.encode.sv_tiny import ConvNorm

_MAX_LOG_SIZE = 6.0  # e^6 strides: no picture is larger
PRIOR_LOGIT = -4.6  # 1 %: most cells are background


class Tower(nn.Module):
    """Depthwise-separable: cheap enough to stay dense, and it heals the seams of tiles."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvNorm(channels, channels, 3, groups=channels, relu=False),
            ConvNorm(channels, channels, 1),
            ConvNorm(channels, channels, 3, groups=channels, relu=False),
            ConvNorm(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class Head(nn.Module):
    """One pair of towers per stride: statistics differ between strides, weights are few."""

    def __init__(
        self, channels: int, num_classes: int, strides: Sequence[int] = (8, 16, 32)
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.class_towers = nn.ModuleList(Tower(channels) for _ in self.strides)
        self.box_towers = nn.ModuleList(Tower(channels) for _ in self.strides)
        self.classify = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for _ in self.strides)
        self.regress = nn.ModuleList(nn.Conv2d(channels, 4, 1) for _ in self.strides)
        for layer in self.classify:
            nn.init.constant_(layer.get_parameter("bias"), PRIOR_LOGIT)

    def forward(self, pyramid: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
        """-> class logits [B, A, K], boxes xyxy px [B, A, 4], both float32."""
        logits, boxes = [], []
        for i, stride in enumerate(self.strides):
            x = pyramid[stride]
            logits.append(rows_of(self.classify[i](self.class_towers[i](x))))
            boxes.append(decode(self.regress[i](self.box_towers[i](x)), stride))
        return torch.cat(logits, 1), torch.cat(boxes, 1)


def decode(raw: Tensor, stride: int) -> Tensor:
    """[B, 4, h, w] offsets from the cell's corner and log sizes, in strides -> [B, hw, 4]."""
    _, _, h, w = raw.shape
    offset, log_size = rows_of(raw).chunk(2, dim=-1)  # each [B, h * w, 2]
    centre = (cell_corners(h, w, raw.device) + offset) * stride
    half = log_size.clamp(max=_MAX_LOG_SIZE).exp() * (stride / 2)
    return torch.cat([centre - half, centre + half], -1)


def cell_corners(h: int, w: int, device: torch.device) -> Tensor:
    """(x, y) of each cell, row-major, in cells: [h * w, 2]."""
    y, x = torch.meshgrid(
        torch.arange(h, device=device), torch.arange(w, device=device), indexing="ij"
    )
    return torch.stack([x, y], -1).view(-1, 2).float()


def rows_of(x: Tensor) -> Tensor:
    """[B, C, h, w] -> float32 [B, h * w, C]."""
    return x.permute(0, 2, 3, 1).flatten(1, 2).float()
