"""The frame number in the pixels."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamvis.source import framecode
from streamvis.source.framecode import FrameCode

DRIVE = Path(__file__).parents[2] / "pipelines" / "drives" / "street"
CAMERAS = ("front", "front_left", "left", "back")


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("width", "height"), [(320, 180), (640, 360), (960, 540), (1920, 1080)])
@pytest.mark.parametrize(("index", "camera"), [(0, 0), (1, 3), (0xABCD, 9), (0xFFFF, 15)])
def test_round_trip(width: int, height: int, index: int, camera: int) -> None:
    image = noise(width, height)
    framecode.write(image, index, camera)
    assert framecode.read(image) == FrameCode(index, camera)


def test_pictures_without_a_code_give_none() -> None:
    for seed in range(200):
        assert framecode.read(noise(640, 360, seed)) is None
    for tone in (0, 90, 255):
        assert framecode.read(np.full((360, 640, 3), tone, np.uint8)) is None


def test_any_single_wrong_cell_gives_none() -> None:
    edge = [round(k * 960 / framecode.CELLS_ACROSS) for k in range(framecode.NUM_CELLS + 1)]
    for left, right in pairwise(edge):
        image = noise(960, 540)
        framecode.write(image, 1234, 2)
        cell = image[: edge[1], left:right]
        cell[:] = 251 - cell
        assert framecode.read(image) is None


def test_reads_inside_a_letter_boxed_picture() -> None:
    image = noise(960, 540)
    framecode.write(image, 77, 1)
    boxed = np.zeros((384, 640, 3), np.uint8)
    boxed[:360] = cv2.resize(image, (640, 360), interpolation=cv2.INTER_AREA)
    assert framecode.read(boxed) == FrameCode(77, 1)
    narrow = np.zeros((384, 800, 3), np.uint8)
    narrow[:, :640] = boxed
    assert framecode.read(narrow, width=640) == FrameCode(77, 1)


def test_too_small_a_picture_gives_none() -> None:
    assert framecode.read(np.zeros((1, 2, 3), np.uint8)) is None
    with pytest.raises(ValueError, match="288 px"):
        framecode.write(np.zeros((100, 200, 3), np.uint8), 0, 0)


@pytest.mark.parametrize(("index", "camera"), [(-1, 0), (0, 16), (0, -1)])
def test_refuses_what_it_cannot_encode(index: int, camera: int) -> None:
    with pytest.raises(ValueError, match="cannot encode"):
        framecode.write(noise(640, 360), index, camera)


def test_survives_harsh_h264_and_scaling() -> None:
    """Noise at crf 40 is harder than any street."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=15, options={"crf": "40", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 960, 540, "yuv420p"
        for index in range(12):
            image = noise(960, 540, index)
            framecode.write(image, index * 5000, index)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as file:
        for index, frame in enumerate(file.decode(video=0)):
            small = frame.to_ndarray(format="rgb24", width=640, height=360)
            assert framecode.read(small) == FrameCode(index * 5000, index)


@pytest.mark.parametrize("camera", CAMERAS)
def test_every_frame_of_the_committed_drive_names_itself(camera: str) -> None:
    with av.open(str(DRIVE / f"{camera}.mp4")) as file:
        codes = [
            framecode.read(frame.to_ndarray(format="rgb24", width=640, height=360))
            for frame in file.decode(video=0)
        ]
    assert codes == [FrameCode(i, CAMERAS.index(camera)) for i in range(90)]
