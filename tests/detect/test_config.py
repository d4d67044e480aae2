import pytest
from pydantic import ValidationError

from streamvis.detect.config import DetectorConfig


def test_the_bundled_head_is_the_default() -> None:
    assert DetectorConfig().head == "bundled"


def test_decode_belongs_to_onnx() -> None:
    with pytest.raises(ValidationError, match="give onnx too"):
        DetectorConfig.model_validate({"decode": "yolox"})
