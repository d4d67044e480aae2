from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from streamvis.config.load import load_config
from streamvis.detect.onnx_yolox import yolox_cells
from streamvis.errors import ConfigError
from streamvis.train.config import DataConfig, TrainConfig
from streamvis.train.pictures import load_pictures, split
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


def write_coco(folder: Path, boxes: list[Any], **image: Any) -> Path:
    """One picture of 100x80 px with these (class number, bbox)."""
    (folder / "images").mkdir(parents=True)
    cv2.imwrite(str(folder / "images/0.png"), np.full((80, 100, 3), 90, np.uint8))
    rows = [
        {"id": i, "image_id": 7, "category_id": category, "bbox": bbox}
        for i, (category, bbox) in enumerate(boxes)
    ]
    write_annotations(folder, [{"id": 7, "file_name": "0.png", **image}], rows)
    return folder


def write_annotations(folder: Path, images: list[Any], rows: list[Any]) -> None:
    categories = [{"id": n + 1, "name": name} for n, name in enumerate(CLASSES)]
    data = {"categories": categories, "images": images, "annotations": rows}
    (folder / "annotations.json").write_text(json.dumps(data))


BAD_BOXES = {
    "boxes that are not four numbers": [[], None, [1, 2, 3], ["a", 1, 2, 3]],
    "boxes without area": [[10, 10, 0, 5], [10, 10, 5, -5], [float("nan"), 1, 2, 3]],
    "boxes outside their picture": [[100, 10, 5, 5], [10, -20, 5, 10], [-9, 90, 5, 5]],
}


def test_bad_boxes_are_left_out_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = [box for boxes in BAD_BOXES.values() for box in boxes]
    folder = write_coco(tmp_path / "a", [*((3, box) for box in bad), (3, [10, 20, 30, 40])])
    (picture,) = load_pictures([DataConfig(coco=folder)])
    assert picture.xyxy.tolist() == [[10, 20, 40, 60]]
    assert picture.class_id.tolist() == [CLASSES.index("car")]
    (record,) = caplog.records
    for reason, boxes in BAD_BOXES.items():
        assert f"{len(boxes)} {reason} (first: annotation " in record.getMessage()


def test_a_box_half_outside_ends_at_the_pictures_edge(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "a", [(3, [-10, 60, 30, 40]), (3, [90, -5, 20, 20])])
    (picture,) = load_pictures([DataConfig(coco=folder)])
    assert picture.xyxy.tolist() == [[0, 60, 20, 80], [90, 0, 100, 15]]


def test_a_picture_without_boxes_is_background(tmp_path: Path) -> None:
    (picture,) = load_pictures([DataConfig(coco=write_coco(tmp_path / "a", []))])
    assert picture.xyxy.shape == (0, 4)
    assert picture.class_id.shape == (0,)
    assert picture.labelled.all(), "all categories, where the picture does not say which"


def test_an_unknown_category_is_ignored_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_coco(tmp_path / "a", [(99, [10, 20, 30, 40])], labelled=["car", "boat"])
    (picture,) = load_pictures([DataConfig(coco=folder)])
    assert picture.class_id.tolist() == [-1]
    assert picture.labelled.tolist() == [name == "car" for name in CLASSES]
    assert "1 classes of boxes, in no category (first: annotation 0)" in caplog.text


def test_unreadable_pictures_are_left_out_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_coco(tmp_path / "a", [])
    (folder / "images/1.png").write_bytes(b"not a picture")
    names = ["0.png", "1.png", "gone.png"]
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    write_annotations(folder, images, [])
    assert len(load_pictures([DataConfig(coco=folder)])) == 1
    (record,) = caplog.records
    assert "left out: 2 unreadable pictures (first: 1.png)" in record.getMessage()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "not in COCO's form"),
        ('{"categories": [], "annotations": []}', r"images: Field required"),
        (
            '{"categories": [], "annotations": [], "images": [{"id": 1}]}',
            r"images\.0\.file_name: Field required",
        ),
    ],
)
def test_annotations_of_another_form(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_pictures([DataConfig(coco=tmp_path)])


def test_a_source_of_weight_zero_is_not_even_read(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "a", [], source="one")
    assert load_pictures([DataConfig(coco=folder, source_weights={"one": 0})]) == []
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        DataConfig(coco=folder, source_weights={"one": -1})


def make_sources() -> list[dict[str, Any]]:
    """Two sources; within each, pictures with neighbouring numbers look alike."""
    return [
        {"id": 100 * s + i, "file_name": f"{name}_{i:05d}.jpg", "source": name}
        for s, (name, count) in enumerate({"street": 40, "road": 25}.items())
        for i in range(count)
    ]


def test_the_split_depends_on_the_names_only() -> None:
    images = make_sources()
    kept, held = split(images, 0.1)
    random.Random(0).shuffle(images)
    again = split(images, 0.1)
    assert sorted(kept + held, key=lambda i: i["id"]) == sorted(images, key=lambda i: i["id"])
    assert {i["id"] for i in again[1]} == {i["id"] for i in held}
    assert split(images, 0.0)[1] == []


def test_what_is_held_out_is_the_end_of_each_clip() -> None:
    kept, held = split(make_sources(), 0.1)
    for name, count in (("street", 4), ("road", 2)):
        mine = [image["file_name"] for image in held if image["source"] == name]
        assert len(mine) == count
        assert min(mine) > max(i["file_name"] for i in kept if i["source"] == name)


def test_training_never_sees_what_is_held_out(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    images = make_sources()
    for image in images:
        grey = np.full((8, 8, 3), image["id"] % 256, np.uint8)
        cv2.imwrite(
            str(tmp_path / "images" / image["file_name"]), grey, [cv2.IMWRITE_JPEG_QUALITY, 100]
        )
    write_annotations(tmp_path, images, [])
    pictures = load_pictures([DataConfig(coco=tmp_path, hold_out=0.1)])
    shades = {int(picture.image[0, 0, 0]) for picture in pictures}
    kept, held = split(images, 0.1)
    assert shades == {image["id"] for image in kept}
    assert not shades & {image["id"] for image in held}


def test_views_are_at_least_one_batch() -> None:
    with pytest.raises(ValidationError, match="views 8 is less than one batch of 16"):
        TrainConfig(out=Path("o"), data=[DataConfig(video=Path("v"))], teacher=Path("t"), views=8)


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
