import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SHARED, STREET, needs_real_data

from streamvis.errors import SourceError
from streamvis.eval.labels import read_labels
from streamvis.types import CLASSES

Data = dict[str, Any]


def good() -> Data:
    return {
        "categories": [{"id": i + 10, "name": name} for i, name in enumerate(CLASSES)],
        "images": [
            {"id": 5, "camera": "left", "frame_index": 1, "width": 640, "height": 360},
            {"id": 3, "camera": "front", "frame_index": 4, "width": 320, "height": 180},
            {"id": 4, "camera": "left", "frame_index": 0, "width": 640, "height": 360},
        ],
        "annotations": [
            {"image_id": 5, "category_id": 12, "bbox": [10, 20, 30, 40], "track_id": 7},
            {"image_id": 5, "category_id": 10, "bbox": [0.5, 0, 9, 9], "track_id": 8, "iscrowd": 1},
        ],
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    def write(data: Any) -> Path:
        path = tmp_path / "labels.json"
        path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
        return path

    return write


def test_columns_of_a_frame(write: Callable[[Any], Path]) -> None:
    frame = read_labels(write(good())).frames["left", 1]
    np.testing.assert_array_equal(frame.xyxy, np.float32([[10, 20, 40, 60], [0.5, 0, 9.5, 9]]))
    assert [CLASSES[i] for i in frame.class_id] == ["car", "person"]
    assert frame.track_id.tolist() == [7, 8]
    assert frame.is_ignored.tolist() == [False, True]


def test_frames_are_in_order_of_camera_then_time(write: Callable[[Any], Path]) -> None:
    labels = read_labels(write(good()))
    assert list(labels.frames) == [("left", 0), ("left", 1), ("front", 4)]
    assert labels.cameras == ("left", "front")
    assert labels.size("front") == (320, 180)


def test_a_frame_without_objects_is_there(write: Callable[[Any], Path]) -> None:
    frame = read_labels(write(good())).frames["left", 0]
    assert frame.xyxy.shape == (0, 4)
    assert frame.track_id.dtype == np.int64


def test_classes_and_tracks_are_those_of_counted_boxes(write: Callable[[Any], Path]) -> None:
    data = good()
    del data["annotations"][1]["track_id"]  # ignored: needs none
    labels = read_labels(write(data))
    assert labels.classes == ("car",)
    assert labels.has_tracks
    del data["annotations"][0]["track_id"]
    assert not read_labels(write(data)).has_tracks


def test_labels_without_a_single_object(write: Callable[[Any], Path]) -> None:
    labels = read_labels(write(good() | {"annotations": []}))
    assert labels.classes == ()
    assert not labels.has_tracks


def test_only_some_frames(write: Callable[[Any], Path]) -> None:
    labels = read_labels(write(good())).only([("left", 1), ("left", 99)])
    assert list(labels.frames) == [("left", 1)]
    assert labels.cameras == ("left",)


def test_the_committed_drive() -> None:
    labels = read_labels(STREET / "labels.json")
    assert labels.cameras == ("front", "front_left", "left", "back")
    assert labels.classes == tuple(name for name in CLASSES if name != "bus")
    assert labels.has_tracks
    labels.check_camera("front", 90, (960, 540))


@needs_real_data
def test_real_drives() -> None:
    toll_road = read_labels(SHARED / "drives/tollroad_day/labels.json")
    assert (toll_road.cameras, toll_road.has_tracks) == (("gantry",), False)
    assert toll_road.classes == ("car", "bus", "truck")
    street = read_labels(SHARED / "drives/pandaset_002/labels.json")
    assert (street.cameras, street.has_tracks) == (("front", "left"), True)
    street.check_camera("front", 80, (1280, 720))


def change(*path: Any, to: Any) -> Callable[[Data], None]:
    def apply(data: Data) -> None:
        for step in path[:-1]:
            data = data[step]
        data[path[-1]] = to

    return apply


def drop(*path: Any) -> Callable[[Data], None]:
    def apply(data: Data) -> None:
        for step in path[:-1]:
            data = data[step]
        del data[path[-1]]

    return apply


BAD = {
    "no images": (change("images", to=[]), "`images` is empty"),
    "no categories": (change("categories", to=[]), "`categories` is empty"),
    "no annotations key": (drop("annotations"), "annotations: Field required"),
    "no camera": (drop("images", 1, "camera"), r"images\.1\.camera: Field required"),
    "no width": (drop("images", 2, "width"), r"images\.2\.width"),
    "negative frame": (change("images", 0, "frame_index", to=-1), r"images\.0\.frame_index"),
    "frame twice": (change("images", 0, "frame_index", to=0), "images 0 and 2 are both frame 0"),
    "id twice": (change("images", 2, "id", to=5), "images 0 and 2 both have the id 5"),
    "two sizes": (change("images", 2, "width", to=641), r"images\.2 is 641x360 px.* 640x360"),
    "unknown image": (change("annotations", 1, "image_id", to=99), r"annotations\.1 .*image 99"),
    "unknown category": (
        change("annotations", 0, "category_id", to=99),
        r"annotations\.0 has category 99",
    ),
    "unknown class": (
        change("categories", 2, "name", to="tank"),
        r"annotations\.0 has the class 'tank'; rename it to one of person, ",
    ),
    "three numbers": (
        change("annotations", 0, "bbox", to=[1, 2, 3]),
        r"annotations\.0\.bbox: a bbox has four numbers: x, y, width, height; export",
    ),
    "five numbers": (
        change("annotations", 1, "bbox", to=[1, 2, 3, 4, 5]),
        r"annotations\.1\.bbox: a bbox has four numbers",
    ),
    "not a number": (
        change("annotations", 0, "bbox", 3, to=float("nan")),
        r"annotations\.0\.bbox\.3: Input should be a finite number",
    ),
    "negative size": (
        change("annotations", 1, "bbox", 2, to=-4),
        r"annotations\.1 has a box of negative size",
    ),
    "track twice": (
        change("annotations", 1, "track_id", to=7),
        "frame 1 of camera 'left' has track 7 more than once",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), BAD.values(), ids=BAD.keys())
def test_bad_labels_say_where(
    spoil: Callable[[Data], None], message: str, write: Callable[[Any], Path]
) -> None:
    data = good()
    spoil(data)
    with pytest.raises(SourceError, match=message) as caught:
        read_labels(write(data))
    assert caught.value.state == "corrupt"
    assert str(caught.value).startswith(str(write(data)))


@pytest.mark.parametrize("text", ["[]", "null", '"labels"'])
def test_not_an_object(text: str, write: Callable[[Any], Path]) -> None:
    with pytest.raises(SourceError, match="a JSON object with images, annotations and categories"):
        read_labels(write(text))


def test_labels_of_a_camera_that_the_drive_has_not(write: Callable[[Any], Path]) -> None:
    path = write(good())
    assert read_labels(path, ("left", "front")).cameras == ("left", "front")
    message = r"labels\.json: images\.1 is of camera 'front', .*; rig\.json has left, back"
    with pytest.raises(SourceError, match=message):
        read_labels(path, ("left", "back"))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"labels"'])
def test_not_a_labels_file(text: str, write: Callable[[Any], Path]) -> None:
    with pytest.raises(SourceError, match=r"labels\.json: .*; export") as caught:
        read_labels(write(text))
    assert caught.value.state == "corrupt"


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"needs a drive with labels\.json") as caught:
        read_labels(tmp_path / "labels.json")
    assert caught.value.state == "not_found"


def test_labels_must_fit_the_video(write: Callable[[Any], Path]) -> None:
    labels = read_labels(write(good()))
    labels.check_camera("front", 5, (320, 180))
    with pytest.raises(SourceError, match=r"'front' has labels for frame 4, and .* only 4 frames"):
        labels.check_camera("front", 4, (320, 180))
    with pytest.raises(SourceError, match=r"'front' are for 320x180 px .* has 1280x720 px"):
        labels.check_camera("front", 5, (1280, 720))
    with pytest.raises(SourceError, match="'back' has no labels; those that have are left, front"):
        labels.check_camera("back", 5, (320, 180))
