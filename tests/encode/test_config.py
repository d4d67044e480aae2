import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from streamvis.detect.config import DetectorConfig
from streamvis.encode.config import EncoderConfig


def test_size_must_be_whole_tiles_and_says_the_nearest() -> None:
    with pytest.raises(ValidationError, match=r"64 px tile, got 640x360; the nearest is 640x384"):
        EncoderConfig(input_size=(640, 360))


@pytest.mark.parametrize("name", ["sv_huge", "resnet50"])
def test_name_is_ours_or_timms(name: str) -> None:
    with pytest.raises(ValidationError, match="sv_tiny, timm/<name> or none"):
        EncoderConfig(name=name)


def test_configs_load_without_torch() -> None:
    code = (
        "import sys, streamvis.encode.config, streamvis.detect.config;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_encoder_needs_a_detector_that_reads_pictures() -> None:
    with pytest.raises(ValueError, match=r"give detector\.onnx"):
        DetectorConfig().check_encoder("none")
    DetectorConfig(onnx=Path("a.onnx")).check_encoder("none")
