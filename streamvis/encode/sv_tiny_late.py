"""sv_tiny with late context: more of its work depends on one tile only.

    B batch   M tiles   T tile side, px   t = T / stride   C channels   P pyramid channels
    h, w feature map at the stride named beside it

    tile      convolutions and the neck, padded inside the tile, the tile is the batch axis
    context   always dense, and small: attention over the stride-32 cells

In the first sv_tiny the context enters the neck, so that neck and head have to be dense: 21 % of
its operations and 43 % of its time cannot be reused. Here it enters after the head's towers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamvis.encode.sv_tiny import (
    Attention,
    ConvNorm,
    Local,
    SvTinyArch,
    from_tiles,
    normalize,
    to_tiles,
)


class TileNeck(nn.Module):
    """A feature pyramid inside each tile."""

    def __init__(self, arch: SvTinyArch) -> None:
        super().__init__()
        _, _, c8, c16 = arch.channels
        out = arch.pyramid_channels
        self.from8 = ConvNorm(c8, out, 1, relu=False)
        self.from16 = ConvNorm(c16, out, 1, relu=False)
        self.from32 = ConvNorm(c16, out, 1, relu=False)

    def forward(self, x8: Tensor, x16: Tensor, x32: Tensor) -> dict[int, Tensor]:
        """[M, C, t, t] each -> {8, 16, 32: [M, P, t, t]}"""
        p32 = self.from32(x32)
        p16 = self.from16(x16) + F.interpolate(p32, scale_factor=2.0)
        p8 = self.from8(x8) + F.interpolate(p16, scale_factor=2.0)
        return {8: F.relu(p8), 16: F.relu(p16), 32: F.relu(p32)}


class LateContext(nn.Module):
    """What one tile cannot know: stride-32 cells in, the same cells and the embedding out."""

    def __init__(self, arch: SvTinyArch) -> None:
        super().__init__()
        channels = arch.channels[3]
        # A depthwise convolution tells tokens where they are, at any picture size.
        self.position = ConvNorm(channels, channels, 3, groups=channels, relu=False)
        self.attentions = nn.Sequential(*(Attention(channels) for _ in range(arch.num_attentions)))
        self.norm = nn.LayerNorm(channels)
        self.embed = nn.Linear(channels, arch.embedding)

    def forward(self, x32: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, h, w] -> [B, C, h, w], embedding [B, D] of L2 norm 1"""
        x32 = x32 + self.position(x32)
        B, C, h, w = x32.shape
        tokens = x32.flatten(2).transpose(1, 2)  # [B, C, h, w] -> [B, h * w, C]
        tokens = self.norm(self.attentions(tokens))
        embedding = F.normalize(self.embed(tokens.mean(1)).float(), dim=-1)
        return tokens.transpose(1, 2).view(B, C, h, w), embedding


class SvTinyLate(nn.Module):
    def __init__(self, arch: SvTinyArch) -> None:
        super().__init__()
        self.arch = arch
        channels = arch.channels[3]
        self.local = Local(arch)
        self.down = ConvNorm(channels, channels, 2, stride=2)  # a 2x2 patch: no neighbour
        self.neck = TileNeck(arch)
        self.context = LateContext(arch)

    def tiles(self, pixels: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        """uint8 [M, 3, T, T] -> pyramid {8, 16, 32: [M, P, t, t]}, x32 [M, C, t, t]"""
        x8, x16 = self.local(normalize(pixels, self.dtype))
        x32 = self.down(x16)
        return self.neck(x8, x16, x32), x32

    def forward(self, images: Tensor) -> tuple[dict[int, Tensor], Tensor, Tensor]:
        """uint8 [B, H, W, 3] RGB -> the tiles' pyramid, context [B, C, h, w], embedding [B, D]"""
        B, H, W, _ = images.shape
        T = self.arch.tile_px
        pyramid, x32 = self.tiles(to_tiles(images, T))
        return pyramid, *self.context(from_tiles(x32, (B, H // T, W // T)))

    @property
    def dtype(self) -> torch.dtype:
        return self.context.embed.weight.dtype
