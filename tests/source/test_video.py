"""Video files and drives: real H.264 in, letter-boxed frames with honest times out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import PANDASET, SHARED, needs_real_data, write_clip
from opengl import needs_opengl

from streamvis.errors import SourceError
from streamvis.source import framecode
from streamvis.source.config import SourceConfig
from streamvis.source.open import open_source
from streamvis.source.synth.camera import RIG
from streamvis.types import LETTERBOX_FILL, Frame

SIZE = (256, 192)


def read_all(uri: Path | str, camera: str = "front", **extra):
    """(frames, source) after reading a source to its end."""
    source = open_source(camera, SourceConfig(uri=str(uri), **extra), SIZE)
    frames: list[Frame] = []
    while source.grab() is not None:
        frame = source.retrieve(t_ingest_ns=0)
        if frame is not None:
            frames.append(frame)
    source.close()
    return frames, source


def make_drive(folder: Path, **rig) -> Path:
    folder.mkdir()
    write_clip(folder / "front.mp4")
    (folder / "rig.json").write_text(json.dumps({"front": {"file": "front.mp4", **rig}}))
    return folder


def test_every_frame_comes_once_in_order_at_the_encoders_size(tmp_path):
    frames, source = read_all(write_clip(tmp_path / "a.mp4", num_frames=12))
    assert [frame.index for frame in frames] == list(range(12))
    assert (source.lost_source, source.lost_decode) == (0, 0)
    assert source.info.fps == 10
    assert frames[0].image.shape == (192, 256, 3)
    assert not any(frame.is_discont for frame in frames)


def test_the_picture_lies_top_left_and_the_rest_is_grey(tmp_path):
    (frame, *_), _ = read_all(write_clip(tmp_path / "a.mp4", size=(320, 180)))
    assert frame.letterbox.content_size == (256, 144)
    assert (frame.image[144:] == LETTERBOX_FILL).all()
    red = frame.image[20 * 4 // 5 + 4, 10]
    assert red[0] > 200
    assert red[1] < 90, "RGB, not BGR"


def test_boxes_go_back_to_source_pixels():
    from streamvis.types import LetterBox

    box = LetterBox(1280, 720, 640, 384)
    there = box.to_source(np.array([[0, 0, 640, 360], [10, 20, 30, 400]], np.float32))
    assert there.tolist() == [[0, 0, 1280, 720], [20, 40, 60, 720]]


def test_media_time_runs_with_the_declared_rate(tmp_path):
    source = open_source("a", SourceConfig(uri=str(write_clip(tmp_path / "a.mp4", fps=20))), SIZE)
    times_ms = []
    while (t_ns := source.grab()) is not None and len(times_ms) < 4:
        times_ms.append(t_ns / 1e6)
        source.retrieve(0)
    source.close()
    assert times_ms == [0, 50, 100, 150]


def test_a_drive_knows_when_each_frame_was_taken(tmp_path):
    stamps = [10**18 + 100 * i for i in range(12)]
    frames, _ = read_all(make_drive(tmp_path / "drive", capture_ns=stamps))
    assert [frame.capture.t_ns for frame in frames] == stamps
    assert {frame.capture.source for frame in frames} == {"device"}


def test_frames_that_a_drive_promises_but_lacks_are_lost_in_the_source(tmp_path):
    frames, source = read_all(make_drive(tmp_path / "drive", capture_ns=list(range(15))))
    assert len(frames) == 12
    assert source.lost_source == 3


def test_a_file_without_a_clock_says_so(tmp_path):
    frames, _ = read_all(write_clip(tmp_path / "a.mp4"))
    assert frames[0].capture.source == "none"


def test_max_frames_ends_a_source_without_loss(tmp_path):
    frames, source = read_all(write_clip(tmp_path / "a.mp4"), max_frames=5)
    assert len(frames) == 5
    assert source.lost_source == 0


def test_a_file_cut_in_the_middle_gives_what_it_has_and_counts_the_rest(tmp_path):
    whole = write_clip(tmp_path / "a.mp4", num_frames=40)
    data = whole.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    frames, source = read_all(tmp_path / "cut.mp4")
    assert 5 < len(frames) < 40
    assert len(frames) + source.lost_source + source.lost_decode == 40


def test_broken_bytes_in_the_middle_neither_crash_nor_go_uncounted(tmp_path):
    data = bytearray(write_clip(tmp_path / "a.mp4", num_frames=40).read_bytes())
    rng = np.random.default_rng(3)
    middle = slice(len(data) // 2, len(data) // 2 + 400)
    data[middle] = rng.integers(0, 255, 400, np.uint8).tobytes()
    (tmp_path / "bad.mp4").write_bytes(data)
    frames, source = read_all(tmp_path / "bad.mp4")
    assert len(frames) + source.lost_source + source.lost_decode == 40
    assert frames[-1].index == 39


@needs_opengl
def test_a_rendered_street_is_a_source_like_any_other():
    uri = "synth://street?seed=3&seconds=0.3&fps=10&size=320x180"
    source = open_source("left", SourceConfig(uri=uri, max_frames=2), (320, 192))
    assert source.grab() == 0
    first = source.retrieve(0)
    assert source.grab() == 100_000_000
    second = source.retrieve(0)
    assert source.grab() is None
    assert framecode.read(first.image) == framecode.FrameCode(0, list(RIG).index("left"))
    assert framecode.read(second.image).index == 1
    assert second.capture.t_ns - first.capture.t_ns == 100_000_000


@pytest.mark.parametrize("uri", ["synth://street?camera=roof", "synth://street?fast=1"])
def test_a_street_that_cannot_be_is_one_sentence(uri):
    with pytest.raises(SourceError, match=r"camera|setting"):
        open_source("left", SourceConfig(uri=uri), SIZE)


def bad_sources(tmp_path: Path):
    clip = write_clip(tmp_path / "good.mp4")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video " * 100)
    (tmp_path / "head.mp4").write_bytes(clip.read_bytes()[:200])
    (tmp_path / "folder").mkdir()
    drive = make_drive(tmp_path / "drive")
    broken = make_drive(tmp_path / "broken")
    (broken / "rig.json").write_text("{")
    gone = make_drive(tmp_path / "gone")
    (gone / "front.mp4").unlink()
    return {
        "missing": (tmp_path / "no.mp4", "front", "not_found", "no such file"),
        "empty": (tmp_path / "empty.mp4", "front", "empty", "is empty"),
        "text": (tmp_path / "text.mp4", "front", "corrupt", "not a video"),
        "cut in its head": (tmp_path / "head.mp4", "front", "no_video", "no video stream"),
        "no rig": (tmp_path / "folder", "front", "not_found", "rig.json"),
        "bad rig": (broken, "front", "error", "not valid JSON"),
        "no such camera": (drive, "rear", "not_found", "it has front"),
        "video gone": (gone, "front", "not_found", "no such video file"),
    }


def test_a_bad_source_is_one_sentence_with_a_typed_state(tmp_path):
    for name, (uri, camera, state, hint) in bad_sources(tmp_path).items():
        with pytest.raises(SourceError) as caught:
            read_all(uri, camera)
        assert caught.value.state == state, name
        assert hint in str(caught.value), name
        assert "\n" not in str(caught.value), name


@needs_real_data
@pytest.mark.parametrize("camera", ["front", "front_left", "left", "back"])
def test_the_real_drive_reads_whole(camera):
    frames, source = read_all(PANDASET, camera)
    assert len(frames) == 80
    assert source.lost_source == source.lost_decode == 0
    steps_ms = np.diff([frame.capture.t_ns for frame in frames]) / 1e6
    assert np.all(np.abs(steps_ms - 100) < 1)


@needs_real_data
def test_real_clips_of_other_makers_read_whole(tmp_path):
    for clip in sorted((SHARED / "drives/udacity").glob("*.mp4"))[:2]:
        frames, source = read_all(shutil.copy(clip, tmp_path))
        assert len(frames) == source.info.num_frames
