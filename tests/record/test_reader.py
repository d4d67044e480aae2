"""Recordings that are whole, broken, mixed, or none."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from matrix import contract
from mcap.writer import Writer
from recording_samples import NOW_NS, make_info, make_stream, record, street_units, write_archive

from streamvis.errors import OutputError, SourceError, VersionError
from streamvis.record.reader import Recording
from streamvis.record.recover import recover
from streamvis.record.tally import Tally
from streamvis.wire import PlanMessage


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cameras, three segments of about two chunks."""
    root = tmp_path_factory.mktemp("recs")
    return record(root, make_stream(("front", "left"), lost=(3, 4)), segment="600ms")


def write_mcap(path: Path, topic: str, message_encoding: str, schema_encoding: str) -> Path:
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("x", schema_encoding, b"{}")
        channel = writer.register_channel(topic, message_encoding, schema)
        writer.add_message(channel, 1, b"", 1)
        writer.finish()
    return path


def test_segments_follow_each_other_and_each_stands_alone(folder: Path) -> None:
    assert [p.name for p in Recording.open(folder).paths] == [f"000{i}.mcap" for i in range(3)]
    whole = [m.parts for m in Recording.open(folder).messages(["det", "vid", "plan"])]
    parts = [
        m.parts
        for path in sorted(folder.iterdir())
        for m in Recording.open(path).messages(["det", "vid", "plan"])
    ]
    assert parts == whole
    for path in folder.iterdir():
        alone = Recording.open(path)
        assert alone.info == make_info(("front", "left"))
        assert alone.config is not None


def test_cameras_and_kinds_can_be_picked(folder: Path) -> None:
    recording = Recording.open(folder)
    assert recording.cameras == ("front", "left")
    assert recording.kinds == ("det", "emb", "vid", "plan", "info")
    picked = list(recording.messages(["det"], ["left"]))
    assert {(m.kind, m.camera) for m in picked} == {("det", "left")}
    assert [u.index for u in recording.units("left")] == list(range(20))
    assert list(recording.units("left"))[7] == street_units("left")[7]
    assert all(isinstance(plan, PlanMessage) for plan in recording.plans())
    assert len(list(recording.plans("front"))) == 18
    with pytest.raises(ValueError, match="'right' is not in the recording: front, left"):
        list(recording.units("right"))


def test_what_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read") as missing:
        Recording.open(tmp_path / "none.mcap")
    assert missing.value.state == "not_found"
    with pytest.raises(SourceError, match="holds no recording"):
        Recording.open(tmp_path)
    (tmp_path / "text.mcap").write_text("hello")
    with pytest.raises(SourceError, match="is not an MCAP file"):
        Recording.open(tmp_path / "text.mcap")
    foreign = write_mcap(tmp_path / "foreign.mcap", "/camera", "cdr", "ros2msg")
    with pytest.raises(SourceError, match="holds no messages of streamvis"):
        Recording.open(foreign)


@contract("hostile_bytes", "g")
def test_unknown_encodings_and_versions_are_told(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "a.mcap", "sv1/det/p/front/", "cdr", "ros2msg")
    with pytest.raises(SourceError, match="cdr with ros2msg, not msgpack with jsonschema"):
        Recording.open(path)
    path = write_mcap(tmp_path / "b.mcap", "sv2/det/p/front/", "msgpack", "jsonschema")
    with pytest.raises(VersionError, match="wire version 2, this is version 1"):
        Recording.open(path)


def test_mixed_runs_are_refused(folder: Path, tmp_path: Path) -> None:
    other = record(tmp_path / "other", make_stream(count=2))
    shutil.copy(folder / "0001.mcap", other / "0001.mcap")
    with pytest.raises(SourceError, match="mixes the segments of 2 recordings"):
        Recording.open(other)


def test_a_truncated_file_gives_what_comes_before(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "0001.mcap").read_bytes()
    path = tmp_path / "0001.mcap"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    recording = Recording.open(path)
    assert recording.damage is not None
    assert "0001.mcap was not finished" in recording.damage
    some = [m.parts for m in recording.messages()]
    everything = [m.parts for m in Recording.open(folder / "0001.mcap").messages()]
    assert some == everything[: len(some)]


@contract("hostile_bytes", "g")
def test_a_flipped_bit_ends_the_reading_there_and_is_told(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, make_stream(count=60))  # chunks of a second
    archive.close()
    path = archive.path / "0000.mcap"
    data = bytearray(path.read_bytes())
    everything = list(Recording.open(path).messages())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    recording = Recording.open(path)
    some = [m.parts for m in recording.messages()]
    assert 0 < len(some) < len(everything)
    assert some == [m.parts for m in everything[: len(some)]]
    assert recording.damage is not None
    assert "is damaged near byte" in recording.damage

    done = recover(path)
    assert done.damage == recording.damage
    assert [m.parts for m in Recording.open(done.path).messages()] == some
    again = Recording.open(archive.path)  # the recovered file stands for the damaged one
    assert again.paths == (done.path,)
    assert again.info == make_info()
    with pytest.raises(OutputError, match="exists already"):
        recover(path)
    with pytest.raises(OutputError, match="is the file to read"):
        recover(path, path)
    assert bytes(data) == path.read_bytes()


@contract("hostile_bytes", "g")
def test_a_damaged_index_is_read_around(folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / "0000.mcap").read_bytes())
    data[-60] ^= 0xFF  # in the summary
    path = tmp_path / "0000.mcap"
    path.write_bytes(data)
    recording = Recording.open(path)
    assert len(list(recording.messages())) == len(
        list(Recording.open(folder / "0000.mcap").messages())
    )
    assert recording.info is not None


def test_a_whole_file_recovers_whole(folder: Path, tmp_path: Path) -> None:
    done = recover(folder / "0000.mcap", tmp_path / "copy.mcap")
    assert done.damage is None
    copies = [Recording.open(p) for p in (folder / "0000.mcap", tmp_path / "copy.mcap")]
    assert len({tuple(tuple(m.parts) for m in r.messages()) for r in copies}) == 1
    assert copies[0].metadata == copies[1].metadata
    assert copies[0].config == copies[1].config


def test_a_segment_without_a_message_is_no_error(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, iter([make_info()]))
    archive.close()
    assert len(list(Recording.open(archive.path).messages())) == 1


def test_the_tally_finds_gaps_losses_and_steps_back(tmp_path: Path) -> None:
    stream = list(make_stream(count=10))
    det = [m for m in stream if m.kind == "det"]
    stream.remove(det[4])  # published, and not recorded
    late = replace(det[9], seq=10, capture=replace(det[9].capture, t_ns=NOW_NS - 10**15))
    recording = Recording.open(record(tmp_path, iter([*stream, late])))
    tally = Tally(recording)
    facts = tally.to_dict()
    assert facts["messages"] == {"det": 10, "emb": 10, "vid": 10, "plan": 10, "info": 1}
    front = facts["cameras"]["front"]
    assert (front["units"], front["plans"], front["results"]) == (10, 10, 10)
    assert (front["codec"], front["size"], front["key_units"]) == ("h264", [960, 540], 1)
    assert (facts["gaps"], front["gaps"]) == (1, 1)
    assert facts["clock_steps_back"] == 0
    back = replace(late, seq=11, capture=replace(late.capture, t_ns=late.capture.t_ns - 1))
    recording = Recording.open(record(tmp_path / "2", iter([*stream, late, back])))
    assert Tally(recording).to_dict()["clock_steps_back"] == 1
    json.dumps(facts)
