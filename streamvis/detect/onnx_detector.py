"""A YOLOX model in ONNX as a detector: reads the pictures, ignores the features."""

from __future__ import annotations

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor

from streamvis.detect.config import DetectorConfig
from streamvis.detect.onnx_yolox import YoloxSession, to_our_classes
from streamvis.detect.postprocess import select
from streamvis.encode.encoder import Features
from streamvis.types import LETTERBOX_FILL, Detections, ModelId


class OnnxDetector:
    def __init__(self, config: DetectorConfig) -> None:
        assert config.onnx is not None
        self._config = config
        self._session = YoloxSession(config.onnx, torch.get_num_threads())
        sha256 = hashlib.sha256(config.onnx.read_bytes()).hexdigest()
        self.model = ModelId(f"onnx/{config.onnx.stem}", sha256)

    def detect(self, images: Tensor, features: Features) -> list[Detections]:  # noqa: ARG002
        return [self._detect_one(image) for image in images.cpu()]

    def _detect_one(self, image: Tensor) -> Detections:
        canvas, scale = letterbox(image, self._session.width, self._session.height)
        xyxy, score = self._session.run(canvas.numpy())
        boxes = torch.from_numpy(xyxy)[None] / scale
        return select(torch.from_numpy(to_our_classes(score))[None], boxes, self._config)[0]


def letterbox(image: Tensor, width: int, height: int) -> tuple[Tensor, float]:
    """uint8 [H, W, 3] RGB -> float32 [3, height, width] BGR at the top left, and its scale."""
    H, W, _ = image.shape
    scale = min(width / W, height / H)
    size = (round(H * scale), round(W * scale))
    bgr = image.flip(-1).permute(2, 0, 1)[None].float()
    small = F.interpolate(bgr, size, mode="bilinear", antialias=scale < 1)[0]
    canvas = torch.full((3, height, width), float(LETTERBOX_FILL))
    canvas[:, : size[0], : size[1]] = small
    return canvas, scale
