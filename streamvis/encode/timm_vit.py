"""timm's plain ViT on the changed tiles only.

    M active tiles of a batch   P prefix tokens (class, registers)   C channels
    t a tile's side in tokens   n rows of one camera: its prefix, then its active tokens

The prefix is always active. Every block attends to all keys of the camera, from its cache.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from streamvis.encode.feature_map import as_index, split_rows
from streamvis.encode.timm_tokens import KeyValues, TokenCache, attend


class VitTokens:
    """The network's blocks, one after the other, on packed tokens."""

    def __init__(self, network: VisionTransformer, rows: int, cols: int, side: int) -> None:
        self._network: Any = network
        self._rows, self._cols, self._side = rows, cols, side
        self._num_prefix: int = network.num_prefix_tokens
        self._prefix, self._position = self._positions()  # [P, C], [tiles, t, t, C]

    @staticmethod
    def fits(network: nn.Module) -> bool:
        return isinstance(network, VisionTransformer) and all(
            type(block) is Block and type(block.attn) is Attention for block in network.blocks
        )

    def forward(
        self, pixels: Tensor, index: list[Any], caches: list[TokenCache]
    ) -> tuple[Tensor, list[Tensor]]:
        """Normalised tiles [M, 3, p, p], and which tiles of which camera they are -> their last
        tokens [M, t, t, C], and each camera's prefix [P, C]."""
        network, P = self._network, self._num_prefix
        counts = [len(own) * self._side**2 for own in index]
        tiles = torch.cat([as_index(own, pixels.device) for own in index])
        x = network.patch_embed(pixels) + self._position[tiles]  # [M, t, t, C]
        own_rows = split_rows(x.flatten(0, 2), counts)
        x = torch.cat([part for rows in own_rows for part in (self._prefix, rows)])
        x = network.norm_pre(x)
        sizes = [P + count for count in counts]
        slots = [self._slots(own, x.device) for own in index]
        for i, block in enumerate(network.blocks):
            x = self._block(i, block, x, sizes, slots, caches)
        parts = split_rows(network.norm(x), sizes)
        last = torch.cat([part[P:] for part in parts])
        return last.view(-1, self._side, self._side, x.shape[-1]), [part[:P] for part in parts]

    def embed(self, prefix: Tensor, last: Tensor) -> Tensor:
        """[B, P, C] and [B, h, w, C] -> [B, D]"""
        tokens = torch.cat([prefix, last.flatten(1, 2)], 1)
        out: Tensor = self._network.forward_head(tokens, pre_logits=True)
        return out

    def _block(
        self,
        number: int,
        block: Any,
        x: Tensor,
        sizes: list[int],
        slots: list[Tensor],
        caches: list[TokenCache],
    ) -> Tensor:
        attention = block.attn
        normed = block.norm1(x)
        qkv = attention.qkv(normed).view(len(x), 3, attention.num_heads, attention.head_dim)
        q, k, v = qkv.unbind(1)  # [rows, heads, d]
        q, k = attention.q_norm(q), attention.k_norm(k)
        out = []
        parts = zip(*(split_rows(y, sizes) for y in (q, k, v)), slots, caches, strict=True)
        for qi, ki, vi, own, cache in parts:
            layer = self._layer(number, cache, ki)
            layer.write(own, ki, vi)
            out.append(attend(qi, layer.keys, layer.values))
        y = attention.norm(torch.cat(out).flatten(1))  # [rows, heads, d] -> [rows, heads * d]
        if attention.gate is not None:
            y = y * attention.gate(normed).sigmoid()
        x = x + block.ls1(attention.proj(y))
        out_x: Tensor = x + block.ls2(block.mlp(block.norm2(x)))
        return out_x

    def _layer(self, number: int, cache: TokenCache, k: Tensor) -> KeyValues:
        if number not in cache.layers:
            num_tokens = self._rows * self._cols * self._side**2
            cache.layers[number] = KeyValues(self._num_prefix + num_tokens, k)
        return cache.layers[number]

    def _slots(self, own: Any, device: torch.device) -> Tensor:
        """The prefix first, then tile by tile: attention does not care about the order of keys."""
        n, P = self._side**2, self._num_prefix
        tiles = as_index(own, device)
        tokens = P + tiles[:, None] * n + torch.arange(n, device=device)
        return torch.cat([torch.arange(P, device=device), tokens.flatten()])

    def _positions(self) -> tuple[Tensor, Tensor]:
        """Prefix tokens [P, C] and position embeddings [tiles, t, t, C], resampled once."""
        t, P = self._side, self._num_prefix
        weight = self._network.patch_embed.proj.weight
        zeros = weight.new_zeros(1, self._rows * t, self._cols * t, weight.shape[0])
        x = self._network._pos_embed(zeros)[0]  # [P + N, C]
        grid = x[P:].view(self._rows, t, self._cols, t, -1).transpose(1, 2)
        return x[:P].clone(), grid.flatten(0, 1).contiguous()
