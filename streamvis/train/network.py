"""The trained whole: encoder, head, and a probe that gives the embedding its meaning."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from streamvis.detect.head import Head
from streamvis.detect.onnx_yolox import NUM_COCO
from streamvis.encode.sv_tiny import SvTiny, SvTinyArch
from streamvis.types import CLASSES

_PROBE_SCALE = 16.0  # a unit vector's logits would be too small to be sure of anything


class Network(nn.Module):
    def __init__(self, arch: SvTinyArch | None = None) -> None:
        super().__init__()
        self.encoder = SvTiny(arch)
        self.head = Head(self.encoder.arch.pyramid_channels, len(CLASSES))
        self.probe = nn.Linear(self.encoder.arch.embedding, NUM_COCO)  # training only

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 [B, S, S, 3] -> logits [B, A, K], boxes [B, A, 4], presence logits [B, 80]."""
        pyramid, embedding = self.encoder(images)
        logits, xyxy = self.head(pyramid)
        return logits, xyxy, self.probe(embedding * _PROBE_SCALE).float()


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
