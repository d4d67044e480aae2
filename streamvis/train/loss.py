"""What the network is trained to make small."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from streamvis.encode.config import TILE_PX
from streamvis.encode.sv_tiny import STRIDES
from streamvis.train.batches import Batch
from streamvis.train.config import LossConfig
from streamvis.train.network import Answer
from streamvis.train.targets import Targets

_WORTH_SCORE = 0.1  # a target score above this is something


@dataclass(frozen=True)
class Losses:
    score: Tensor
    box: Tensor
    embedding: Tensor
    worth: Tensor

    def total(self, config: LossConfig) -> Tensor:
        detection = self.score + config.box * self.box
        return detection + config.embedding * self.embedding + config.worth * self.worth


def compute_losses(answer: Answer, targets: Targets, batch: Batch) -> Losses:
    norm = targets.box_weight.sum().clamp(min=1.0)
    return Losses(
        score=(quality_focal(answer.logits, targets.score) * targets.score_weight).sum() / norm,
        box=_box_loss(answer.xyxy, targets) / norm,
        embedding=F.binary_cross_entropy_with_logits(
            answer.presence, batch.presence, reduction="none"
        ).sum(1).mean(),
        worth=F.binary_cross_entropy_with_logits(answer.worth, tile_worth(targets, answer.worth)),
    )  # fmt: skip


def quality_focal(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with soft targets, weighted by how far off it is (Li et al., NeurIPS 2020)."""
    distance = (logits.sigmoid() - target).detach().square()
    return distance * F.binary_cross_entropy_with_logits(logits, target, reduction="none")


def tile_worth(targets: Targets, like: Tensor) -> Tensor:
    """1 where some cell of a tile should say something: float32 [B, rows, cols]"""
    score = (targets.score * targets.score_weight).amax(-1)  # [B, A]
    B, rows, cols = like.shape
    found, start = torch.zeros_like(like), 0
    for stride in STRIDES:
        side = TILE_PX // stride
        count = rows * cols * side * side
        cells = score[:, start : start + count].view(B, rows, side, cols, side)
        found = torch.maximum(found, cells.amax((2, 4)))
        start += count
    return (found > _WORTH_SCORE).float()


def _box_loss(xyxy: Tensor, targets: Targets) -> Tensor:
    used = targets.box_weight > 0
    loss = generalized_box_iou_loss(xyxy[used], targets.xyxy[used], reduction="none")
    return torch.sum(loss * targets.box_weight[used])
