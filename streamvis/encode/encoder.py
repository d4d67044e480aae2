"""The seam every encoder fills, and the one place that chooses among them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamvis.encode.config import NONE, EncoderConfig
from streamvis.errors import ConfigError
from streamvis.types import ModelId, TilePlan


class Cache(Protocol):
    """What an encoder keeps of one camera between frames. The encoder that made it writes it;
    whoever holds the camera's canvas owns it, and resets both together."""

    def reset(self) -> None:
        """Forget the camera: only an update of every tile fits now."""


@dataclass(frozen=True)
class Features:
    """What an encoder says about B pictures; tensors stay on the encoder's device."""

    pyramid: dict[int, Tensor]  # stride 8, 16, 32 -> [B, C, h, w], the encoder's dtype
    embedding: Tensor  # float32 [B, D], L2 norm 1; D = 0 from the encoder `none`
    canary_error: tuple[float, ...] = ()  # per picture, see Feedback; empty: not measured
    context: Tensor | None = None  # [B, C, h, w] at stride 32, from sv_tiny: its pyramid lacks it


@dataclass(frozen=True)
class TileUpdate:
    """What changed in one camera's canvas since the update before."""

    picture: NDArray[np.uint8]  # [H, W, 3] RGB: the canvas, the change already in it
    plan: TilePlan
    tiles: NDArray[np.uint8]  # [K, T, T, 3]: the canvas's tiles plan.index
    cache: Cache

    @property
    def is_full(self) -> bool:
        return len(self.plan.index) == self.plan.num_tiles


class Encoder(Protocol):
    model: ModelId
    input_size: tuple[int, int]  # (width, height) px
    tile_px: int
    device: torch.device
    dtype: torch.dtype

    def encode_full(self, images: Tensor) -> Features:
        """uint8 [B, H, W, 3] RGB -> features, every tile computed, nothing remembered."""

    def new_cache(self) -> Cache:
        """For one more camera; empty."""

    def encode_changed(self, updates: Sequence[TileUpdate]) -> Features:
        """The features of the canvases, one update a camera: only their changed tiles are
        computed, the others come from the caches. An empty cache takes a full update only.
        Raises ValueError for a cache of another encoder. After any other error the same updates
        may be tried again, together or one by one."""


class NoCache:
    """Of an encoder that remembers nothing."""

    def reset(self) -> None:
        pass


def stack_pictures(updates: Sequence[TileUpdate]) -> Tensor:
    """uint8 [B, H, W, 3]: the canvases of a batch."""
    return torch.from_numpy(np.stack([update.picture for update in updates]))


class NoEncoder:
    """Makes nothing: for detectors that read the pictures themselves."""

    def __init__(self, config: EncoderConfig) -> None:
        self.model = ModelId(NONE, "")
        self.input_size = config.input_size
        self.tile_px = config.tile_px
        self.device = torch.device("cpu")
        self.dtype = torch.float32

    def encode_full(self, images: Tensor) -> Features:
        return Features({}, torch.zeros(len(images), 0))

    def new_cache(self) -> Cache:
        return NoCache()

    def encode_changed(self, updates: Sequence[TileUpdate]) -> Features:
        return Features({}, torch.zeros(len(updates), 0))


def build_encoder(config: EncoderConfig) -> Encoder:
    """Raises WeightsError when its weights are missing, damaged or of another shape."""
    # Said out loud, because Ray starts its actors with OMP_NUM_THREADS=1.
    torch.set_num_threads(config.threads or len(os.sched_getaffinity(0)))
    device = choose_device(config.device)
    dtype = choose_dtype(config.dtype, device)
    if config.name.startswith("timm/"):
        from streamvis.encode.timm_encoder import TimmEncoder  # timm takes a second to import

        return TimmEncoder(config, device, dtype)
    if config.name == NONE:
        return NoEncoder(config)
    from streamvis.encode.sv_tiny_encoder import SvTinyEncoder

    return SvTinyEncoder(config, device, dtype)


def choose_device(name: str) -> torch.device:
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ConfigError("encoder.device is cuda, but torch sees no GPU here; use auto or cpu")
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """auto: bf16 only where the processor computes in it; emulated bf16 is slower than fp32."""
    if name == "auto":
        name = "bf16" if _is_fast_in_bf16(device) else "fp32"
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[name]


def _is_fast_in_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    features = torch.cpu.get_capabilities()
    return any(features.get(name) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))
