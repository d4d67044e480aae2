"""The seam every detector fills, the bundled one, and the choice among them."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from streamvis.detect.config import DetectorConfig
from streamvis.detect.head import Head, cells_of, decode
from streamvis.detect.postprocess import select_logits
from streamvis.encode import packed
from streamvis.encode.encoder import Encoder, Features
from streamvis.encode.sv_tiny import STRIDES
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
        calibration = bundle.manifest.calibration
        if calibration is not None:
            head.calibrate(calibration.scale, calibration.bias)
        self._head = for_inference(head, encoder.device, encoder.dtype)
        if encoder.device.type == "cpu" and packed.is_available():
            self._head.pack()
        width, height = encoder.input_size
        self._cells = cells_of((height // STRIDES[-1], width // STRIDES[-1]), encoder.device)

    @torch.inference_mode()
    def detect(self, images: Tensor, features: Features) -> list[Detections]:  # noqa: ARG002
        assert features.context is not None
        rows = self._head.rows(features.pyramid, features.context)
        raw = rows[..., self._head.num_classes :]

        def boxes_of(cell: Tensor) -> Tensor:
            chosen = raw.gather(1, cell[..., None].expand(-1, -1, 4))
            return decode(chosen.float(), self._cells[cell])

        return select_logits(rows[..., : self._head.num_classes], boxes_of, self._config)
