"""The bundled encoder, ready to run: weights loaded, norms folded, in the fast layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from streamvis.encode import packed
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import Features, TileUpdate
from streamvis.encode.feature_map import FeatureMap
from streamvis.encode.sv_tiny import SvTiny, fold_norms, normalize, pack_convolutions
from streamvis.encode.sv_tiny_cache import LOCAL_STRIDES, SvTinyCache
from streamvis.encode.weights import Bundle, load_bundle
from streamvis.types import ModelId

Module = TypeVar("Module", bound=torch.nn.Module)


class SvTinyEncoder:
    def __init__(self, config: EncoderConfig, device: torch.device, dtype: torch.dtype) -> None:
        self.bundle: Bundle = load_bundle(config.weights)
        self.model: ModelId = self.bundle.model
        self.input_size = config.input_size
        self.tile_px = self.bundle.manifest.arch.tile_px
        self.device = device
        self.dtype = dtype
        network = SvTiny(self.bundle.manifest.arch)
        self.bundle.load_into(network, "encoder")
        self._network: SvTiny = for_inference(network, device, dtype)

    @torch.inference_mode()
    def encode_full(self, images: Tensor) -> Features:
        pyramid, embedding = self._network(images.to(self.device, non_blocking=True))
        return Features(pyramid, embedding)

    def new_cache(self) -> SvTinyCache:
        width, height = self.input_size
        rows, cols = height // self.tile_px, width // self.tile_px
        return SvTinyCache(
            self.model,
            [
                FeatureMap(rows, cols, self.tile_px // stride, channels, self.dtype, self.device)
                for stride, channels in zip(
                    LOCAL_STRIDES, self._network.arch.channels[2:], strict=True
                )
            ],
        )

    @torch.inference_mode()
    def encode_changed(self, updates: Sequence[TileUpdate]) -> Features:
        """Equals `encode_full` of the canvases: the local stages see one tile only, and the rest
        is always dense."""
        caches = [self._check(update) for update in updates]
        canaries = self._update(updates, caches)
        x8, x16 = (
            torch.stack(maps).permute(0, 3, 1, 2)  # B x [h, w, C] -> [B, C, h, w]
            for maps in zip(*([m.values for m in cache.maps] for cache in caches), strict=True)
        )
        pyramid, embedding = self._network.dense(x8, x16)
        return Features(pyramid, embedding, canaries)

    def _update(
        self, updates: Sequence[TileUpdate], caches: Sequence[SvTinyCache]
    ) -> tuple[float, ...]:
        """Encode the changed tiles of all cameras at once, and bring the caches up to date."""
        counts = [len(update.plan.index) for update in updates]
        if not sum(counts):
            return (0.0,) * len(updates)
        tiles = np.concatenate([update.tiles for update in updates])  # [M, T, T, 3]
        pixels = torch.from_numpy(tiles).to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        features = [x.split(counts) for x in self._network.local(normalize(pixels, self.dtype))]
        return tuple(
            cache.update(update.plan, own) if len(update.plan.index) else 0.0
            for cache, update, *own in zip(caches, updates, *features, strict=True)
        )

    def _check(self, update: TileUpdate) -> SvTinyCache:
        cache = update.cache
        if not isinstance(cache, SvTinyCache) or cache.model != self.model:
            raise ValueError("this cache belongs to another encoder; make one with new_cache()")
        if cache.is_empty and not update.is_full:
            raise ValueError("an empty cache takes a full update only: send an I packet")
        return cache


def for_inference(network: Module, device: torch.device, dtype: torch.dtype) -> Module:
    """Norms folded (in fp32, before rounding), channels last, without gradients."""
    fold_norms(network.eval())
    network.to(device, dtype).to(memory_format=torch.channels_last)
    network.requires_grad_(False)
    if device.type == "cpu" and packed.is_available():
        pack_convolutions(network)
    return network
