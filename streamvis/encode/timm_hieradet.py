"""timm's HieraDet on the changed tiles only.

    M active tiles of a batch   K of one camera   C channels   t a tile's side in tokens

Stages 1, 2 and the first block of stage 3 attend in windows inside a tile: exact. Later blocks
attend in windows of 14 (16) tokens or globally: with cached keys and values.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models.hieradet_sam2 import HieraDet, HieraPatchEmbed, MultiScaleBlock
from torch import Tensor, nn

from streamvis.encode.feature_map import as_index, split_rows
from streamvis.encode.timm_tokens import Geometry, Grouped, KeyValues, TokenCache

_STRIDE = 4  # px a token, at first


class HieraDetTokens:
    """The network's blocks, one after the other, on packed tiles."""

    def __init__(self, network: HieraDet, rows: int, cols: int, tile_px: int) -> None:
        self._network = network
        self._rows, self._cols = rows, cols
        self._side = tile_px // _STRIDE
        self._blocks: list[Any] = list(network.blocks)
        self._num_local = self._count_local()
        self._position = self._positions()  # [tiles, t, t, C]

    @staticmethod
    def fits(network: nn.Module) -> bool:
        return (
            isinstance(network, HieraDet)
            and isinstance(network.patch_embed, HieraPatchEmbed)
            and network.patch_embed.proj.kernel_size == (7, 7)
            and network.patch_embed.proj.stride == (_STRIDE, _STRIDE)
            and network.patch_embed.proj.padding == (3, 3)
            and all(type(block) is MultiScaleBlock for block in network.blocks)
        )

    def forward(
        self, pixels: Tensor, index: list[Any], caches: list[TokenCache]
    ) -> dict[int, Tensor]:
        """Normalised tiles with their halo [M, 3, T + 3, T + 3], and which tiles of which camera
        they are -> the stages' results by stride, [M, t, t, C] each."""
        counts = [len(own) for own in index]
        tiles = torch.cat([as_index(own, pixels.device) for own in index])
        x = nn.functional.conv2d(
            pixels, self._embed.weight, self._embed.bias, stride=_STRIDE
        ).permute(0, 2, 3, 1)  # [M, 3, T + 3, T + 3] -> [M, t, t, C]
        x = x + self._position[tiles]
        maps: dict[int, Tensor] = {}
        groups: dict[tuple[Geometry, int], list[Grouped]] = {}
        for i, block in enumerate(self._blocks):
            if i < self._num_local:
                x = block(x)
            else:
                pool = block.q_stride[0] if block.q_stride else 1
                geometry = Geometry(self._rows, self._cols, x.shape[1], block.window_size[0])
                key = (geometry, pool)
                if key not in groups:
                    groups[key] = [Grouped(geometry, own, pool, x.device) for own in index]
                x = self._spread(i, x, geometry, groups[key], caches, counts)
            if i in self._network.stage_ends:
                maps[_STRIDE * self._side // x.shape[1]] = x
        return maps

    def embed(self, last: Tensor) -> Tensor:
        """[B, h, w, C] of the last stage -> [B, D]"""
        out: Tensor = self._network.forward_head(last, pre_logits=True)
        return out

    def _spread(
        self,
        number: int,
        x: Tensor,
        geometry: Geometry,
        groups: list[Grouped],
        caches: list[TokenCache],
        counts: list[int],
    ) -> Tensor:
        """One block whose windows reach across tiles: [M, t, t, C] -> [M, t', t', C']."""
        block = self._blocks[number]
        attention = block.attn
        M, t = x.shape[:2]
        normed = block.norm1(x)
        shortcut = x if block.dim == block.dim_out else _pool(block.pool, block.proj(normed))
        qkv = attention.qkv(normed).view(M, t, t, 3, attention.num_heads, -1)
        q, k, v = qkv.unbind(3)  # [M, t, t, heads, d]
        heads, d = q.shape[3:]
        q = _pool(attention.q_pool, q.flatten(3))
        t = q.shape[1]
        parts = zip(*(split_rows(y, counts) for y in (q, k, v)), groups, caches, strict=True)
        out = [
            group.attend(
                qi.reshape(-1, heads, d), self._keep(number, cache, geometry, group, ki, vi)
            )
            for qi, ki, vi, group, cache in parts
        ]
        y = attention.proj(torch.cat(out).view(M, t, t, -1))
        x = shortcut + block.ls1(y)
        out_x: Tensor = x + block.ls2(block.mlp(block.norm2(x)))
        return out_x

    def _keep(
        self,
        number: int,
        cache: TokenCache,
        geometry: Geometry,
        group: Grouped,
        k: Tensor,
        v: Tensor,
    ) -> KeyValues:
        """The block's keys and values of the camera, the new ones in their places."""
        if number not in cache.layers:
            cache.layers[number] = self._new_layer(number, geometry, k)
        layer = cache.layers[number]
        layer.write(group.slots, k.flatten(0, 2), v.flatten(0, 2))
        return layer

    def _new_layer(self, number: int, geometry: Geometry, k: Tensor) -> KeyValues:
        """Zeros that pad an edge window after the norm become the bias of qkv, not zero."""
        layer = KeyValues(geometry.num_slots, k)
        bias = self._blocks[number].attn.qkv.bias
        if bias is not None:
            _, key, value = bias.view(3, *k.shape[-2:])
            layer.fill(key, value)
        return layer

    @property
    def _embed(self) -> nn.Conv2d:
        embed: nn.Conv2d = self._network.patch_embed.proj
        return embed

    def _positions(self) -> Tensor:
        """The position embedding of every tile, interpolated once: [tiles, t, t, C]."""
        t, weight = self._side, self._embed.weight
        h, w = self._rows * t, self._cols * t
        zeros = weight.new_zeros(1, h, w, weight.shape[0])
        x = self._network._pos_embed(zeros).view(self._rows, t, self._cols, t, -1)
        return x.transpose(1, 2).flatten(0, 1).contiguous()

    def _count_local(self) -> int:
        """Blocks at the start whose windows divide a tile."""
        side = self._side
        for i, block in enumerate(self._blocks):
            window = block.window_size[0]
            if window == 0 or side % window:
                return i
            side //= block.q_stride[0] if block.q_stride else 1
        return len(self._blocks)


def _pool(pool: nn.Module | None, x: Tensor) -> Tensor:
    """[M, t, t, C] -> [M, t', t', C]"""
    if pool is None:
        return x
    pooled: Tensor = pool(x.permute(0, 3, 1, 2))
    return pooled.permute(0, 2, 3, 1)
