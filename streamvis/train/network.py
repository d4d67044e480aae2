"""The trained whole: encoder, head, and a probe that gives the embedding its meaning."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from streamvis.detect.head import Head
from streamvis.detect.onnx_yolox import NUM_COCO
from streamvis.encode.sv_tiny import SvTiny, SvTinyArch, from_tiles, to_patches
from streamvis.types import CLASSES

_PROBE_SCALE = 16.0  # a unit vector's logits would be too small to be sure of anything
_SKIP_ODDS = 0.5  # of a picture to lose tiles in training
_MAX_SKIP_WORTH = 0.3


@dataclass(frozen=True)
class Answer:
    """B pictures, A cells, K classes, M tiles"""

    logits: Tensor  # float32 [B, A, K]
    xyxy: Tensor  # float32 [B, A, 4] px
    presence: Tensor  # float32 [B, 80] logits
    worth: Tensor  # float32 [B, rows, cols] logits


class Network(nn.Module):
    def __init__(self, arch: SvTinyArch | None = None) -> None:
        super().__init__()
        self.encoder = SvTiny(arch)
        self.arch = self.encoder.arch
        self.head = Head(self.arch, len(CLASSES))
        self.probe = nn.Linear(self.arch.embedding, NUM_COCO)  # training only

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Answer:
        """uint8 [B, S, S, 3]. In training some pictures, chosen by the generator, lose tiles that
        seem of little worth."""
        B, H, W, _ = images.shape
        grid = (B, H // self.arch.tile_px, W // self.arch.tile_px)
        x4, glance, worth = self.encoder.look(to_patches(images, self.arch.tile_px))
        pyramid, x32 = self.encoder.local(x4)
        if self.training:
            skip = _choose(worth.detach().view(B, -1), generator).view(-1, 1, 1, 1)
            x32 = torch.where(skip, glance, x32)
            pyramid = {stride: x * ~skip for stride, x in pyramid.items()}
        context, embedding = self.encoder.context(from_tiles(x32, grid))
        whole = {stride: from_tiles(x, grid) for stride, x in pyramid.items()}
        logits, xyxy = self.head(whole, context)
        presence = self.probe(embedding * _PROBE_SCALE).float()
        return Answer(logits, xyxy, presence, worth.view(grid))


def _choose(worth: Tensor, generator: torch.Generator | None) -> Tensor:
    """Which tiles to do without: logits [B, tiles] -> bool [B, tiles]"""
    share, chance = torch.rand(2, len(worth), 1, generator=generator)
    limit: Tensor = share.square() * _MAX_SKIP_WORTH * (chance < _SKIP_ODDS)
    return worth.sigmoid() < limit


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
