import json
from pathlib import Path

import av
import numpy as np
import pytest
from pydantic import ValidationError

from streamvis.config.load import load_config
from streamvis.detect.onnx_yolox import yolox_cells
from streamvis.errors import ConfigError
from streamvis.train.config import DataConfig, TrainConfig
from streamvis.train.pictures import load_pictures
from streamvis.train.teacher import Teacher
from streamvis.types import CLASSES

ROOT = Path(__file__).parents[2]


def write_video(path: Path, num_frames: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for i in range(num_frames):
            image = np.full((720, 1280, 3), 20 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def test_exactly_one_place() -> None:
    with pytest.raises(ValidationError, match="exactly one of coco, drive and video"):
        DataConfig(coco=Path("a"), video=Path("b"))


def test_the_shipped_config_is_valid() -> None:
    config = load_config(ROOT / "configs/train/sv_tiny.yaml", TrainConfig)
    paths = [str(entry.coco or entry.drive or entry.video) for entry in config.data]
    test_only = ("pandaset", "dgp_frames", "tollroad_day")
    assert not any(name in path for path in paths for name in test_only)


def test_video_frames_are_unlabelled_and_scaled_down(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 7)
    pictures = load_pictures([DataConfig(video=tmp_path / "a.mp4", every=3)])
    assert [round(float(p.image.mean()) / 20) for p in pictures] == [0, 3, 6]
    assert pictures[0].image.shape == (360, 640, 3)
    assert not pictures[0].labelled.any()


def test_drive_boxes_are_scaled_with_their_frame(tmp_path: Path) -> None:
    write_video(tmp_path / "front.mp4", 3)
    (tmp_path / "rig.json").write_text(json.dumps({"front": {"file": "front.mp4"}}))
    labels = {
        "categories": [{"id": 1, "name": "person"}, {"id": 9, "name": "boat"}],
        "images": [{"id": 5, "camera": "front", "frame_index": 1}],
        "annotations": [
            {"image_id": 5, "category_id": 1, "bbox": [100, 50, 20, 60], "iscrowd": 0},
            {"image_id": 5, "category_id": 1, "bbox": [0, 0, 20, 60], "iscrowd": 1},
            {"image_id": 5, "category_id": 9, "bbox": [0, 0, 20, 60], "iscrowd": 0},
        ],
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    (picture,) = load_pictures([DataConfig(drive=tmp_path)])
    assert picture.xyxy[0].tolist() == [50, 25, 60, 55]
    assert picture.class_id.tolist() == [CLASSES.index("person"), -1, -1]
    assert picture.labelled.all()


def test_missing_video(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such video"):
        load_pictures([DataConfig(video=tmp_path / "no.mp4")])


class CornerSession:
    """A detector of 128x128 px whose boxes are its cells' corners."""

    height = width = 128

    def __init__(self, *_: object, **__: object) -> None:
        corners, strides = yolox_cells(self.height, self.width)
        self.xyxy = np.tile(corners * strides, 2)

    def run(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert image[0, 63, 63] == 3  # blue first
        assert image[0, 64, 64] == 114
        return self.xyxy, np.zeros((len(self.xyxy), 80), np.float32)


def test_the_teachers_cells_are_the_viewsyolox_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamvis.train.teacher.YoloxSession", CornerSession)
    opinion = Teacher(Path("x.onnx")).look(np.full((64, 64, 3), (1, 2, 3), np.uint8))
    corners, strides = yolox_cells(64, 64)
    assert opinion.xyxy[:, :2].tolist() == (corners * strides).tolist()
    assert opinion.score.shape == (84, len(CLASSES))
    assert opinion.presence.shape == (80,)
