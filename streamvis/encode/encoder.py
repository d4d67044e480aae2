"""The seam every encoder fills, and the one place that chooses among them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from streamvis.encode.config import NONE, EncoderConfig
from streamvis.errors import ConfigError
from streamvis.types import ModelId


@dataclass(frozen=True)
class Features:
    """What an encoder says about B pictures; tensors stay on the encoder's device."""

    pyramid: dict[int, Tensor]  # stride 8, 16, 32 -> [B, C, h, w], the encoder's dtype
    embedding: Tensor  # float32 [B, D], L2 norm 1; D = 0 from the encoder `none`


class Encoder(Protocol):
    model: ModelId
    input_size: tuple[int, int]  # (width, height) px
    tile_px: int
    device: torch.device
    dtype: torch.dtype

    def encode_full(self, images: Tensor) -> Features:
        """uint8 [B, H, W, 3] RGB -> features, every tile computed."""


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
