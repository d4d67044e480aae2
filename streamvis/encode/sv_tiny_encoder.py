"""The bundled encoder, ready to run: weights loaded, norms folded, in the fast layout."""

from __future__ import annotations

import torch
from torch import Tensor

from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import Features
from streamvis.encode.sv_tiny import SvTiny, fold_norms
from streamvis.encode.weights import Bundle, load_bundle
from streamvis.types import ModelId


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
        self._network = for_inference(network, device, dtype)

    @torch.inference_mode()
    def encode_full(self, images: Tensor) -> Features:
        pyramid, embedding = self._network(images.to(self.device, non_blocking=True))
        return Features(pyramid, embedding)


def for_inference(
    network: torch.nn.Module, device: torch.device, dtype: torch.dtype
) -> torch.nn.Module:
    """Norms folded (in fp32, before rounding), channels last, without gradients."""
    fold_norms(network.eval())
    network.to(device, dtype).to(memory_format=torch.channels_last)
    return network.requires_grad_(False)
