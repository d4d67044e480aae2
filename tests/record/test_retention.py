"""What is deleted when, and what never."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from matrix import contract
from recording_samples import make_stream, record, write_archive

from streamvis import wire
from streamvis.errors import OutputError
from streamvis.record.archive import Archive
from streamvis.record.config import RecordConfig
from streamvis.record.reader import Recording
from streamvis.record.retention import Retention

HOUR_NS = 3_600_000_000_000
T_NS = 1_763_800_000_000_000_000
FREE = 10_000_000_000


class Disk:
    """Free space that grows with each deleted segment."""

    def __init__(self, root: Path, free: int, of_segment: int = 1_000_000_000) -> None:
        self._root = root
        self._total = free + self._num_segments() * of_segment
        self._of_segment = of_segment

    def free(self, folder: Path) -> int:
        assert folder == self._root
        return self._total - self._num_segments() * self._of_segment

    def _num_segments(self) -> int:
        return len(list(self._root.glob("*/*.mcap")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three segments of av_4cam that ended 3, 2 and 1 hours ago."""
    folder = record(tmp_path / "recs", make_stream(), segment="300ms")
    for number, path in enumerate(sorted(folder.iterdir())):
        ended_ns = T_NS - (3 - number) * HOUR_NS
        os.utime(path, ns=(ended_ns, ended_ns))
    assert len(list(folder.iterdir())) == 3
    return tmp_path / "recs"


def retention(root: Path, pipeline: str = "av_4cam", free: int = FREE, **wishes: str) -> Retention:
    config = RecordConfig.model_validate({"dir": root, "min_free": "5GB", **wishes})
    return Retention(config, pipeline, Disk(root, free).free)


def left(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("*/*"))


@contract("disk")
def test_segments_that_ended_too_long_ago_go(root: Path) -> None:
    assert retention(root, keep="150min").tidy(T_NS)
    assert left(root) == ["0001.mcap", "0002.mcap"]
    assert retention(root, keep="1min").tidy(T_NS)
    assert list(root.iterdir()) == []  # an empty folder goes with its last segment


def test_nothing_goes_without_a_reason(root: Path) -> None:
    assert retention(root).tidy(T_NS)
    assert len(left(root)) == 3


@contract("disk")
def test_the_oldest_go_while_space_lacks(root: Path) -> None:
    assert retention(root, free=3_500_000_000).tidy(T_NS)
    assert left(root) == ["0002.mcap"]


def test_if_it_still_lacks_that_is_told(root: Path) -> None:
    assert not retention(root, free=1_000_000_000).tidy(T_NS)
    assert left(root) == []


@contract("disk")
def test_only_what_we_made_is_deleted(root: Path) -> None:
    (folder,) = root.iterdir()
    segment = folder / "0000.mcap"
    keep = [
        folder / "notes.txt",
        folder / "0009.mcap",  # not an MCAP file
        folder / "copy.mcap",
        folder / "0003.mcap.part",
        root / "my_drive" / "0000.mcap",
        root / "av_4cam_20200101T000000Z" / "0000.mcap",  # a link
    ]
    for path in keep[:4]:
        path.write_text("mine")
    for path in keep[4:]:
        path.parent.mkdir()
    shutil.copy(segment, keep[4])
    keep[5].symlink_to(segment)
    outside = root.parent / "0000.mcap"
    shutil.copy(segment, outside)
    assert retention(root, pipeline="another", keep="1s").tidy(T_NS)
    assert len(left(root)) == 3 + len(keep)
    assert retention(root, keep="1s").tidy(T_NS)
    assert sorted(root.glob("*/*")) == sorted(keep)
    assert outside.exists()


def test_a_pipeline_whose_name_begins_alike_is_another(root: Path) -> None:
    assert retention(root, pipeline="av", keep="1s").tidy(T_NS)
    assert len(left(root)) == 3


@contract("disk")
def test_recording_stops_when_nothing_more_can_be_deleted(tmp_path: Path) -> None:
    free = [FREE]
    config = RecordConfig.model_validate({"dir": tmp_path, "min_free": "5GB"})
    archive = Archive(config, "av_4cam", T_NS, measure_free=lambda _: free[0])
    messages = [wire.encode(message) for message in make_stream()]
    for number, parts in enumerate(messages[:10]):
        archive.write(wire.peek(parts), parts, T_NS + number)
    free[0] = 1_000
    archive.write(wire.peek(messages[10]), messages[10], T_NS + 10)  # it is asked for every 5 s
    with pytest.raises(OutputError, match=r"less than 5.0 GB are free"):
        archive.write(wire.peek(messages[11]), messages[11], T_NS + 6_000_000_000)
    archive.close()
    assert [path.name for path in archive.path.iterdir()] == ["0000.mcap"]
    assert len(list(Recording.open(archive.path).messages())) == archive.num_messages == 12


@contract("disk")
def test_without_space_it_does_not_begin(tmp_path: Path) -> None:
    config = RecordConfig.model_validate({"dir": tmp_path, "min_free": "5GB"})
    with pytest.raises(OutputError, match="Free some space, or lower min_free"):
        Archive(config, "av_4cam", T_NS, measure_free=lambda _: 0)
    assert list(tmp_path.iterdir()) == []


def test_the_segment_that_is_written_stays(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, make_stream(count=3))
    assert retention(tmp_path, keep="1ns").tidy(T_NS + 10**18)
    assert (archive.path / "0000.mcap.part").exists()
    archive.close()
