"""The bundled encoder, ready to run: weights loaded, norms folded, in the fast layout.

B pictures   M tiles   C channels   t a tile's side in cells   T tile side, px
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from streamvis.encode import packed
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import Features, TileUpdate
from streamvis.encode.feature_map import FeatureMap, split_rows
from streamvis.encode.sv_tiny import (
    STRIDES,
    SvTiny,
    fold_norms,
    from_tiles,
    pack_convolutions,
    to_patches,
)
from streamvis.encode.sv_tiny_cache import SvTinyCache
from streamvis.encode.weights import load_bundle
from streamvis.types import ModelId

Module = TypeVar("Module", bound=torch.nn.Module)


class SvTinyEncoder:
    def __init__(self, config: EncoderConfig, device: torch.device, dtype: torch.dtype) -> None:
        self.bundle = load_bundle(config.weights)
        self.model: ModelId = self.bundle.model
        self.input_size = config.input_size
        self.tile_px = self.bundle.manifest.arch.tile_px
        self.device = device
        self.dtype = dtype
        self._min_worth = config.min_worth
        network = SvTiny(self.bundle.manifest.arch)
        self.bundle.load_into(network, "encoder")
        self._network = for_inference(network, device, dtype)

    @torch.inference_mode()
    def encode_full(self, images: Tensor) -> Features:
        images = images.to(self.device, non_blocking=True)
        pyramid, x32 = self._encode(to_patches(images, self.tile_px))
        grid = (len(images), *self._grid)
        whole = {stride: from_tiles(x, grid) for stride, x in pyramid.items()}
        context, embedding = self._network.context(from_tiles(x32, grid))
        return Features(whole, embedding, context=context)

    def new_cache(self) -> SvTinyCache:
        arch = self._network.arch
        pyramid = {stride: self._new_map(stride, 2 * arch.pyramid_channels) for stride in STRIDES}
        return SvTinyCache(self.model, pyramid, self._new_map(32, arch.channels[-1]))

    @torch.inference_mode()
    def encode_changed(self, updates: Sequence[TileUpdate]) -> Features:
        """Equals `encode_full` of the canvases: all but the context sees one tile only."""
        caches = [self._check(update) for update in updates]
        canaries = self._update(updates, caches)
        pyramid = {s: as_pictures([cache.pyramid[s].values for cache in caches]) for s in STRIDES}
        x32 = as_pictures([cache.x32.values for cache in caches])
        context, embedding = self._network.context(x32)
        return Features(pyramid, embedding, canaries, context)

    def _update(
        self, updates: Sequence[TileUpdate], caches: Sequence[SvTinyCache]
    ) -> tuple[float, ...]:
        """Encode the changed tiles of all cameras at once, and bring the caches up to date."""
        counts = [len(update.plan.index) for update in updates]
        if not sum(counts):
            return (0.0,) * len(updates)
        tiles = torch.from_numpy(np.concatenate([update.tiles for update in updates]))
        pyramid, x32 = self._encode(to_patches(tiles.to(self.device), self.tile_px))
        shares = {stride: split_rows(x, counts) for stride, x in pyramid.items()}
        return tuple(
            cache.update(update.plan, {s: shares[s][i] for s in STRIDES}, own)
            for i, (cache, update, own) in enumerate(
                zip(caches, updates, split_rows(x32, counts), strict=True)
            )
        )

    def _encode(self, patches: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        """[M, 48, T/4, T/4] -> pyramid {8, 16, 32: [M, 2P, t, t]}, x32 [M, C, t, t]. A tile of
        little worth says nothing of itself but a glance for the context."""
        if not self._min_worth:
            return self._network.local(self._network.begin(patches))  # type: ignore[no-any-return]
        x4, x32, worth = self._network.look(patches)
        chosen = (worth.sigmoid() >= self._min_worth).nonzero().squeeze(1)
        if len(chosen) == len(x4):
            return self._network.local(x4)  # type: ignore[no-any-return]
        if not len(chosen):
            return self._nothing(x4), x32
        pyramid, own = self._network.local(x4[chosen])
        x32[chosen] = own
        return {stride: _spread(x, chosen, len(x4)) for stride, x in pyramid.items()}, x32

    def _nothing(self, like: Tensor) -> dict[int, Tensor]:
        channels, T = 2 * self._network.arch.pyramid_channels, self.tile_px
        return {s: like.new_zeros(len(like), channels, T // s, T // s) for s in STRIDES}

    @property
    def _grid(self) -> tuple[int, int]:
        """(rows, cols)"""
        width, height = self.input_size
        return height // self.tile_px, width // self.tile_px

    def _new_map(self, stride: int, channels: int) -> FeatureMap:
        side = self.tile_px // stride
        return FeatureMap(*self._grid, side, channels, self.dtype, self.device)

    def _check(self, update: TileUpdate) -> SvTinyCache:
        cache = update.cache
        if not isinstance(cache, SvTinyCache) or cache.model != self.model:
            raise ValueError("this cache belongs to another encoder; make one with new_cache()")
        if cache.is_empty and not update.is_full:
            raise ValueError("an empty cache takes a full update only: send an I packet")
        return cache


def _spread(x: Tensor, index: Tensor, count: int) -> Tensor:
    """Rows of x to their places among `count`, zero elsewhere; channels last."""
    rows = x.permute(0, 2, 3, 1)
    out = rows.new_zeros(count, *rows.shape[1:])
    out[index] = rows
    return out.permute(0, 3, 1, 2)


def as_pictures(maps: Sequence[Tensor]) -> Tensor:
    """B x [h, w, C] -> [B, C, h, w]; a single one is not copied."""
    stacked = maps[0][None] if len(maps) == 1 else torch.stack(list(maps))
    return stacked.permute(0, 3, 1, 2)


def for_inference(network: Module, device: torch.device, dtype: torch.dtype) -> Module:
    """Norms folded (in fp32, before rounding), channels last, without gradients."""
    fold_norms(network.eval())
    network.to(device, dtype).to(memory_format=torch.channels_last)
    network.requires_grad_(False)
    if device.type == "cpu" and packed.is_available():
        pack_convolutions(network)
    return network
