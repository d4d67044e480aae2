"""The codec's motion vectors of real streams, in the encoder's pixels."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamvis.source.config import SourceConfig
from streamvis.source.open import open_source
from streamvis.types import Frame

SIZE = (320, 192)
STEP = (8, 4)  # source px a frame
H264 = {"bf": "0", "g": "5"}


def write_pan(path: Path, codec: str = "libx264", **options: str) -> Path:
    """A camera that pans over soft blobs, 640x352."""
    coarse = np.random.default_rng(0).integers(0, 256, (60, 100, 3), np.uint8)
    world = cv2.resize(coarse, (1000, 600), interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = 640, 352
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.options = options
        for i in range(7):
            x, y = (n * i for n in STEP)
            image = np.ascontiguousarray(world[y : y + 352, x : x + 640])
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def read(path: Path, with_motion: bool = True, **window: object) -> list[Frame]:
    config = SourceConfig.model_validate({"uri": str(path), **window})
    frames = []
    with closing(open_source("front", config, SIZE, with_motion)) as source:
        while len(frames) < 20 and source.grab() is not None:
            frame = source.retrieve(0)
            if frame is not None:
                frames.append(frame)
    return frames


@pytest.mark.parametrize(("codec", "options"), [("libx264", H264), ("mpeg4", {"g": "5"})])
def test_the_vectors_tell_where_each_block_was(tmp_path, codec, options):
    frames = read(write_pan(tmp_path / "pan.mp4", codec, **options))
    assert [frame.motion is None for frame in frames] == [i % 5 == 0 for i in range(7)], (
        "key frames"
    )
    for frame in frames:
        if frame.motion is not None:
            assert frame.motion.shape == (12, 20, 2)
            picture = frame.motion[:11]  # below it the letter-box
            assert np.abs(np.median(picture, axis=(0, 1)) - (16, 8)).max() <= 1, (
                "half size, in 1/4 px"
            )
            assert not frame.motion[-1].any(), "nobody says anything about the padding"


def test_who_does_not_ask_gets_none(tmp_path):
    frames = read(write_pan(tmp_path / "pan.mp4", **H264), with_motion=False)
    assert all(frame.motion is None for frame in frames)


def test_with_and_without_vectors_the_pictures_are_the_same(tmp_path):
    path = write_pan(tmp_path / "pan.mp4", **H264)
    for one, other in zip(read(path), read(path, with_motion=False), strict=True):
        assert np.array_equal(one.image, other.image)


@pytest.mark.parametrize(
    ("codec", "options"), [("libx264", {"bf": "2", "g": "7"}), ("mjpeg", {}), ("libvpx-vp9", {})]
)
def test_where_vectors_are_of_no_use_there_are_none(tmp_path, codec, options):
    """B-frames are not predicted from the picture shown before; other codecs do not tell."""
    frames = read(write_pan(tmp_path / "pan.mkv", codec, **options))
    assert len(frames) == 7
    assert all(frame.motion is None for frame in frames)


def test_a_looped_window_keeps_them(tmp_path):
    frames = read(write_pan(tmp_path / "pan.mp4", **H264), start="100ms", loop=True)
    assert [frame.motion is None for frame in frames[:8]] == [False] * 4 + [True] + [False] * 3
