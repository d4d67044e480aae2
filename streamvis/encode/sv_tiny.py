"""sv_tiny: an encoder made so that most of its work depends on one tile only.

    B batch   M tiles = B * rows * cols   T tile side, px   t = T / stride   C, P channels
    D embedding size   H, W picture, px   h, w feature map at the stride named beside it

    tile      patches, convolutions at strides 4 to 16 and a pyramid, all padded inside the tile;
              the tile is the batch axis, so its features never depend on its neighbours
    glance    a cheap guess at the tile's stride-32 cells, and whether more is worth its price
    context   always dense, and small: depthwise mixing of the stride-32 cells of the picture

Running `local` on the changed tiles and `context` on everything equals the dense model exactly.
Its sizes were chosen by measured latency, see docs/model.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from streamvis.encode.packed import PackedConv

STRIDES = (8, 16, 32)
_PATCH_PX = 4


@dataclass(frozen=True)
class SvTinyArch:
    """Multiples of 32 channels suit the bf16 kernels."""

    tile_px: int = 64
    channels: tuple[int, int, int] = (64, 64, 128)  # at strides 4, 8, 16 (and 32)
    depths: tuple[int, int] = (2, 2)  # residual blocks at strides 8, 16
    num_mixers: int = 3  # at stride 32
    pyramid_channels: int = 64
    embedding: int = 256


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


class Glance(nn.Module):
    """The cheap path: [M, C, T/4, T/4] -> cells at stride 32 [M, C, t, t], worth [M]."""

    def __init__(self, arch: SvTinyArch) -> None:
        super().__init__()
        c4, c8, c16 = arch.channels
        self.squeeze = ConvNorm(c4, c8, 4, stride=4)
        self.down = ConvNorm(c8, c16, 2, stride=2)
        self.score = nn.Linear(c16, 1)
        nn.init.constant_(self.score.bias, 2.0)  # until it has learned, every tile is worth it

    def forward(self, x4: Tensor) -> tuple[Tensor, Tensor]:
        x32 = self.down(self.squeeze(x4))
        return x32, self.score(x32.amax((2, 3))).squeeze(1).float()


class Tower(nn.Module):
    """A level's last layers inside the tile; their ReLU waits for the context."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvNorm(channels, channels, 3, groups=channels, relu=False),
            ConvNorm(channels, 2 * channels, 1),
            ConvNorm(2 * channels, 2 * channels, 1, groups=2, relu=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[M, P, t, t] -> [M, 2P, t, t]"""
        out: Tensor = self.layers(x)
        return out


class Local(nn.Module):
    """The costly path: x4 [M, C, T/4, T/4] -> what the tile says of itself, at every stride."""

    def __init__(self, arch: SvTinyArch) -> None:
        super().__init__()
        c4, c8, c16 = arch.channels
        n8, n16 = arch.depths
        out = arch.pyramid_channels
        self.stage8 = nn.Sequential(ConvNorm(c4, c8, stride=2), *(Residual(c8) for _ in range(n8)))
        self.stage16 = nn.Sequential(
            ConvNorm(c8, c16, stride=2), *(Residual(c16) for _ in range(n16))
        )
        self.down = ConvNorm(c16, c16, 2, stride=2)
        self.from8 = ConvNorm(c8, out, 1, relu=False)
        self.from16 = ConvNorm(c16, out, 1, relu=False)
        self.from32 = ConvNorm(c16, out, 1, relu=False)
        self.towers = nn.ModuleDict({str(stride): Tower(out) for stride in STRIDES})

    def forward(self, x4: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        """-> pyramid {8, 16, 32: [M, 2P, t, t]}, x32 [M, C, t, t] for the context"""
        x8 = self.stage8(x4)
        x16 = self.stage16(x8)
        x32 = self.down(x16)
        p32 = self.from32(x32)
        p16 = self.from16(x16) + F.interpolate(p32, scale_factor=2.0)
        p8 = self.from8(x8) + F.interpolate(p16, scale_factor=2.0)
        levels = zip(STRIDES, (p8, p16, p32), strict=True)
        return {stride: self.towers[str(stride)](F.relu(p)) for stride, p in levels}, x32


class Context(nn.Module):
    """What one tile cannot know: stride-32 cells in, the same cells and the embedding out."""

    def __init__(self, arch: SvTinyArch) -> None:
        super().__init__()
        channels = arch.channels[-1]
        self.mixers = nn.Sequential(*(Mixer(channels) for _ in range(arch.num_mixers)))
        self.whole = nn.Linear(channels, channels)  # what the picture is about, for every cell
        self.embed = nn.Linear(channels, arch.embedding)

    def forward(self, x32: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, h, w] -> [B, C, h, w], embedding [B, D] of L2 norm 1"""
        x = self.mixers(x32)
        mean = x.mean((2, 3))
        embedding = F.normalize(self.embed(mean).float(), dim=-1)
        return x + self.whole(mean)[..., None, None], embedding


class SvTiny(nn.Module):
    def __init__(self, arch: SvTinyArch | None = None) -> None:
        super().__init__()
        self.arch = arch or SvTinyArch()
        self.stem = ConvNorm(3 * _PATCH_PX**2, self.arch.channels[0], 1)
        self.glance = Glance(self.arch)
        self.local = Local(self.arch)
        self.context = Context(self.arch)

    def begin(self, patches: Tensor) -> Tensor:
        """uint8 [M, 48, T/4, T/4] -> x4 [M, C, T/4, T/4]"""
        x4: Tensor = self.stem(normalize(patches, self.dtype))
        return x4

    def look(self, patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 [M, 48, T/4, T/4] -> x4 [M, C, T/4, T/4], glance x32 [M, C, t, t], worth [M]"""
        x4 = self.begin(patches)
        return x4, *self.glance(x4)

    @property
    def dtype(self) -> torch.dtype:
        return self.context.embed.weight.dtype


def to_patches(images: Tensor, tile_px: int) -> Tensor:
    """[B, H, W, 3] -> the 4x4 px patches of each tile, [M, 48, T/4, T/4] in channels-last memory.
    Of cut tiles, [M, T, T, 3], the same."""
    B, H, W, _ = images.shape
    T, s = tile_px, tile_px // _PATCH_PX
    x = images.reshape(B, H // T, s, _PATCH_PX, W // T, s, _PATCH_PX * 3)
    x = x.permute(0, 1, 4, 2, 5, 3, 6)  # [B, rows, cols, s, s, 4, 12]
    return x.reshape(-1, s, s, 3 * _PATCH_PX**2).permute(0, 3, 1, 2)


def from_tiles(x: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """[M, C, t, t] -> [B, C, rows * t, cols * t] in channels-last memory."""
    B, rows, cols = grid
    _, C, t, _ = x.shape
    x = x.permute(0, 2, 3, 1).reshape(B, rows, cols, t, t, C).transpose(2, 3)
    return x.reshape(B, rows * t, cols * t, C).permute(0, 3, 1, 2)


def normalize(pixels: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 -> about [-2, 2]; every step is exact in bf16, so both paths see the same input."""
    return pixels.to(dtype).sub_(128).mul_(1 / 64)
