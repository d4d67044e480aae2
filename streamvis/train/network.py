"""The trained whole: encoder, head, and a probe that gives the embedding its meaning."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from streamvis.detect.head import Head
from streamvis.detect.late_head import LateHead
from streamvis.detect.onnx_yolox import NUM_COCO
from streamvis.encode.sv_tiny import SvTiny, SvTinyArch
from streamvis.encode.sv_tiny_late import SvTinyLate
from streamvis.encode.weights import Bundle
from streamvis.types import CLASSES

_LATE_NAMES = {  # what moved when the context became late
    f"encoder.context.down.{name}": f"encoder.down.{name}"
    for name in (
        "conv.weight",
        *(f"norm.{x}" for x in ("weight", "bias", "running_mean", "running_var")),
    )
}
_PROBE_SCALE = 16.0  # a unit vector's logits would be too small to be sure of anything


class Network(nn.Module):
    def __init__(self, arch: SvTinyArch | None = None) -> None:
        super().__init__()
        self.arch = arch or SvTinyArch()
        is_late = self.arch.context == "late"
        self.encoder = SvTinyLate(self.arch) if is_late else SvTiny(self.arch)
        num_classes = len(CLASSES)
        self.head = (
            LateHead(self.arch, num_classes)
            if is_late
            else Head(self.arch.pyramid_channels, num_classes)
        )
        self.probe = nn.Linear(self.arch.embedding, NUM_COCO)  # training only

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 [B, S, S, 3] -> logits [B, A, K], boxes [B, A, 4], presence logits [B, 80]."""
        if isinstance(self.encoder, SvTinyLate):
            pyramid, context, embedding = self.encoder(images)
            sides = (side // self.arch.tile_px for side in images.shape[1:3])
            logits, xyxy = self.head(pyramid, context, (len(images), *sides))
        else:
            pyramid, embedding = self.encoder(images)
            logits, xyxy = self.head(pyramid)
        return logits, xyxy, self.probe(embedding * _PROBE_SCALE).float()

    def start_from(self, bundle: Bundle) -> list[str]:
        """Take over the tensors that have the same place and shape; returns the names of those
        that begin anew."""
        theirs = {_LATE_NAMES.get(name, name): x for name, x in bundle.tensors.items()}
        own = {name: x for name, x in self.state_dict().items() if x.is_floating_point()}
        fits = {k: theirs[k] for k, x in own.items() if k in theirs and theirs[k].shape == x.shape}
        self.load_state_dict(fits, strict=False)
        return sorted(own.keys() - fits.keys())


class MovingAverage:
    """The network's average over its last steps: better than any one of them."""

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self._decay = decay

    @torch.no_grad()
    def update(self, network: Network, step: int) -> None:
        decay = min(self._decay, (1 + step) / (10 + step))  # a young average forgets its birth
        theirs = network.state_dict()
        for name, mine in self.network.state_dict().items():
            if mine.is_floating_point():
                mine.lerp_(theirs[name], 1 - decay)
            else:
                mine.copy_(theirs[name])
