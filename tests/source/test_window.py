"""Parts of a source, and rounds of it."""

from __future__ import annotations

import pytest
from conftest import STREET, write_clip
from unit_recording import read_source, record_units

from streamvis.errors import SourceError
from streamvis.source.config import SourceConfig
from streamvis.source.open import open_source
from streamvis.types import Frame

SIZE = (256, 192)


def open_clip(tmp_path, num_frames: int = 12, **extra):
    """10 frames a second."""
    clip = tmp_path / "a.mp4"
    if not clip.exists():
        write_clip(clip, num_frames=num_frames)
    return open_source("front", SourceConfig(uri=str(clip), **extra), SIZE)


def read(source) -> list[Frame]:
    return read_source(source)[0]


def test_a_window_keeps_the_files_numbers_and_loses_nothing(tmp_path):
    source = open_clip(tmp_path, start="300ms", end="700ms")
    frames = read(source)
    assert [f.index for f in frames] == [3, 4, 5, 6]
    assert [f.pts for f in frames] == [f.pts for f in read(open_clip(tmp_path))][3:7]
    assert {f.num_skipped for f in frames} == {3}
    assert (source.lost_source, source.lost_decode) == (0, 0)


def test_media_time_starts_with_the_window(tmp_path):
    source = open_clip(tmp_path, start="300ms", end="600ms")
    times_ms = []
    while (t_ns := source.grab()) is not None:
        times_ms.append(t_ns / 1e6)
        source.retrieve(0)
    assert times_ms == [0, 100, 200, 300], "the frame at 600 ms is read, and not given"


def test_the_capture_times_are_those_of_the_frames(tmp_path):
    del tmp_path
    config = SourceConfig(uri=str(STREET), start="1s", end="1200ms")
    frames = read(open_source("front", config, SIZE))
    whole = read(open_source("front", SourceConfig(uri=str(STREET), max_frames=18), SIZE))
    assert [f.index for f in frames] == [15, 16, 17]
    assert [f.capture for f in frames] == [f.capture for f in whole[15:18]]


def test_max_frames_counts_from_the_start_of_the_window(tmp_path):
    assert [f.index for f in read(open_clip(tmp_path, start="500ms", max_frames=2))] == [5, 6]


def test_the_first_frame_is_not_older_than_its_release(tmp_path):
    source = open_clip(tmp_path, start="500ms")
    source.grab()
    frame = source.retrieve(t_ingest_ns=1 << 62)
    assert frame is not None
    assert frame.t_ingest_ns == frame.t_decoded_ns == 1 << 62


def test_a_window_behind_the_end_is_one_sentence(tmp_path):
    with pytest.raises(SourceError, match="choose an earlier start") as caught:
        open_clip(tmp_path, start="2min")
    assert caught.value.state == "empty"


def test_a_loop_goes_on_counting(tmp_path):
    frames = read(open_clip(tmp_path, 4, loop=True, max_frames=10))
    assert [f.index for f in frames] == list(range(10))
    assert [f.is_discont for f in frames] == [i in (4, 8) for i in range(10)]
    step = frames[1].pts - frames[0].pts
    assert [f.pts for f in frames] == [frames[0].pts + i * step for i in range(10)]


def test_a_loops_media_time_goes_on(tmp_path):
    source = open_clip(tmp_path, 3, loop=True, max_frames=7)
    times_ms = []
    while (t_ns := source.grab()) is not None:
        if source.retrieve(0) is not None:
            times_ms.append(round(t_ns / 1e6))
    assert times_ms == [0, 100, 200, 300, 400, 500, 600]


def test_a_loop_counts_what_each_round_lost(tmp_path):
    data = write_clip(tmp_path / "whole.mp4", num_frames=40).read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) * 2 // 3])
    one = open_clip(tmp_path)
    once = read(one)
    source = open_clip(tmp_path, loop=True, max_frames=2 * len(once))
    frames = read(source)
    assert frames[len(once)].index == 40
    assert source.lost_source + source.lost_decode == one.lost_source + one.lost_decode > 0


def test_a_recorded_loop_is_the_same_loop(tmp_path):
    frames, units = read_source(open_clip(tmp_path, 4, loop=True, max_frames=10))
    path = record_units(tmp_path / "r.mcap", units)
    again = read(open_source("front", SourceConfig(uri=str(path), max_frames=10), SIZE))
    assert [(f.index, f.pts, f.is_discont) for f in again] == [
        (f.index, f.pts, f.is_discont) for f in frames
    ]
    for a, b in zip(frames, again, strict=True):
        assert (a.image == b.image).all()
