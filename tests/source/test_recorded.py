"""What a source hands out of its bitstream is enough to see again exactly what it saw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import SHARED, STREET, needs_real_data
from unit_recording import read_source, record_units

from streamvis.errors import SourceError
from streamvis.source.config import SourceConfig
from streamvis.source.open import open_source
from streamvis.types import CaptureTime, Frame

SIZE = (256, 192)


def write_video(path: Path, codec: str, num_frames: int = 16, **options: str) -> Path:
    """Moving noise-free squares, in any codec and container."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = 320, 192
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.options = options
        for i in range(num_frames):
            image = np.full((192, 320, 3), 90, np.uint8)
            image[20:80, 12 * i % 260 : 12 * i % 260 + 60] = (250, 40, 8 * i % 256)
            packets = stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24"))
            container.mux(packets)
        container.mux(stream.encode())
    return path


def open_front(uri: Path | str, **extra):
    return open_source("front", SourceConfig(uri=str(uri), **extra), SIZE)


def see_again(tmp_path: Path, source) -> tuple[list[Frame], list[Frame]]:
    frames, units = read_source(source)
    again, _ = read_source(open_front(record_units(tmp_path / "0000.mcap", units)))
    return frames, again


def assert_same(frames: list[Frame], again: list[Frame]) -> None:
    assert len(frames) == len(again) > 0
    for a, b in zip(frames, again, strict=True):
        for name in ("index", "pts", "time_base", "lost_decode", "is_discont", "is_corrupt"):
            assert getattr(a, name) == getattr(b, name), name
        assert a.letterbox == b.letterbox
        np.testing.assert_array_equal(a.image, b.image)


