"""What is in a file, read by others' libraries."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import av
import jsonschema
import msgpack
import pytest
from mcap.reader import make_reader
from mcap.records import Chunk, Message
from mcap.stream_reader import StreamReader, breakup_chunk
from mcap_protobuf.decoder import DecoderFactory
from recording_samples import NONE, NOW_NS, make_info, make_stream, others, record, t_of
from wire_samples import ORIGIN, T0_NS

from streamvis import wire
from streamvis.record.reader import Recording
from streamvis.record.segment import CHUNK_BYTES, CHUNK_NS
from streamvis.wire import VidMessage


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recs")
    return record(folder, itertools.chain(make_stream(), others())) / "0000.mcap"


def test_the_published_parts_are_unchanged(path: Path) -> None:
    sent = [wire.encode(m) for m in itertools.chain(make_stream(), others())]
    expected = [[bytes(part) for part in parts] for parts in sent]
    assert [message.parts for message in Recording.open(path).messages()] == expected


def test_headers_fit_the_schemas_in_the_file(path: Path) -> None:
    kinds = set()
    with path.open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages():
            if channel.message_encoding == "msgpack":
                assert schema.encoding == "jsonschema"
                _topic, header, *_arrays = msgpack.unpackb(message.data)
                jsonschema.validate(msgpack.unpackb(header), json.loads(schema.data))
                kinds.add(schema.name)
    assert kinds == {f"streamvis.{k}" for k in wire.KINDS if k != "img"}


def test_viewers_find_video_boxes_and_calibration(path: Path) -> None:
    decoded: dict[str, list] = {}
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        topics = [f"front/{name}" for name in ("video", "boxes", "calibration")]
        for _, channel, message, proto in reader.iter_decoded_messages(topics=topics):
            assert message.log_time == proto.timestamp.ToNanoseconds()
            decoded.setdefault(channel.topic, []).append(proto)
    video, boxes = decoded["front/video"], decoded["front/boxes"]
    times = [[m.timestamp.ToNanoseconds() for m in messages] for messages in (video, boxes)]
    assert times[0] == times[1]  # viewers pair by it
    codec = av.CodecContext.create("h264", "r")
    pictures = [f for m in video for f in codec.decode(av.Packet(m.data))] + codec.decode(None)
    assert {m.format for m in video} == {"h264"}
    assert len(pictures) == 20
    first = boxes[0]
    assert [t.text for t in first.texts] == ["car 0.75 #7", "person 0.50"]
    assert [(p.x, p.y) for p in first.points[0].points] == [
        (10, 20),
        (30, 20),
        (30, 40.5),
        (10, 40.5),
    ]
    assert first.points[0].type == first.points[0].LINE_LOOP
    (calibration,) = decoded["front/calibration"]
    assert (calibration.K[0], calibration.width) == (400, 640)


def test_the_log_time_is_that_of_the_frame(path: Path) -> None:
    for message in Recording.open(path).messages(["vid", "det", "plan"]):
        index = wire.peek(message.parts).header.get("frame_index")
        if index is None:
            index = wire.peek(message.parts).header["index"]
        assert message.log_time_ns == t_of(index)
        assert message.publish_time_ns >= NOW_NS
    last = [m.log_time_ns for m in Recording.open(path).messages(["stat", "hb"])]
    assert set(last) == {t_of(19)}
    info = next(Recording.open(path).messages(["info"]))
    assert info.log_time_ns == T0_NS  # it came before the first frame, and waited for its time


def test_without_capture_times_the_axis_begins_at_receipt(tmp_path: Path) -> None:
    def blind() -> list:
        return [
            replace(m, unit=replace(m.unit, capture=NONE))
            if isinstance(m, VidMessage)
            else replace(m, capture=NONE)
            for m in make_stream(count=3)
            if m.kind != "info"
        ]

    times = [m.log_time_ns for m in Recording.open(record(tmp_path, iter(blind()))).messages()]
    assert times == [NOW_NS + t_of(i) - T0_NS for i in range(3) for _ in range(4)]


def test_what_the_recording_says_of_itself(path: Path) -> None:
    recording = Recording.open(path)
    assert recording.config == json.loads(make_info().config)
    assert recording.info == make_info()
    assert recording.model == make_info().model
    assert recording.cameras == ("front",)
    about = recording.metadata
    assert (about["pipeline"], about["epochs"]) == ("av_4cam", ORIGIN.epoch)
    assert (about["model"], about["weights_sha256"]) == ("sv_tiny", "ab" * 32)
    assert json.loads(about["cameras"])["front"]["video"] is True


def test_chunks_are_bounded_in_bytes_and_in_time(tmp_path: Path) -> None:
    path = record(tmp_path, make_stream(count=80)) / "0000.mcap"  # 321 messages, 10 ms apart
    with path.open("rb") as file:
        chunks = [r for r in StreamReader(file, emit_chunks=True).records if isinstance(r, Chunk)]
    receipts = [
        [r.publish_time for r in breakup_chunk(chunk) if isinstance(r, Message)] for chunk in chunks
    ]
    assert len(chunks) > 3
    assert max(times[-1] - times[0] for times in receipts) <= CHUNK_NS
    assert max(chunk.uncompressed_size for chunk in chunks) <= CHUNK_BYTES * 1.05


def test_a_video_costs_little_more_than_once(path: Path) -> None:
    units = sum(len(unit.data) for unit in Recording.open(path).units("front"))
    assert path.stat().st_size < 1.6 * units


def test_streams_with_b_frames_are_recorded_and_flagged(tmp_path: Path) -> None:
    def reordered() -> list:
        return [
            replace(m, unit=replace(m.unit, is_reordered=True, capture=NONE))
            if isinstance(m, VidMessage)
            else m
            for m in make_stream(count=4)
        ]

    folder = record(tmp_path, iter(reordered()))
    recording = Recording.open(folder)
    with (folder / "0000.mcap").open("rb") as file:
        topics = {channel.topic for _, channel, _ in make_reader(file).iter_messages()}
    assert topics & {"front/video", "front/boxes"} == {"front/boxes"}
    flags = json.loads(recording.metadata["cameras"])["front"]
    assert (flags["video"], flags["no_video_because"]) == (False, "B-frames")
    assert len(list(recording.units("front"))) == 4
    # Not known yet when they came, so by media time once the camera's results told the offset.
    times = [m.log_time_ns for m in recording.messages(["vid"])]
    assert times == [t_of(i) for i in range(4)]


def test_the_info_is_written_when_it_changed(tmp_path: Path) -> None:
    stream = list(make_stream(count=2))
    again = [replace(make_info(), seq=seq) for seq in (1, 2)]
    changed = replace(make_info(), seq=3, model=None)
    recording = Recording.open(record(tmp_path, iter([*stream, *again, changed])))
    infos = [wire.decode(m.parts).seq for m in recording.messages(["info"])]
    assert infos == [0, 3]
    assert recording.info == changed
