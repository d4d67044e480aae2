"""timm's HieraDet, Hiera and ViT, run dense behind the same seam as the bundled encoder."""

from __future__ import annotations

import hashlib
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.hiera import Hiera
from timm.models.hieradet_sam2 import HieraDet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import Features
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

    @torch.inference_mode()
    def encode_full(self, images: Tensor) -> Features:
        x = self._prepare(images.to(self.device, non_blocking=True))
        last, maps = self._network.forward_intermediates(x, norm=self._is_vit)  # maps: [B, C, h, w]
        pooled = self._network.forward_head(last, pre_logits=True)  # [B, D]
        return Features(self._pyramid(maps, images.shape[1]), F.normalize(pooled.float(), dim=-1))

    def _prepare(self, images: Tensor) -> Tensor:
        """uint8 [B, H, W, 3] -> [B, 3, H', W'], normalised as the model was trained."""
        x = images.permute(0, 3, 1, 2).float()
        if x.shape[-2:] != self._size:
            x = F.interpolate(x, self._size, mode="bilinear", antialias=True)
        return ((x - self._mean) / self._std).to(self.dtype)

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
