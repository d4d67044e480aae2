"""sv_tiny: an encoder made so that most of its work depends on one tile only.

    B batch   M tiles = B * rows * cols   T tile side, px   C channels   D embedding size
    H, W picture   h, w feature map at the stride named beside it

    local     convolutions at strides 2 to 16, padded inside the tile; the tile is the batch
              axis, so a tile's features never depend on its neighbours: >= 80 % of the FLOPs
    context   always dense and light: two depthwise blocks at stride 16, attention at stride 32
    neck      pyramid[s] = local features at s + context from above

Running `local` on the changed tiles and `context` on everything equals the dense model exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from streamvis.encode.packed import PackedConv

STRIDES = (8, 16, 32)
_WRITTEN_OUT = 512  # tokens


@dataclass(frozen=True)
class SvTinyArch:
    """Multiples of 32 channels suit the bf16 kernels: measured 0.95 against 0.7 TFLOP/s."""

    tile_px: int = 64
    channels: tuple[int, int, int, int] = (32, 64, 96, 192)  # at strides 2, 4, 8, 16
    depths: tuple[int, int] = (2, 2)  # residual blocks at strides 8, 16
    num_mixers: int = 2  # at stride 16
    num_attentions: int = 3  # at stride 32
    pyramid_channels: int = 96
    embedding: int = 256
    context: Literal["early", "late"] = "early"  # before the neck, or after the head's towers


class ConvNorm(nn.Module):
    """Convolution, BatchNorm, optional ReLU; `fold` merges the first two for inference."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        relu: bool = True,
    ) -> None:
        super().__init__()
        padding = (kernel - 1) // 2  # an even kernel is a patch: no padding
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(c_out)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return F.relu(x, inplace=True) if self.relu else x

    def add_relu(self, x: Tensor, other: Tensor) -> Tensor:
        """relu(self(x) + other)"""
        return F.relu(self(x) + other, inplace=True)

    def fold(self) -> None:
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


def fold_norms(model: nn.Module) -> nn.Module:
    """Merge every BatchNorm into its convolution, in place. The model must be in eval mode."""
    for module in model.modules():
        if isinstance(module, ConvNorm):
            module.fold()
    return model


