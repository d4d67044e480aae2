"""The seam every detector fills, the bundled one, and the choice among them."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from streamvis.detect.config import DetectorConfig
from streamvis.detect.head import Head
from streamvis.detect.postprocess import select
from streamvis.encode.encoder import Encoder, Features
from streamvis.encode.sv_tiny_encoder import SvTinyEncoder, for_inference
from streamvis.errors import WeightsError
from streamvis.types import Detections, ModelId


class Detector(Protocol):
    model: ModelId

    def detect(self, images: Tensor, features: Features) -> list[Detections]:
        """uint8 [B, H, W, 3] RGB and their features -> detections per picture, boxes in the
        pixels of `images`, best first."""


def build_detector(config: DetectorConfig, encoder: Encoder) -> Detector:
    """Raises WeightsError when the model is missing, damaged, or does not fit the encoder."""
    if config.onnx is not None:
        from streamvis.detect.onnx_detector import OnnxDetector

        return OnnxDetector(config)
    if not isinstance(encoder, SvTinyEncoder):
        raise WeightsError(
            f"the bundled head was trained on sv_tiny, not on {encoder.model.name}; "
            "give `detector: {onnx: PATH}`, or use the encoder sv_tiny"
        )
    return HeadDetector(config, encoder)


class HeadDetector:
    """The head of the encoder's own weights bundle, on the encoder's pyramid and context."""

    def __init__(self, config: DetectorConfig, encoder: SvTinyEncoder) -> None:
        bundle = encoder.bundle
        self.model = bundle.model
        self._config = config
        head = Head(bundle.manifest.arch, len(bundle.manifest.classes))
        bundle.load_into(head, "head")
        self._head = for_inference(head, encoder.device, encoder.dtype)

    @torch.inference_mode()
    def detect(self, images: Tensor, features: Features) -> list[Detections]:  # noqa: ARG002
        logits, xyxy = self._head(features.pyramid, features.context)
        return select(logits.sigmoid(), xyxy, self._config)