X264 = {"bf": "0", "g": "5", "preset": "ultrafast"}
CASES = {
    "h264 in mp4": ("a.mp4", "libx264", X264),
    "h264 in mpeg-ts": ("a.ts", "libx264", X264),
    "h264 with B-frames": ("a.mp4", "libx264", {"bf": "3", "g": "8"}),
    "hevc in mp4": ("a.mp4", "libx265", {"x265-params": "bframes=0:keyint=5:log-level=none"}),
    "hevc with B-frames": ("a.mkv", "libx265", {"x265-params": "bframes=3:log-level=none"}),
    "mjpeg": ("a.mkv", "mjpeg", {}),
    "mpeg4": ("a.mp4", "mpeg4", {"g": "8"}),
    "vp9": ("a.webm", "libvpx-vp9", {"deadline": "realtime"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_recorded_bitstream_gives_the_same_frames(case, tmp_path):
    name, codec, options = CASES[case]
    clip = write_video(tmp_path / name, codec, **options)
    frames, units = read_source(open_front(clip))
    assert len(frames) == len(units) == 16
    assert units[0].is_reordered == ("B-frames" in case)
    again, same_units = read_source(open_front(record_units(tmp_path / "r.mcap", units)))
    assert_same(frames, again)
    assert same_units == units, "a replay can be recorded again"


@pytest.mark.parametrize("case", [name for name in CASES if name.startswith(("h264", "hevc"))])
def test_every_key_frame_can_be_decoded_alone(case, tmp_path):
    """Annex-B, with parameter sets in band."""
    name, codec, options = CASES[case]
    _, units = read_source(open_front(write_video(tmp_path / name, codec, **options)))
    for unit in [u for u in units if u.is_key]:
        assert unit.extradata == b""
        assert unit.data.startswith((b"\0\0\1", b"\0\0\0\1"))
        decoder = av.CodecContext.create(unit.codec, "r")
        pictures = [*decoder.decode(av.Packet(unit.data)), *decoder.decode(None)]
        assert len(pictures) == 1


def test_a_unit_knows_when_its_picture_was_taken(tmp_path):
    frames, units = read_source(open_front(STREET, max_frames=6))
    assert [u.capture for u in units] == [f.capture for f in frames]
    again, _ = read_source(open_front(record_units(tmp_path / "r.mcap", units)))
    assert [f.capture for f in again] == [f.capture for f in frames]
    assert frames[0].capture.source == "device"


def test_units_cost_nothing_when_nobody_asks(monkeypatch, tmp_path):
    clip = write_video(tmp_path / "a.mp4", "libx264", **X264)
    source = open_front(clip)
    monkeypatch.setattr("streamvis.source.video.UnitWriter", None)
    assert source.grab() is not None
    assert source.retrieve(0) is not None


def test_pictures_that_could_not_be_decoded_are_lost_again(tmp_path):
    data = bytearray(write_video(tmp_path / "a.mp4", "libx264", 40, **X264).read_bytes())
    middle = slice(len(data) // 2, len(data) // 2 + 300)
    data[middle] = np.random.default_rng(3).integers(0, 255, 300, np.uint8).tobytes()
    (tmp_path / "bad.mp4").write_bytes(data)
    assert_same(*see_again(tmp_path, open_front(tmp_path / "bad.mp4")))


def test_frames_that_were_not_recorded_are_missing_and_keep_their_numbers(tmp_path):
    """A gap costs the frames up to the next key frame: they would be decoded wrongly."""
    clip = write_video(tmp_path / "a.mp4", "libx264", **X264)  # keys at 0, 5, 10, 15
    frames, units = read_source(open_front(clip))
    kept = [unit for unit in units if unit.index not in (6, 7)]
    source = open_front(record_units(tmp_path / "r.mcap", kept))
    again, _ = read_source(source)
    assert [f.index for f in again] == [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]
    assert (source.lost_source, source.lost_decode) == (4, 0)
    np.testing.assert_array_equal(again[6].image, frames[10].image)


def test_a_recording_that_began_late_starts_at_its_first_key_frame(tmp_path):
    _, units = read_source(open_front(write_video(tmp_path / "a.mp4", "libx264", **X264)))
    source = open_front(record_units(tmp_path / "r.mcap", units[3:]))
    again, _ = read_source(source)
    assert [f.index for f in again] == list(range(5, 16))
    assert {f.num_skipped for f in again} == {5}
    assert (source.lost_source, source.lost_decode) == (0, 0)


def test_a_recording_can_be_looped_and_cut(tmp_path):
    _, units = read_source(open_front(write_video(tmp_path / "a.mp4", "libx264", **X264)))
    path = record_units(tmp_path / "r.mcap", units)
    frames, _ = read_source(open_front(path, start="500ms", end="800ms", loop=True, max_frames=7))
    assert [f.index for f in frames] == [5, 6, 7, 8, 9, 10, 11]
    assert [f.is_discont for f in frames] == [False, False, False, True, False, False, True]


def test_a_camera_without_video_is_one_sentence(tmp_path):
    path = record_units(tmp_path / "r.mcap", [])
    with pytest.raises(SourceError, match="no camera 'front'"):
        open_front(path)
    _, units = read_source(open_front(write_video(tmp_path / "a.mp4", "libx264", **X264)))
    other = [replace(u, is_key=False, capture=CaptureTime(0, "none", 0)) for u in units]
    with pytest.raises(SourceError, match="without a key frame"):
        open_front(record_units(tmp_path / "s.mcap", other))


@needs_real_data
def test_a_real_clip_with_its_own_making_is_seen_again(tmp_path):
    clip = next(iter(sorted((SHARED / "drives/udacity").glob("test_small*.mp4"))))
    assert_same(*see_again(tmp_path, open_front(clip, max_frames=40)))


def test_a_damaged_recording_says_that_it_ends_early(tmp_path):
    _, units = read_source(open_front(STREET / "front.mp4", max_frames=20))
    path = record_units(tmp_path / "0000.mcap", units)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SourceError, match=r"ended early: 0000\.mcap was not finished") as caught:
        read_source(open_front(path))
    assert caught.value.state == "ended_early"
