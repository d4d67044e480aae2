from __future__ import annotations

from pathlib import Path

import pytest
from conftest import REPO, STREET, write_clip
from tiny_drive import write_tiny_drive

from streamvis.errors import SourceError
from streamvis.eval.rounds import Footage, RoundReader

SIZE = (128, 64)


def test_cameras_of_one_rate_go_in_step() -> None:
    rounds = list(RoundReader(Footage(STREET, ("left", "front"), max_frames=4), SIZE))
    names = [[(t.frame.camera, t.frame.index) for t in r.frames] for r in rounds]
    assert names == [[("left", i), ("front", i)] for i in range(4)]
    assert [r.media_ns for r in rounds] == pytest.approx([i * 1e9 / 15 for i in range(4)], abs=1e3)


def test_a_camera_of_half_the_rate_joins_every_other_round(tmp_path: Path) -> None:
    folder = write_tiny_drive(tmp_path, num_frames=6, cameras="ab")
    write_clip(folder / "b.mp4", num_frames=3, fps=5)
    rounds = list(RoundReader(Footage(folder, ("a", "b")), SIZE))
    assert [len(r.frames) for r in rounds] == [2, 1, 2, 1, 2, 1]


def test_frames_carry_the_codecs_motion_where_it_is_wanted(tmp_path: Path) -> None:
    footage = Footage(write_tiny_drive(tmp_path, num_frames=8, cameras="a"), ("a",))
    for with_motion in (False, True):
        rounds = RoundReader(footage, SIZE, with_motion)
        motions = [timed.frame.motion for r in rounds for timed in r.frames]
        assert any(motion is not None for motion in motions) == with_motion


def test_a_clock_that_runs_backwards_is_named(tmp_path: Path, monkeypatch) -> None:
    folder = write_tiny_drive(tmp_path, num_frames=6, cameras="a")
    reader = RoundReader(Footage(folder, ("a",)), SIZE)
    source = reader._sources["a"]
    retrieve = source.retrieve

    def disordered(t_ingest_ns: int) -> object:
        frame = retrieve(t_ingest_ns)
        if frame is not None and frame.index == 3:
            object.__setattr__(frame, "pts", 0)
        return frame

    monkeypatch.setattr(source, "retrieve", disordered)
    with pytest.raises(SourceError, match=r"a\.mp4: the time of frame 3 is not after"):
        list(reader)


def test_infos_are_those_of_the_videos() -> None:
    info = Footage(REPO / "pipelines/drives/street", ("front",)).infos()["front"]
    assert (info.width, info.height, info.num_frames) == (960, 540, 90)
