import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from streamvis.detect.config import DetectorConfig
from streamvis.detect.onnx_detector import OnnxDetector, letterbox
from streamvis.detect.onnx_yolox import COCO_INDEX, YoloxSession, to_our_classes
from streamvis.encode.encoder import Features
from streamvis.errors import WeightsError
from streamvis.types import CLASSES

DATA = Path(__file__).parents[3] / "shared/data"
YOLOX = DATA / "teachers/yolox_nano.onnx"
PICTURE = DATA / "train/images/openimages_00000.jpg"
needs_data = pytest.mark.skipif(not YOLOX.exists(), reason="../shared/data is not here")
NO_FEATURES = Features({}, torch.zeros(1, 1))


def test_coco_names_of_our_classes() -> None:
    assert list(COCO_INDEX) == list(CLASSES)
    score = np.arange(80, dtype=np.float32)[None]
    assert to_our_classes(score).tolist() == [[0, 1, 2, 3, 5, 7, 9, 11]]


def test_letterbox_is_top_left_bgr_on_grey() -> None:
    image = torch.zeros(100, 200, 3, dtype=torch.uint8)
    image[..., 0] = 250  # red
    canvas, scale = letterbox(image, 416, 416)
    assert scale == pytest.approx(2.08)
    assert canvas[:, 0, 0].tolist() == [0, 0, 250]
    assert canvas[:, 208:].unique().tolist() == [114]


def test_errors_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.onnx"
    with pytest.raises(WeightsError, match=r"no such model file; check the detector's `onnx`"):
        YoloxSession(path)
    path.write_bytes(b"not a model")
    with pytest.raises(WeightsError, match="not a model onnxruntime can load"):
        YoloxSession(path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(WeightsError, match=r"pip install onnxruntime"):
        YoloxSession(path)


class FakeSession:
    """onnxruntime's session, as far as its shapes."""

    def __init__(self, inputs: list[int | str], outputs: list[int]) -> None:
        self._shapes = inputs, outputs

    def get_inputs(self) -> list["Port"]:
        return [Port(self._shapes[0])]

    def get_outputs(self) -> list["Port"]:
        return [Port(self._shapes[1])]


class Port:
    name = "x"

    def __init__(self, shape: object) -> None:
        self.shape = shape


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ([1, 3, 416, 416], [1, 3549, 6], r"gives \[1, 3549, 85\], this one \[\[1, 3549, 6\]\]"),
        ([1, 3, "height", "width"], [1, 3549, 85], r"one fixed \[1, 3, H, W\] input"),
        ([1, 224, 224, 3], [1, 1000], r"one fixed \[1, 3, H, W\] input"),
    ],
)
def test_another_kind_of_model(
    inputs: list[int | str], outputs: list[int], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = FakeSession(inputs, outputs)
    monkeypatch.setattr("streamvis.detect.onnx_yolox._open", lambda *_: session)
    with pytest.raises(WeightsError, match=message):
        YoloxSession(Path("model.onnx"))


@needs_data
def test_yolox_finds_the_truck_at_any_picture_size() -> None:
    import cv2

    image = torch.from_numpy(cv2.imread(str(PICTURE))[:, :, ::-1].copy())  # 416x416
    detector = OnnxDetector(DetectorConfig(onnx=YOLOX, score=0.4))
    assert detector.model.name == "onnx/yolox_nano"
    (found,) = detector.detect(image[None], NO_FEATURES)
    doubled = image.repeat_interleave(2, 0).repeat_interleave(2, 1)
    (large,) = detector.detect(doubled[None], NO_FEATURES)
    np.testing.assert_allclose(found.xyxy[0], [92, 128, 372, 378], atol=20)  # as labelled
    np.testing.assert_allclose(large.xyxy[0], 2 * found.xyxy[0], atol=16)
