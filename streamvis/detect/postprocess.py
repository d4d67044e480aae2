"""From a score for every class in every cell to the objects of a frame.

B batch   A cells   K classes   C candidates
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import batched_nms

from streamvis.detect.config import DetectorConfig
from streamvis.types import CLASSES, Detections

MAX_CANDIDATES = 1000  # a fixed number: one small copy from the device, no synchronising mask
# One thing is not a car and a truck at once, so vehicles suppress each other.
_GROUP_NAMES = {"bus": "car", "truck": "car"}
_GROUP = torch.tensor([CLASSES.index(_GROUP_NAMES.get(name, name)) for name in CLASSES])


def select(score: Tensor, xyxy: Tensor, config: DetectorConfig) -> list[Detections]:
    """Scores [B, A, K] in [0, 1] and boxes [B, A, 4] px -> detections per picture, best first."""
    best, class_id, cell = _best_cells(score)
    boxes = xyxy.gather(1, cell[..., None].expand(-1, -1, 4))
    return _select_each(best.float(), class_id, boxes, config)


def select_logits(
    logits: Tensor, boxes_of: Callable[[Tensor], Tensor], config: DetectorConfig
) -> list[Detections]:
    """As `select`, but of logits, and `boxes_of` ([B, C] cells -> [B, C, 4] px) is asked about
    the best cells only: most cells are background, and a logit is in the order of its score."""
    best, class_id, cell = _best_cells(logits)
    return _select_each(best.float().sigmoid(), class_id, boxes_of(cell), config)


def _best_cells(value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[B, A, K] -> the best value, its class and its cell, [B, C] each, best first."""
    best, class_id = value.max(-1)
    best, cell = best.topk(min(MAX_CANDIDATES, best.shape[1]), dim=1)
    return best, class_id.gather(1, cell), cell


def _select_each(
    score: Tensor, class_id: Tensor, xyxy: Tensor, config: DetectorConfig
) -> list[Detections]:
    columns = (score.cpu(), class_id.cpu(), xyxy.float().cpu())
    return [_select_one(*row, config) for row in zip(*columns, strict=True)]


def _select_one(
    score: Tensor, class_id: Tensor, xyxy: Tensor, config: DetectorConfig
) -> Detections:
    num_sure = int((score >= config.score).sum())  # best first: a slice, no mask
    if not num_sure:
        return Detections.empty()
    score, class_id, xyxy = score[:num_sure], class_id[:num_sure], xyxy[:num_sure]
    group = _GROUP[class_id]
    keep = batched_nms(xyxy, score, group, config.nms_iou)
    keep = keep[~_is_inside(xyxy[keep].numpy(), group[keep].numpy(), config.max_inside)]
    keep = keep[: config.max_detections]
    return Detections.make(
        xyxy[keep].numpy(), score[keep].numpy(), class_id[keep].to(torch.int32).numpy()
    )


def _is_inside(
    xyxy: NDArray[np.float32], group: NDArray[np.int64], max_inside: float
) -> NDArray[np.bool_]:
    """[N] boxes, best first: which lie by more than this share of their area in a surer one of
    their group. A wheel is not a second car, though its box hardly overlaps the car's."""
    if max_inside >= 1:
        return np.zeros(len(xyxy), np.bool_)
    low = np.maximum(xyxy[:, None, :2], xyxy[None, :, :2])
    high = np.minimum(xyxy[:, None, 2:], xyxy[None, :, 2:])
    area = (xyxy[:, 2:] - xyxy[:, :2]).prod(1)
    share = (high - low).clip(min=0).prod(2) / area.clip(min=1e-6)[:, None]
    is_rival = (group[:, None] == group) & np.tri(len(xyxy), k=-1, dtype=np.bool_)
    inside: NDArray[np.bool_] = ((share > max_inside) & is_rival).any(1)
    return inside
