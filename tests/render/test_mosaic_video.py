from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamvis.errors import OutputError, WireError
from streamvis.render.jpeg import encode_jpeg
from streamvis.render.mosaic_video import MosaicVideo
from streamvis.render.picture import Picture
from streamvis.types import CLASSES, Detections, TilePlan

CAMERAS = ["front", "left", "right", "back"]
CELL = (160, 90)
SOURCE_SIZE = (1280, 720)
FRAME_NS = 100_000_000
MAGENTA = (255, 0, 255)


def canvas(level: int) -> bytes:
    """The encoder's input 320x192: content 320x180 of one level, magenta padding below."""
    picture = np.full((192, 320, 3), level, np.uint8)
    picture[180:] = MAGENTA
    return encode_jpeg(picture)


def see(num_boxes: int, track_id: int = 1) -> Detections:
    boxes = [[640 + 40 * k, 400, 960 + 40 * k, 640] for k in range(num_boxes)]
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(num_boxes, 0.9, np.float32),
        np.full(num_boxes, CLASSES.index("car"), np.int32),
        np.arange(track_id, track_id + num_boxes, dtype=np.int64),
    )


def feed(video: MosaicVideo, frames: Iterable[tuple[str, int]]) -> None:
    for camera, k in frames:
        video.see_image(camera, k, canvas(20 + 4 * k))
        video.see_detections(camera, k, see(0), SOURCE_SIZE, k * FRAME_NS)


