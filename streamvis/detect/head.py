"""An anchor-free head: one box and one score per class at every cell of the pyramid.

B batch   P, C channels   K classes   A cells of all strides, fine to coarse, row-major

It is always dense, so it is small: what works inside a tile lies in the encoder, to be reused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamvis.encode.packed import PackedConv
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
        rows = self.rows(pyramid, context).float()
        cells = cells_of(context.shape[2:], context.device)
        return rows[..., : self.num_classes], decode(rows[..., self.num_classes :], cells)

    def rows(self, pyramid: Mapping[int, Tensor], context: Tensor) -> Tensor:
        """What `forward` takes, to what every cell says: [B, A, K + 4], logits and raw boxes."""
        levels = []
        for stride in STRIDES:
            name = str(stride)
            wide = F.interpolate(self.context[name](context), scale_factor=32.0 / stride)
            out = self.out[name](F.relu(pyramid[stride] + wide))
            levels.append(out.permute(0, 2, 3, 1).flatten(1, 2))
        return torch.cat(levels, 1)

    @torch.no_grad()
    def calibrate(self, scale: Sequence[float], bias: Sequence[float]) -> None:
        """Each class's logit becomes scale * logit + bias: in the weights, so it costs nothing."""
        for layer in self.out.values():
            for parameter in (layer.get_parameter("weight"), layer.get_parameter("bias")):
                by_class = parameter[: self.num_classes].transpose(0, -1)
                by_class *= by_class.new_tensor(scale)
            layer.get_parameter("bias")[: self.num_classes] += torch.tensor(bias)

    def pack(self) -> None:
        """The convolutions in the processor's own order, in place; its dtype is final."""
        for layers in (self.context, self.out):
            for name, layer in list(layers.items()):
                assert isinstance(layer, nn.Conv2d)
                layers[name] = PackedConv(layer, relu=False)


def decode(raw: Tensor, cells: Tensor) -> Tensor:
    """[..., 4] offsets from the cell's corner and log sizes, in strides; [..., 3] as of
    `cells_of` -> xyxy px [..., 4]."""
    offset, log_size = raw.chunk(2, dim=-1)
    corner, stride = cells[..., :2], cells[..., 2:]
    centre = (corner + offset) * stride
    half = log_size.clamp(max=_MAX_LOG_SIZE).exp() * (stride / 2)
    return torch.cat([centre - half, centre + half], -1)


def cells_of(coarsest: Sequence[int], device: torch.device) -> Tensor:
    """float32 [A, 3]: x and y of each cell in its stride, and the stride, px; `coarsest` is
    (h, w) at the last stride."""
    levels = []
    for stride in STRIDES:
        h, w = (side * STRIDES[-1] // stride for side in coarsest)
        corner = cell_corners(h, w, device)
        levels.append(torch.cat([corner, torch.full_like(corner[:, :1], stride)], 1))
    return torch.cat(levels)


def cell_corners(h: int, w: int, device: torch.device) -> Tensor:
    """(x, y) of each cell, row-major, in cells: [h * w, 2]."""
    y, x = torch.meshgrid(
        torch.arange(h, device=device), torch.arange(w, device=device), indexing="ij"
    )
    return torch.stack([x, y], -1).view(-1, 2).float()
