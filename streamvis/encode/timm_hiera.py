"""timm's Hiera on the changed tiles only.

    M active tiles of a batch   U mask units (32 px), four to a tile   n tokens of a unit
    C channels   t a tile's side in tokens

Blocks with mask-unit attention see one unit: exact. Later blocks attend globally: with cached
keys and values. Inside a unit tokens lie in the order of timm's Unroll, so that pooling takes
the maximum over the first of two axes.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models.hiera import Hiera, HieraBlock, Unroll
from torch import Tensor, nn

from streamvis.encode.feature_map import as_index, split_rows
from streamvis.encode.timm_tokens import KeyValues, TokenCache, attend

_STRIDE = 4
_UNIT = 8  # a mask unit's side, tokens
_POOL = 4  # tokens that become one


class HieraTokens:
    """The network's blocks, one after the other, on packed tiles."""

    def __init__(self, network: Hiera, rows: int, cols: int, tile_px: int) -> None:
        self._network: Any = network
        self._num_tiles = rows * cols
        self._rows, self._cols = rows, cols
        self._side = tile_px // _STRIDE
        self._units = self._side // _UNIT  # along a tile's side
        self._blocks: list[Any] = list(network.blocks)
        is_local = [block.attn.use_mask_unit_attn for block in self._blocks]
        self._num_local = is_local.index(False) if False in is_local else len(is_local)
        device: torch.device = next(network.parameters()).device
        self._orders = {n: _unrolled(n).to(device) for n in (8, 4, 2, 1)}
        self._position = self._positions()  # [tiles, t, t, C]

    @staticmethod
    def fits(network: nn.Module) -> bool:
        if not isinstance(network, Hiera):
            return False
        blocks: list[Any] = list(network.blocks)
        is_local: list[bool] = [block.attn.use_mask_unit_attn for block in blocks]
        embed: Any = network.patch_embed.proj
        return (
            isinstance(embed, nn.Conv2d)
            and embed.kernel_size == (7, 7)
            and embed.stride == (_STRIDE, _STRIDE)
            and embed.padding == (3, 3)
            and tuple(network.mask_unit_size) == (_UNIT, _UNIT)
            and tuple(network.q_stride) == (2, 2)
            and network.q_pool == 3
            and is_local == sorted(is_local, reverse=True)
            and all(type(block) is HieraBlock for block in blocks)
        )

    def forward(
        self, pixels: Tensor, index: list[Any], caches: list[TokenCache]
    ) -> dict[int, Tensor]:
        """As HieraDetTokens.forward."""
        counts = [len(own) for own in index]
        tiles = torch.cat([as_index(own, pixels.device) for own in index])
        embed = self._network.patch_embed.proj
        x = nn.functional.conv2d(pixels, embed.weight, embed.bias, stride=_STRIDE)
        x = x.permute(0, 2, 3, 1) + self._position[tiles]  # [M, t, t, C]
        x = self._to_units(x)  # [U, 64, C]
        per_tile = self._units**2
        maps: dict[int, Tensor] = {}
        stride = _STRIDE
        for i, block in enumerate(self._blocks):
            if i < self._num_local:
                x = block(x)
            else:
                x = self._global(i, x, index, caches, [n * per_tile for n in counts])
            if i in self._network.stage_ends:
                maps[stride] = self._to_tiles(x)
                stride *= 2
        return maps

    def embed(self, last: Tensor) -> Tensor:
        """[B, h, w, C] of the last stage -> [B, D]"""
        out: Tensor = self._network.forward_head(last.flatten(1, 2), pre_logits=True)
        return out

    def _global(
        self,
        number: int,
        x: Tensor,
        index: list[Any],
        caches: list[TokenCache],
        counts: list[int],
    ) -> Tensor:
        """One block of global attention: [U, n, C] -> [U, n', C']."""
        block = self._blocks[number]
        attention = block.attn
        U, n, _ = x.shape
        stride = attention.q_stride
        normed = block.norm1(x)
        shortcut = x
        if block.do_expand:
            groups = (block.proj(normed) if block.proj is not None else x).view(
                U, stride, -1, _last(block)
            )
            shortcut = groups.amax(1)
            if block.proj is None:
                shortcut = torch.cat([shortcut, groups.mean(1)], -1)
        qkv = attention.qkv(normed).view(U, n, 3, attention.heads, attention.head_dim)
        q, k, v = qkv.unbind(2)  # [U, n, heads, d]
        if stride > 1:
            q = q.reshape(U, stride, n // stride, *q.shape[2:]).amax(1)
        parts = zip(*(split_rows(y, counts) for y in (q, k, v)), index, caches, strict=True)
        out = []
        for qi, ki, vi, own, cache in parts:
            layer = self._keep(number, cache, own, ki, vi)
            out.append(attend(qi.flatten(0, 1), layer.keys, layer.values))
        y = attention.proj(torch.cat(out).reshape(U, -1, attention.dim_out))
        x = shortcut + block.ls1(y)
        out_x: Tensor = x + block.ls2(block.mlp(block.norm2(x)))
        return out_x

    def _keep(self, number: int, cache: TokenCache, own: Any, k: Tensor, v: Tensor) -> KeyValues:
        """The block's keys and values of the camera, the new ones in their places. The order of
        slots does not matter to attention: tile by tile."""
        per_tile = self._units**2 * k.shape[1]
        if number not in cache.layers:
            cache.layers[number] = KeyValues(self._num_tiles * per_tile, k)
        tiles = as_index(own, k.device)
        slots = tiles[:, None] * per_tile + torch.arange(per_tile, device=k.device)
        cache.layers[number].write(slots.flatten(), k.flatten(0, 1), v.flatten(0, 1))
        return cache.layers[number]

    def _to_units(self, x: Tensor) -> Tensor:
        """[M, t, t, C] -> [U, 64, C], a unit's tokens unrolled."""
        M, C, u = len(x), x.shape[-1], self._units
        x = x.view(M, u, _UNIT, u, _UNIT, C).transpose(2, 3)  # [M, u, u, 8, 8, C]
        return x.reshape(M * u * u, _UNIT * _UNIT, C)[:, self._orders[_UNIT]]

    def _to_tiles(self, x: Tensor) -> Tensor:
        """[U, n, C] -> [M, t', t', C]"""
        u, C = self._units, x.shape[-1]
        n = round(x.shape[1] ** 0.5)
        rolled = torch.empty_like(x)
        rolled[:, self._orders[n]] = x
        rolled = rolled.view(-1, u, u, n, n, C).transpose(2, 3)  # [M, u, n, u, n, C]
        tiles: Tensor = rolled.reshape(-1, u * n, u * n, C)
        return tiles

    def _positions(self) -> Tensor:
        """The position embedding of every tile: [tiles, t, t, C]."""
        t, weight = self._side, self._network.patch_embed.proj.weight
        zeros = weight.new_zeros(1, self._num_tiles * t * t, weight.shape[0])
        x = self._network._pos_embed(zeros).view(self._rows, t, self._cols, t, -1)
        tiles: Tensor = x.transpose(1, 2).flatten(0, 1).contiguous()
        return tiles


def _last(block: Any) -> int:
    size: int = block.dim_out if block.proj is not None else block.dim
    return size


def _unrolled(side: int) -> Tensor:
    """Which token of a side x side unit, row-major, stands at each place of timm's order."""
    schedule: list[tuple[int, ...]] = [(2, 2)] * (side.bit_length() - 1)
    numbers = torch.arange(side * side, dtype=torch.float32).view(1, -1, 1)
    order: Tensor = Unroll((side, side), (1, 1), schedule)(numbers)
    return order.view(-1).long()