def read(path: Path) -> list[Picture]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def level(picture: Picture, camera: str) -> float:
    """The median brightness of the camera's cell."""
    row, col = divmod(CAMERAS.index(camera), 2)
    y, x = 4 + row * (CELL[1] + 4), 4 + col * (CELL[0] + 4)
    return float(np.median(picture[y : y + CELL[1], x : x + CELL[0]]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out" / "run.mp4"


def make(path: Path) -> MosaicVideo:
    return MosaicVideo(path, CAMERAS, cell_size=CELL)


def test_every_frame_of_every_camera_in_its_place(path: Path) -> None:
    video = make(path)
    feed(video, [(camera, k) for k in range(20) for camera in CAMERAS])
    assert video.close() == 20
    pictures = read(path)
    assert len(pictures) == 20
    for k, picture in enumerate(pictures):
        assert picture.shape == (2 * 94 + 4, 2 * 164 + 4, 3)
        for camera in CAMERAS:
            assert level(picture, camera) == pytest.approx(20 + 4 * k, abs=3)
    assert sorted(p.name for p in path.parent.iterdir()) == ["run.mp4", "run.png"]


def test_the_padding_is_cropped(path: Path) -> None:
    video = make(path)
    feed(video, [(camera, k) for k in range(4) for camera in CAMERAS])
    video.close()
    red, green, blue = cv2.imread(str(video.still_path))[:, :, ::-1].astype(int).transpose(2, 0, 1)
    assert not ((red - green > 60) & (blue - green > 60)).any()


def test_the_order_of_arrival_does_not_matter(path: Path) -> None:
    frames = [(camera, k) for k in range(20) for camera in CAMERAS]
    straight = make(path)
    feed(straight, frames)
    straight.close()

    halves = [(kind, *frame) for frame in frames for kind in ("image", "result")]
    rng = random.Random(3)  # each stream in order, but up to 6 frames behind the others
    lag = {(kind, camera): rng.uniform(0, 6) for kind, camera, _ in halves}
    halves.sort(key=lambda half: half[2] + lag[half[:2]])
    mixed = make(path.with_name("mixed.mp4"))
    for kind, camera, k in halves:
        if kind == "image":
            mixed.see_image(camera, k, canvas(20 + 4 * k))
        else:
            mixed.see_detections(camera, k, see(0), SOURCE_SIZE, k * FRAME_NS)
    mixed.close()
    assert mixed.path.read_bytes() == straight.path.read_bytes()
    assert mixed.still_path.read_bytes() == straight.still_path.read_bytes()


def test_boxes_land_on_the_picture(path: Path) -> None:
    """Source 1280x720 to a cell of 160x90: an eighth."""
    video = make(path)
    for k in range(4):
        video.see_image("front", k, canvas(0))
        video.see_detections("front", k, see(1), SOURCE_SIZE, k * FRAME_NS)
    video.close()
    cell = cv2.imread(str(video.still_path))[4:94, 4:164].max(axis=2)
    assert (cell[70, [80, 119]] > 150).all()  # the left and the right edge
    assert cell[70, [76, 124]].max() < 20


def test_the_still_is_the_fullest_tick_past_the_first_quarter(path: Path) -> None:
    counts = [9, 9, 0, 1, 2, 6, 6, 0, 3, 2, 1, 0]
    video = make(path)
    for k, count in enumerate(counts):
        video.see_image("front", k, canvas(10 * k))
        video.see_detections("front", k, see(count), SOURCE_SIZE, k * FRAME_NS)
    assert video.close() == len(counts)
    still = cv2.imread(str(video.still_path))
    assert np.median(still[10:40, 10:60]) == pytest.approx(
        60, abs=2
    )  # frame 6: the later of equals


def test_weak_detections_are_shown_only_on_tracks(path: Path) -> None:
    pictures = []
    for name, track_id in (("loose", -1), ("tracked", 5)):
        video = make(path.with_name(f"{name}.mp4"))
        weak = Detections(
            see(1).xyxy, np.array([0.1], np.float32), see(1).class_id, np.array([track_id])
        )
        video.see_image("front", 0, canvas(0))
        video.see_detections("front", 0, weak, SOURCE_SIZE, 0)
        video.close()
        pictures.append(cv2.imread(str(video.still_path))[4:94, 4:164])
    assert pictures[0][:60].max() < 20
    assert pictures[1][:60].max() > 150


def test_a_camera_that_ends_and_one_that_never_comes(path: Path) -> None:
    video = make(path)
    feed(video, [(c, k) for k in range(40) for c in CAMERAS[:3] if c != "left" or k < 10])
    assert video.close() == 40
    last = read(path)[-1]
    assert level(last, "front") == pytest.approx(20 + 4 * 39, abs=3)
    assert level(last, "left") == pytest.approx(level(last, "back"), abs=3)
    assert level(last, "left") < 50


def test_halves_that_never_meet_do_not_pile_up(path: Path) -> None:
    video = make(path)
    for k in range(500):
        video.see_image("front", k, canvas(0))
        video.see_detections("left", k, see(0), SOURCE_SIZE, k * FRAME_NS)
    waiting = [*video._images.values(), *video._results.values()]
    assert max(map(len, waiting)) == 64
    assert video.close() == 0


def test_no_frames_no_files(path: Path) -> None:
    assert make(path).close() == 0
    assert list(path.parent.iterdir()) == []


def test_discard_leaves_nothing(path: Path) -> None:
    video = make(path)
    feed(video, [(camera, k) for k in range(20) for camera in CAMERAS])
    video.discard()
    assert list(path.parent.iterdir()) == []


def test_a_place_that_cannot_be_written_is_found_at_once(path: Path) -> None:
    path.with_suffix(".png").mkdir(parents=True)
    with pytest.raises(OutputError, match="it is a folder"):
        make(path)


def test_a_broken_picture_is_named(path: Path) -> None:
    video = make(path)
    video.see_image("front", 0, b"not a picture")
    video.see_detections("front", 0, see(0), SOURCE_SIZE, 0)
    with pytest.raises(WireError, match="should be a JPEG"):
        video.close()


def plan_of(*encoded: int) -> TilePlan:
    """3x5 tiles of 64 px: the grid of the canvas."""
    return TilePlan(
        *(3, 5, 64, "P"),
        index=np.array(encoded, np.int32),
        motion=np.zeros((0, 2), np.int16),
        score=np.zeros(15, np.float32),
        age=np.zeros(15, np.int32),
    )


def test_tile_maps_wait_for_the_plan_and_show_it(path: Path) -> None:
    video = MosaicVideo(path, CAMERAS, cell_size=CELL, shows_tiles=True)
    for k in range(6):
        feed(video, [("front", k)])
        video.see_plan("front", k, plan_of(0))
    feed(video, [("front", 6)])  # its plan was lost
    assert video.close() == 6
    for k, picture in enumerate(read(path)):
        assert picture.shape == (2 * 94 + 4 + 28, 2 * 164 + 4, 3)
        cell = picture[4:94, 4:164].mean(axis=2)
        bright, dark = np.median(cell[6:26, 6:26]), np.median(cell[40:60, 100:140])
        assert bright == pytest.approx(0.9 * (20 + 4 * k) + 15, abs=5)
        assert dark == pytest.approx(0.5 * (20 + 4 * k) + 9, abs=5)
