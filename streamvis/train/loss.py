"""What the network is trained to make small."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from streamvis.train.batches import Batch
from streamvis.train.config import LossConfig
from streamvis.train.targets import Targets


@dataclass(frozen=True)
class Losses:
    score: Tensor
    box: Tensor
    embedding: Tensor

    def total(self, config: LossConfig) -> Tensor:
        return self.score + config.box * self.box + config.embedding * self.embedding


def compute_losses(
    logits: Tensor, xyxy: Tensor, presence: Tensor, targets: Targets, batch: Batch
) -> Losses:
    """Logits [B, A, K], boxes [B, A, 4], presence logits [B, 80]."""
    norm = targets.box_weight.sum().clamp(min=1.0)
    return Losses(
        score=(quality_focal(logits, targets.score) * targets.score_weight).sum() / norm,
        box=_box_loss(xyxy, targets) / norm,
        embedding=F.binary_cross_entropy_with_logits(
            presence, batch.presence, reduction="none"
        ).sum(1).mean(),
    )  # fmt: skip


def quality_focal(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with soft targets, weighted by how far off it is (Li et al., NeurIPS 2020)."""
    distance = (logits.sigmoid() - target).detach().square()
    return distance * F.binary_cross_entropy_with_logits(logits, target, reduction="none")


def _box_loss(xyxy: Tensor, targets: Targets) -> Tensor:
    used = targets.box_weight > 0
    loss = generalized_box_iou_loss(xyxy[used], targets.xyxy[used], reduction="none")
    return torch.sum(loss * targets.box_weight[used])
