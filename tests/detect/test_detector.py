from pathlib import Path

import pytest
import torch

from streamvis.detect.config import DetectorConfig
from streamvis.detect.detector import build_detector
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import Features, build_encoder
from streamvis.errors import WeightsError
from streamvis.types import ModelId


class OtherEncoder:
    model = ModelId("timm/other", "")
    input_size = (128, 64)
    tile_px = 64
    device = torch.device("cpu")
    dtype = torch.float32

    def encode_full(self, images: torch.Tensor) -> Features:
        raise NotImplementedError


def test_the_head_comes_from_its_encoders_bundle(untrained_weights: Path) -> None:
    config = EncoderConfig(weights=untrained_weights, input_size=(128, 64), device="cpu")
    encoder = build_encoder(config)
    detector = build_detector(DetectorConfig(score=0.0, max_detections=5), encoder)
    images = torch.zeros(2, 64, 128, 3, dtype=torch.uint8)
    found = detector.detect(images, encoder.encode_full(images))
    assert [len(f) for f in found] == [5, 5]
    assert detector.model == encoder.model


def test_bundled_head_needs_its_encoder() -> None:
    with pytest.raises(WeightsError, match="trained on sv_tiny, not on timm/other"):
        build_detector(DetectorConfig(), OtherEncoder())


def test_onnx_detector_takes_any_encoder(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such model file"):
        build_detector(DetectorConfig(onnx=tmp_path / "no.onnx"), OtherEncoder())
