from pathlib import Path

import pytest
from pydantic import ValidationError

from streamvis.detect.config import DetectorConfig


def test_the_bundled_head_is_the_default() -> None:
    assert DetectorConfig().head == "bundled"
    assert DetectorConfig(onnx=Path("a.onnx")).head is None


def test_head_or_onnx() -> None:
    with pytest.raises(ValidationError, match="either head or onnx, not both"):
        DetectorConfig(head="bundled", onnx=Path("a.onnx"))


def test_decode_belongs_to_onnx() -> None:
    with pytest.raises(ValidationError, match="give onnx too"):
        DetectorConfig.model_validate({"decode": "yolox"})
