"""The bundled encoder, ready to run: weights loaded, norms folded, in the fast layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from streamvis.encode import packed
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import Features, TileFeatures, TileUpdate
from streamvis.encode.feature_map import FeatureMap, as_index, split_rows
from streamvis.encode.sv_tiny import SvTiny, fold_norms, normalize, pack_convolutions
from streamvis.encode.sv_tiny_cache import LOCAL_STRIDES, SvTinyCache
from streamvis.encode.sv_tiny_late import SvTinyLate
from streamvis.encode.weights import Bundle, load_bundle
from streamvis.types import ModelId

Module = TypeVar("Module", bound=torch.nn.Module)


class _SvTiny:
    """What both structures share: the bundle and the caches."""

    def __init__(
        self, bundle: Bundle, config: EncoderConfig, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.bundle = bundle
        self.model: ModelId = bundle.model
        self.input_size = config.input_size
        self.tile_px = bundle.manifest.arch.tile_px
        self.device = device
        self.dtype = dtype

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, cols)"""
        width, height = self.input_size
        return height // self.tile_px, width // self.tile_px

    def _new_cache(self, channels_at: dict[int, int]) -> SvTinyCache:
        rows, cols = self.grid
        maps = [
            FeatureMap(rows, cols, self.tile_px // stride, channels, self.dtype, self.device)
            for stride, channels in channels_at.items()
        ]
        return SvTinyCache(self.model, maps)

    def _pixels(self, updates: Sequence[TileUpdate]) -> Tensor:
        """The changed tiles of all cameras: uint8 [M, 3, T, T] in channels-last memory."""
        tiles = np.concatenate([update.tiles for update in updates])  # [M, T, T, 3]
        return torch.from_numpy(tiles).to(self.device, non_blocking=True).permute(0, 3, 1, 2)

    def _check(self, update: TileUpdate) -> SvTinyCache:
        cache = update.cache
        if not isinstance(cache, SvTinyCache) or cache.model != self.model:
            raise ValueError("this cache belongs to another encoder; make one with new_cache()")
        if cache.is_empty and not update.is_full:
            raise ValueError("an empty cache takes a full update only: send an I packet")
        return cache


class SvTinyEncoder(_SvTiny):
    """Early context: the local stages are reused, context and neck are always dense."""

    def __init__(
        self, bundle: Bundle, config: EncoderConfig, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__(bundle, config, device, dtype)
        network = SvTiny(bundle.manifest.arch)
        bundle.load_into(network, "encoder")
        self._network = for_inference(network, device, dtype)

    @torch.inference_mode()
    def encode_full(self, images: Tensor) -> Features:
        pyramid, embedding = self._network(images.to(self.device, non_blocking=True))
        return Features(pyramid, embedding)

    def new_cache(self) -> SvTinyCache:
        channels = self._network.arch.channels[2:]
        return self._new_cache(dict(zip(LOCAL_STRIDES, channels, strict=True)))

    @torch.inference_mode()
    def encode_changed(self, updates: Sequence[TileUpdate]) -> Features:
        """Equals `encode_full` of the canvases: the local stages see one tile only, and the rest
        is always dense."""
        caches = [self._check(update) for update in updates]
        canaries = self._update(updates, caches)
        maps = zip(*([m.values for m in cache.maps] for cache in caches), strict=True)
        x8, x16 = (as_pictures(values) for values in maps)
        pyramid, embedding = self._network.dense(x8, x16)
        return Features(pyramid, embedding, canaries)

    def _update(
        self, updates: Sequence[TileUpdate], caches: Sequence[SvTinyCache]
    ) -> tuple[float, ...]:
        """Encode the changed tiles of all cameras at once, and bring the caches up to date."""
        counts = [len(update.plan.index) for update in updates]
        if not sum(counts):
            return (0.0,) * len(updates)
        pixels = normalize(self._pixels(updates), self.dtype)
        features = [split_rows(x, counts) for x in self._network.local(pixels)]
        return tuple(
            cache.update(update.plan, own) if len(update.plan.index) else 0.0
            for cache, update, *own in zip(caches, updates, *features, strict=True)
        )


class SvTinyLateEncoder(_SvTiny):
    """Late context: the neck is reused too, and so are the head's towers, by the detector."""

    def __init__(
        self, bundle: Bundle, config: EncoderConfig, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__(bundle, config, device, dtype)
        network = SvTinyLate(bundle.manifest.arch)
        bundle.load_into(network, "encoder")
        self._network = for_inference(network, device, dtype)

    @torch.inference_mode()
    def encode_full(self, images: Tensor) -> Features:
        pyramid, context, embedding = self._network(images.to(self.device, non_blocking=True))
        grid = (len(images), *self.grid)
        return Features({}, embedding, tiles=TileFeatures(pyramid, grid, context))

    def new_cache(self) -> SvTinyCache:
        return self._new_cache({32: self._network.arch.channels[3]})

    @torch.inference_mode()
    def encode_changed(self, updates: Sequence[TileUpdate]) -> Features:
        """Equals `encode_full` of the canvases, once the detector put its share together."""
        caches = tuple(self._check(update) for update in updates)
        counts = [len(update.plan.index) for update in updates]
        pyramid: dict[int, Tensor] = {}
        canaries = [0.0] * len(updates)
        if sum(counts):
            pyramid, x32 = self._network.tiles(self._pixels(updates))
            for i, own in enumerate(split_rows(x32, counts)):
                if counts[i]:
                    canaries[i] = caches[i].update(updates[i].plan, [own])
        context, embedding = self._network.context(
            as_pictures([cache.maps[0].values for cache in caches])
        )
        index = tuple(as_index(update.plan.index, self.device) for update in updates)
        grid = (len(updates), *self.grid)
        tiles = TileFeatures(pyramid, grid, context, caches, index)
        return Features({}, embedding, tuple(canaries), tiles)


def build_sv_tiny(
    config: EncoderConfig, device: torch.device, dtype: torch.dtype
) -> SvTinyEncoder | SvTinyLateEncoder:
    """The structure that the weights were trained for."""
    bundle = load_bundle(config.weights)
    is_late = bundle.manifest.arch.context == "late"
    return (SvTinyLateEncoder if is_late else SvTinyEncoder)(bundle, config, device, dtype)


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
