"""timm's HieraDet, Hiera and ViT behind the same seam as the bundled encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.hiera import Hiera
from timm.models.hieradet_sam2 import HieraDet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import Features, TileUpdate, stack_pictures
from streamvis.encode.feature_map import FeatureMap, as_index, split_rows
from streamvis.encode.timm_hiera import HieraTokens
from streamvis.encode.timm_hieradet import HieraDetTokens
from streamvis.encode.timm_tokens import HALO_PX, TokenCache, cut_with_halo, with_dirtied
from streamvis.encode.timm_vit import VitTokens
from streamvis.errors import WeightsError
from streamvis.types import ModelId

STRIDES = (8, 16, 32)
_HIERA_PATCH = 4  # px
_VIT_STRIDE = 16  # a ViT's tokens stand for 16 px, whatever its patch: the picture is scaled


class TimmEncoder:
    """`timm/<name>`: the pyramid is what the model has, a ViT's one stride resampled to three."""

    def __init__(self, config: EncoderConfig, device: torch.device, dtype: torch.dtype) -> None:
        self.input_size = config.input_size
        self.tile_px = config.tile_px
        self.device = device
        self.dtype = dtype
        network = _load(config)
        self.model = ModelId(config.name, _hash(network))
        self._is_vit = isinstance(network, VisionTransformer)
        self._network: Any = network.eval().to(device, dtype).requires_grad_(False)
        self._size = _network_size(network, config)
        facts: Any = network.pretrained_cfg
        self._mean = torch.tensor(facts["mean"], device=device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(facts["std"], device=device).view(1, 3, 1, 1) * 255
        self._rows = config.input_size[1] // config.tile_px
        self._cols = config.input_size[0] // config.tile_px
        with torch.inference_mode():
            self._tokens = self._build_tokens(network)

    @torch.inference_mode()
    def encode_full(self, images: Tensor) -> Features:
        x = self._prepare(images.to(self.device, non_blocking=True))
        last, maps = self._network.forward_intermediates(x, norm=self._is_vit)  # maps: [B, C, h, w]
        pooled = self._network.forward_head(last, pre_logits=True)  # [B, D]
        return Features(self._pyramid(maps, images.shape[1]), F.normalize(pooled.float(), dim=-1))

    def new_cache(self) -> TokenCache:
        width, height = self.input_size
        return TokenCache(self.model, np.zeros((height, width, 3), np.uint8))

    @torch.inference_mode()
    def encode_changed(self, updates: Sequence[TileUpdate]) -> Features:
        """With every tile changed this equals `encode_full`. Else the changed tiles are encoded
        against what the caches say of the others, which did not see the change yet."""
        if self._tokens is None:  # a variant of these networks that we only know how to run whole
            return self.encode_full(stack_pictures(updates))
        caches = [self._check(update) for update in updates]
        index = [self._active(u, cache) for u, cache in zip(updates, caches, strict=True)]
        busy = [i for i, own in enumerate(index) if len(own)]
        canaries = [0.0] * len(updates)
        if busy:
            own = [index[i] for i in busy]
            maps = self._run([updates[i] for i in busy], own, [caches[i] for i in busy])
            counts = [len(tiles) for tiles in own]
            for i, *new in zip(busy, *(split_rows(m, counts) for m in maps.values()), strict=True):
                results = dict(zip(maps, new, strict=True))
                canaries[i] = self._keep(caches[i], updates[i], index[i], results)
        return self._collect(caches, canaries)

    def _build_tokens(self, network: nn.Module) -> HieraDetTokens | HieraTokens | VitTokens | None:
        if HieraDetTokens.fits(network):
            return HieraDetTokens(self._network, self._rows, self._cols, self.tile_px)
        if HieraTokens.fits(network):
            return HieraTokens(self._network, self._rows, self._cols, self.tile_px)
        if VitTokens.fits(network):
            side = self.tile_px // _VIT_STRIDE
            return VitTokens(self._network, self._rows, self._cols, side)
        return None

    def _check(self, update: TileUpdate) -> TokenCache:
        if not isinstance(update.cache, TokenCache):
            raise ValueError("this cache belongs to another encoder; make one with new_cache()")
        update.cache.check(update, self.model)
        return update.cache

    def _active(self, update: TileUpdate, cache: TokenCache) -> NDArray[np.int32]:
        return update.plan.index if self._is_vit else with_dirtied(update, cache)

    def _run(
        self,
        updates: list[TileUpdate],
        index: list[NDArray[np.int32]],
        caches: list[TokenCache],
    ) -> dict[int, Tensor]:
        """The active tiles' results by stride, packed: [M, t, t, C] each."""
        if isinstance(self._tokens, VitTokens):
            pixels = self._vit_pixels(updates, index)
            last, prefixes = self._tokens.forward(pixels, index, caches)
            for cache, prefix in zip(caches, prefixes, strict=True):
                cache.extra = prefix
            return {_VIT_STRIDE: last}
        assert self._tokens is not None
        return self._tokens.forward(self._halo_pixels(updates, index), index, caches)

    def _keep(
        self,
        cache: TokenCache,
        update: TileUpdate,
        index: NDArray[np.int32],
        results: dict[int, Tensor],
    ) -> float:
        """Bring the camera's maps up to date; returns the canary's error."""
        for stride, tiles in results.items():
            if stride not in cache.maps:
                side, channels = tiles.shape[2:]
                cache.maps[stride] = FeatureMap(
                    self._rows, self._cols, side, channels, tiles.dtype, tiles.device
                )
        tiles = results[_VIT_STRIDE]
        canary = (
            0.0 if cache.is_empty else cache.maps[_VIT_STRIDE].canary(update.plan, index, tiles)
        )
        places = as_index(index, tiles.device)
        for stride, new in results.items():
            cache.maps[stride].write(places, new)
        cache.note(update)
        return canary

    def _collect(self, caches: list[TokenCache], canaries: list[float]) -> Features:
        maps = {
            stride: torch.stack([cache.maps[stride].values for cache in caches])  # [B, h, w, C]
            for stride in caches[0].maps
        }
        if isinstance(self._tokens, VitTokens):
            prefix = torch.stack([cache.extra for cache in caches if cache.extra is not None])
            pooled = self._tokens.embed(prefix, maps[_VIT_STRIDE])
        else:
            assert self._tokens is not None
            pooled = self._tokens.embed(maps[STRIDES[-1]])
        as_images = [x.permute(0, 3, 1, 2) for x in maps.values()]
        pyramid = self._pyramid(as_images, self.input_size[1])
        return Features(pyramid, F.normalize(pooled.float(), dim=-1), tuple(canaries))

    def _halo_pixels(self, updates: list[TileUpdate], index: list[NDArray[np.int32]]) -> Tensor:
        """Normalised tiles with their halo; beyond the picture's edge it is zero, after the
        normalisation: [M, 3, T + 3, T + 3]."""
        cuts = [cut_with_halo(u, own) for u, own in zip(updates, index, strict=True)]
        tiles, is_top, is_left = (np.concatenate(parts) for parts in zip(*cuts, strict=True))
        x = self._normalise(torch.from_numpy(tiles).to(self.device).permute(0, 3, 1, 2))
        x[torch.from_numpy(is_top).to(self.device), :, :HALO_PX] = 0
        x[torch.from_numpy(is_left).to(self.device), :, :, :HALO_PX] = 0
        return x

    def _vit_pixels(self, updates: list[TileUpdate], index: list[NDArray[np.int32]]) -> Tensor:
        """Normalised tiles at the network's scale: [M, 3, p, p]."""
        height, width = self._size
        if (width, height) == self.input_size:
            tiles = np.concatenate([update.tiles for update in updates])
            return self._normalise(torch.from_numpy(tiles).to(self.device).permute(0, 3, 1, 2))
        pictures = self._prepare(stack_pictures(updates).to(self.device))  # [B, 3, H', W']
        B, C, side = len(pictures), 3, height // self._rows
        x = pictures.view(B, C, self._rows, side, self._cols, side).permute(0, 2, 4, 1, 3, 5)
        x = x.flatten(1, 2)  # [B, tiles, C, p, p]
        places = [as_index(own, self.device) for own in index]
        return torch.cat([own[i] for own, i in zip(x, places, strict=True)])

    def _normalise(self, x: Tensor) -> Tensor:
        return ((x.float() - self._mean) / self._std).to(self.dtype)

    def _prepare(self, images: Tensor) -> Tensor:
        """uint8 [B, H, W, 3] -> [B, 3, H', W'], normalised as the model was trained."""
        x = images.permute(0, 3, 1, 2).float()
        if x.shape[-2:] != self._size:
            x = F.interpolate(x, self._size, mode="bilinear", antialias=True)
        return self._normalise(x)

    def _pyramid(self, maps: list[Tensor], height: int) -> dict[int, Tensor]:
        if self._is_vit:
            x = maps[-1]
            up = F.interpolate(x, scale_factor=2.0, mode="bilinear")
            return {8: up, 16: x, 32: F.avg_pool2d(x, 2)}
        by_stride = {height // x.shape[-2]: x for x in maps}  # of a stage's maps, the last
        return {stride: by_stride[stride] for stride in STRIDES}


def _load(config: EncoderConfig) -> nn.Module:
    name = config.name.removeprefix("timm/")
    if not timm.is_model(name):
        raise WeightsError(f"timm {timm.__version__} has no model {name!r}; see timm.list_models()")
    options: dict[str, Any] = {"pretrained": True, "num_classes": 0}
    if config.weights is not None:
        if not config.weights.is_file():
            raise WeightsError(f"{config.weights}: no such checkpoint; check encoder.weights")
        options["pretrained_cfg_overlay"] = {"file": str(config.weights), "hf_hub_id": None}
    if timm.model_entrypoint(name).__module__ == VisionTransformer.__module__:
        options["dynamic_img_size"] = True
    try:
        network = timm.create_model(name, **options)
    except Exception as error:  # whatever the hub, the disk or the checkpoint raise
        raise WeightsError(_explain(error, config, name)) from None
    if isinstance(network, Hiera):
        return _resize_hiera(network, name, config.input_size)
    if not isinstance(network, (HieraDet, Hiera, VisionTransformer)):
        raise WeightsError(f"timm/{name} is neither HieraDet, Hiera nor ViT; choose one of these")
    return network


def _resize_hiera(trained: Hiera, name: str, input_size: tuple[int, int]) -> nn.Module:
    """The same model at another picture size: timm resamples a ViT's positions, not a Hiera's."""
    width, height = input_size
    network: nn.Module = timm.create_model(name, num_classes=0, img_size=(height, width))
    state = trained.state_dict()
    if state["pos_embed"].ndim == 3:  # [1, tokens, C]; "abswin" models have a map instead
        grid = [height // _HIERA_PATCH, width // _HIERA_PATCH]
        state["pos_embed"] = resample_abs_pos_embed(
            state["pos_embed"], new_size=grid, num_prefix_tokens=0
        )
    network.load_state_dict(state)
    return network


def _network_size(network: nn.Module, config: EncoderConfig) -> tuple[int, int]:
    """(height, width) the network sees: a ViT with patches of 14 px gets a smaller picture."""
    width, height = config.input_size
    if not isinstance(network, VisionTransformer):
        return height, width
    patch = network.patch_embed.patch_size[0]
    return height // _VIT_STRIDE * patch, width // _VIT_STRIDE * patch


def _explain(error: Exception, config: EncoderConfig, name: str) -> str:
    reason = str(error).strip().splitlines()[-1].strip()[:200] or type(error).__name__
    if config.weights is not None:
        return f"{config.weights}: not a checkpoint of timm's {name} ({reason}); give another file"
    return (
        f"timm could not fetch {name} ({type(error).__name__}: {reason}); "
        "download it on a machine with a network and give encoder.weights"
    )


def _hash(network: nn.Module) -> str:
    """Of the tensors as loaded: the same for a file and for timm's own download."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
