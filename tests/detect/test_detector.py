from __future__ import annotations

import json
from pathlib import Path

import numpy as np
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


def test_a_calibration_in_the_manifest_maps_the_scores(
    untrained_weights: Path, tmp_path: Path
) -> None:
    plain, _ = score_noise(untrained_weights)
    path = tmp_path / "calibrated.safetensors"
    path.write_bytes(untrained_weights.read_bytes())
    manifest = json.loads(untrained_weights.with_suffix(".json").read_text())
    manifest["calibration"] = {"scale": [2.0] * 8, "bias": [1.0] * 8}
    path.with_suffix(".json").write_text(json.dumps(manifest))
    calibrated, boxes = score_noise(path)
    want = torch.from_numpy(plain).logit().mul(2).add(1).sigmoid()
    torch.testing.assert_close(torch.from_numpy(calibrated), want, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(boxes, score_noise(untrained_weights)[1], rtol=1e-4, atol=1e-3)


def score_noise(weights: Path) -> tuple[np.ndarray, np.ndarray]:
    """Scores and boxes of every cell, as a detector that drops nothing gives them."""
    config = EncoderConfig(weights=weights, input_size=(128, 64), device="cpu", dtype="fp32")
    encoder = build_encoder(config)
    detector = build_detector(DetectorConfig(score=0.0, nms_iou=1.0, max_detections=1000), encoder)
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (1, 64, 128, 3), dtype=torch.uint8, generator=generator)
    found = detector.detect(images, encoder.encode_full(images))[0]
    return found.score, found.xyxy
