"""From a score for every class in every cell to the objects of a frame.

B batch   A cells   K classes
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from streamvis.detect.config import DetectorConfig
from streamvis.types import CLASSES, Detections

_MAX_CANDIDATES = 1000  # a fixed number: one small copy from the device, no synchronising mask
# One thing is not a car and a truck at once, so vehicles suppress each other.
_GROUP_NAMES = {"bus": "car", "truck": "car"}
_GROUP = torch.tensor([CLASSES.index(_GROUP_NAMES.get(name, name)) for name in CLASSES])


def select(score: Tensor, xyxy: Tensor, config: DetectorConfig) -> list[Detections]:
    """Scores [B, A, K] in [0, 1] and boxes [B, A, 4] px -> detections per picture, best first."""
    best, class_id = score.max(-1)  # [B, A]
    best, cell = best.topk(min(_MAX_CANDIDATES, best.shape[1]), dim=1)
    class_id = class_id.gather(1, cell)
    xyxy = xyxy.gather(1, cell[..., None].expand(-1, -1, 4))
    columns = (best.float().cpu(), class_id.cpu(), xyxy.float().cpu())
    return [_select_one(*row, config) for row in zip(*columns, strict=True)]


def _select_one(
    score: Tensor, class_id: Tensor, xyxy: Tensor, config: DetectorConfig
) -> Detections:
    sure = score >= config.score
    score, class_id, xyxy = score[sure], class_id[sure], xyxy[sure]
    keep = batched_nms(xyxy, score, _GROUP[class_id], config.nms_iou)[: config.max_detections]
    return Detections.make(
        xyxy[keep].numpy(), score[keep].numpy(), class_id[keep].to(torch.int32).numpy()
    )