def pack_convolutions(model: nn.Module) -> None:
    """Folded convolutions in the processor's own order, in place; its dtype is final."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, ConvNorm):
                setattr(module, name, PackedConv(child.conv, child.relu))


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels)
        self.second = ConvNorm(channels, channels, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second.add_relu(self.first(x), x)


class Mixer(nn.Module):
    """Depthwise 7x7 across tile borders, then a pointwise MLP."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = ConvNorm(channels, channels, 7, groups=channels, relu=False)
        self.expand = ConvNorm(channels, 2 * channels, 1)
        self.project = ConvNorm(2 * channels, channels, 1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.depthwise(x)
        out: Tensor = x + self.project(self.expand(x))
        return out


class Attention(nn.Module):
    """Pre-norm global attention and MLP over a feature map's cells."""

    def __init__(self, channels: int, head_channels: int = 32) -> None:
        super().__init__()
        self.num_heads = channels // head_channels
        self.norm1 = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.ReLU(), nn.Linear(2 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        B, N, C = x.shape  # N tokens
        qkv = self.qkv(self.norm1(x)).view(B, N, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [B, heads, N, C / heads]
        x = x + self.out(_attend(q, k, v).transpose(1, 2).reshape(B, N, C))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k / sqrt(d)) v over [B, heads, N, d]. Measured on a CPU in bf16 at N = 240: written
    out 0.41 ms, fused 0.62 ms; the fused kernel pays where the N x N matrix leaves the cache."""
    B, heads, N, d = q.shape
    if q.device.type != "cpu" or N > _WRITTEN_OUT or torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v)
    q, k, v = (x.reshape(B * heads, N, d) for x in (q, k, v))
    weights = torch.bmm(q * d**-0.5, k.transpose(1, 2)).softmax(-1)
    return torch.bmm(weights, v).view(B, heads, N, d)


class Local(nn.Module):
    """The stages that see one tile: [M, 3, T, T] -> strides 8 and 16."""

    def __init__(self, arch: SvTinyArch) -> None:
        super().__init__()
        c2, c4, c8, c16 = arch.channels
        n8, n16 = arch.depths
        self.stem = nn.Sequential(ConvNorm(3, c2, stride=2), ConvNorm(c2, c4, stride=2))
        self.stage8 = nn.Sequential(ConvNorm(c4, c8, stride=2), *(Residual(c8) for _ in range(n8)))
        self.stage16 = nn.Sequential(
            ConvNorm(c8, c16, stride=2), *(Residual(c16) for _ in range(n16))
        )

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        x8 = self.stage8(self.stem(tiles))  # [M, C, T/8, T/8]
        return x8, self.stage16(x8)  # [M, C, T/16, T/16]


class Context(nn.Module):
    """What is always dense: stride 16 -> strides 16 and 32, and the frame's embedding."""

    def __init__(self, arch: SvTinyArch) -> None:
        super().__init__()
        channels = arch.channels[3]
        self.mixers = nn.Sequential(*(Mixer(channels) for _ in range(arch.num_mixers)))
        self.down = ConvNorm(channels, channels, 2, stride=2)
        # A depthwise convolution tells tokens where they are, at any picture size.
        self.position = ConvNorm(channels, channels, 3, groups=channels, relu=False)
        self.attentions = nn.Sequential(*(Attention(channels) for _ in range(arch.num_attentions)))
        self.norm = nn.LayerNorm(channels)
        self.embed = nn.Linear(channels, arch.embedding)

    def forward(self, x16: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x16 = self.mixers(x16)
        x32 = self.down(x16)
        x32 = x32 + self.position(x32)
        B, C, h, w = x32.shape
        tokens = x32.flatten(2).transpose(1, 2)  # [B, C, h, w] -> [B, h * w, C]
        tokens = self.norm(self.attentions(tokens))
        embedding = F.normalize(self.embed(tokens.mean(1)).float(), dim=-1)  # [B, D]
        return x16, tokens.transpose(1, 2).view(B, C, h, w), embedding


class Neck(nn.Module):
    """Adds the context, upsampled, to the local features of each stride."""

    def __init__(self, arch: SvTinyArch) -> None:
        super().__init__()
        _, _, c8, c16 = arch.channels
        out = arch.pyramid_channels
        self.from8 = ConvNorm(c8, out, 1, relu=False)
        self.from16 = ConvNorm(c16, out, 1, relu=False)
        self.from32 = ConvNorm(c16, out, 1, relu=False)

    def forward(self, x8: Tensor, x16: Tensor, x32: Tensor) -> dict[int, Tensor]:
        p32 = self.from32(x32)
        p16 = self.from16(x16) + F.interpolate(p32, scale_factor=2.0)
        p8 = self.from8(x8) + F.interpolate(p16, scale_factor=2.0)
        return {8: F.relu(p8), 16: F.relu(p16), 32: F.relu(p32)}


class SvTiny(nn.Module):
    def __init__(self, arch: SvTinyArch | None = None) -> None:
        super().__init__()
        self.arch = arch or SvTinyArch()
        self.local = Local(self.arch)
        self.context = Context(self.arch)
        self.neck = Neck(self.arch)

    def forward(self, images: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        """uint8 [B, H, W, 3] RGB -> pyramid {8, 16, 32: [B, C, h, w]}, embedding [B, D]."""
        B, H, W, _ = images.shape
        grid = (B, H // self.arch.tile_px, W // self.arch.tile_px)
        x8, x16 = self.local(normalize(to_tiles(images, self.arch.tile_px), self.dtype))
        return self.dense(from_tiles(x8, grid), from_tiles(x16, grid))

    def dense(self, x8: Tensor, x16: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        """What every frame needs: the local features of whole pictures -> as `forward`."""
        x16, x32, embedding = self.context(x16)
        return self.neck(x8, x16, x32), embedding

    @property
    def dtype(self) -> torch.dtype:
        return self.context.embed.weight.dtype


def to_tiles(images: Tensor, tile_px: int) -> Tensor:
    """[B, H, W, 3] -> [M, 3, T, T] in channels-last memory."""
    B, H, W, C = images.shape
    T = tile_px
    x = images.view(B, H // T, T, W // T, T, C).transpose(2, 3)  # [B, rows, cols, T, T, C]
    return x.reshape(-1, T, T, C).permute(0, 3, 1, 2)


def from_tiles(x: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """[M, C, t, t] -> [B, C, rows * t, cols * t] in channels-last memory."""
    B, rows, cols = grid
    _, C, t, _ = x.shape
    x = x.permute(0, 2, 3, 1).reshape(B, rows, cols, t, t, C).transpose(2, 3)
    return x.reshape(B, rows * t, cols * t, C).permute(0, 3, 1, 2)


def normalize(pixels: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 -> about [-2, 2]; every step is exact in bf16, so both paths see the same input."""
    return pixels.to(dtype).sub_(128).mul_(1 / 64)
