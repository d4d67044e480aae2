"""An anchor-free head: one box and one score per class at every cell of the pyramid.

B batch   P, C channels   K classes   A cells of all strides, fine to coarse, row-major

It is always dense, so it is small: what works inside a tile lies in the encoder, to be reused.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamvis.encode.sv_tiny import STRIDES, SvTinyArch

_MAX_LOG_SIZE = 6.0  # e^6 strides: no picture is larger
_PRIOR_LOGIT = -4.6  # 1 %: most cells are background


class Head(nn.Module):
    """Adds the context to what the tiles say of themselves; one set of weights per stride."""

    def __init__(self, arch: SvTinyArch, num_classes: int) -> None:
        super().__init__()
        both, C = 2 * arch.pyramid_channels, arch.channels[-1]
        self.num_classes = num_classes
        self.context = nn.ModuleDict({str(s): nn.Conv2d(C, both, 1) for s in STRIDES})
        self.out = nn.ModuleDict({str(s): nn.Conv2d(both, num_classes + 4, 1) for s in STRIDES})
        for layer in self.out.values():
            nn.init.constant_(layer.get_parameter("bias")[:num_classes], _PRIOR_LOGIT)

    def forward(self, pyramid: Mapping[int, Tensor], context: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 2P, h, w] at each stride, context [B, C, h, w] at stride 32 -> class logits
        [B, A, K], boxes xyxy px [B, A, 4], both float32."""
        logits, boxes = [], []
        for stride in STRIDES:
            name = str(stride)
            wide = F.interpolate(self.context[name](context), scale_factor=32.0 / stride)
            out = self.out[name](F.relu(pyramid[stride] + wide))
            logits.append(_rows(out[:, : self.num_classes]))
            boxes.append(_decode(out[:, self.num_classes :], stride))
        return torch.cat(logits, 1), torch.cat(boxes, 1)


def _decode(raw: Tensor, stride: int) -> Tensor:
    """[B, 4, h, w] offsets from the cell's corner and log sizes, in strides -> [B, hw, 4]."""
    _, _, h, w = raw.shape
    offset, log_size = _rows(raw).chunk(2, dim=-1)  # each [B, h * w, 2]
    centre = (cell_corners(h, w, raw.device) + offset) * stride
    half = log_size.clamp(max=_MAX_LOG_SIZE).exp() * (stride / 2)
    return torch.cat([centre - half, centre + half], -1)


def cell_corners(h: int, w: int, device: torch.device) -> Tensor:
    """(x, y) of each cell, row-major, in cells: [h * w, 2]."""
    y, x = torch.meshgrid(
        torch.arange(h, device=device), torch.arange(w, device=device), indexing="ij"
    )
    return torch.stack([x, y], -1).view(-1, 2).float()


def _rows(x: Tensor) -> Tensor:
    """[B, C, h, w] -> float32 [B, h * w, C]."""
    return x.permute(0, 2, 3, 1).flatten(1, 2).float()
