"""Which cell should answer for which object, and what the network should say there.

B batch   N objects of the whole batch   A cells of all strides   K classes
C candidate cells of one object: the 3x3 around its centre at every stride
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from streamvis.detect.onnx_yolox import STRIDES
from streamvis.train.batches import Batch
from streamvis.train.config import LossConfig
from streamvis.types import CLASSES

_NUM_POSITIVE = 8  # cells that answer for one object, at most
_SIGN = CLASSES.index("traffic_sign")


@dataclass(frozen=True)
class Targets:
    score: Tensor  # float32 [B, A, K] in [0, 1]
    score_weight: Tensor  # float32 [B, A, K] 0: nothing is known here
    xyxy: Tensor  # float32 [B, A, 4] px
    box_weight: Tensor  # float32 [B, A]


@torch.no_grad()
def make_targets(batch: Batch, score: Tensor, xyxy: Tensor, config: LossConfig) -> Targets:
    """Labels where a class is labelled, the teacher's dense output where it is not.

    `score` [B, A, K] and `xyxy` [B, A, 4] are the network's own: they choose the cells.
    """
    labels = assign_labels(batch, score, xyxy)
    is_positive = labels.box_weight > 0  # [B, A]
    target = torch.where(batch.labelled, labels.score, batch.teacher_score)

    # The teacher knows stop signs only: that it sees no sign says nothing about other signs.
    blind = ~batch.labelled
    blind[..., :_SIGN] = False
    blind &= batch.teacher_score < config.teacher_box_score
    # A sure teacher against no label: one of them is wrong, and we cannot tell which.
    disputed = batch.labelled & (batch.teacher_score > config.teacher_doubt)
    disputed &= ~is_positive[..., None]
    unknown = blind | disputed | (batch.ignored & ~is_positive)[..., None]

    taught = torch.where(batch.labelled | unknown, 0.0, batch.teacher_score).amax(-1)  # [B, A]
    taught = torch.where(taught > config.teacher_box_score, taught, 0.0)
    return Targets(
        score=target,
        score_weight=(~unknown).float(),
        xyxy=torch.where(is_positive[..., None], labels.xyxy, batch.teacher_xyxy),
        box_weight=torch.where(is_positive, labels.box_weight, taught),
    )


def assign_labels(batch: Batch, score: Tensor, xyxy: Tensor) -> Targets:
    """Task-aligned assignment (TOOD, Feng et al., ICCV 2021) among cells near the centre.

    The best cells by score and overlap answer for an object; the best of them should say its
    overlap, the others less.
    """
    B, A, K = score.shape
    cell, is_inside = _candidates(batch.xyxy, batch.images.shape[1])  # [N, C]
    cell = cell + batch.row[:, None] * A  # into [B * A]
    overlap = pair_iou(xyxy.view(-1, 4)[cell], batch.xyxy[:, None])  # [N, C]
    confidence = score.view(-1, K)[cell, batch.class_id[:, None]]  # [N, C]
    fit = confidence.sqrt() * overlap**4 * is_inside + 1e-9 * is_inside

    kept = fit >= fit.topk(_NUM_POSITIVE, dim=1).values[:, -1:]
    kept &= fit > 0
    best = torch.zeros(B * A).scatter_reduce(0, cell[kept], fit[kept], "amax")
    kept &= fit >= best[cell]  # a cell answers for one object only

    best_fit, best_overlap = (v.amax(1, keepdim=True) for v in (fit, overlap * is_inside))
    value = (fit / best_fit.clamp(min=1e-9) * best_overlap).clamp(min=0.05)[kept]
    cell, owner = cell[kept], torch.where(kept)[0]
    target_score, target_box, weight = (
        torch.zeros(B * A, K),
        torch.zeros(B * A, 4),
        best.new_zeros(B * A),
    )
    target_score[cell, batch.class_id[owner]] = value
    target_box[cell] = batch.xyxy[owner]
    weight[cell] = value
    return Targets(
        target_score.view(B, A, K), torch.ones(B, A, K), target_box.view(B, A, 4), weight.view(B, A)
    )


def _candidates(xyxy: Tensor, side_px: int) -> tuple[Tensor, Tensor]:
    """Cell numbers [N, C] of the 3x3 around each centre at every stride, and which exist."""
    centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2
    around = torch.tensor([[dx, dy] for dy in (-1, 0, 1) for dx in (-1, 0, 1)])  # [9, 2]
    cells, inside, start = [], [], 0
    for stride in STRIDES:
        count = side_px // stride
        at = (centre / stride).long()[:, None] + around  # [N, 9, 2]
        inside.append(((at >= 0) & (at < count)).all(-1))
        x, y = at.clamp(0, count - 1).unbind(-1)
        cells.append(start + y * count + x)
        start += count * count
    return torch.cat(cells, 1), torch.cat(inside, 1)


def pair_iou(a: Tensor, b: Tensor) -> Tensor:
    """Overlap of boxes [..., 4] with boxes [..., 4], pair by pair."""
    overlap = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(
        min=0
    )
    inter = overlap.prod(-1)
    area_a = (a[..., 2:] - a[..., :2]).prod(-1)
    area_b = (b[..., 2:] - b[..., :2]).prod(-1)
    return inter / (area_a + area_b - inter).clamp(min=1e-6)
