from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrix import contract
from wire_samples import (
    GOLDEN,
    ORIGIN,
    make_emb_of_all_scopes,
    make_feedback,
    make_messages,
    make_packet,
    make_result,
    make_tile_stream,
)

import streamvis
from streamvis import wire
from streamvis.errors import VersionError, WireError
from streamvis.types import SourceCounts
from streamvis.wire import CameraState, DetMessage, EmbMessage, Heartbeat, StatMessage

SCHEMAS = Path(streamvis.__file__).parent / "schemas"
KINDS = sorted(make_messages())


def assert_same(one: Any, other: Any) -> None:
    """Deep equality that looks into dataclasses and arrays."""
    assert type(one) is type(other)
    if is_dataclass(one):
        for field in fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other


def change_header(parts: wire.Parts, /, **changes: Any) -> list[wire.Part]:
    """A public message with other header values; `drop` in place of a value removes the key."""
    header = {**msgpack.unpackb(parts[1]), **changes}
    kept = {key: value for key, value in header.items() if value is not drop}
    return [parts[0], msgpack.packb(kept), *parts[2:]]


drop = object()


# ---------------------------------------------------------------- round trips


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_survives_the_wire(kind: str) -> None:
    message = make_messages()[kind]
    parts = wire.encode(message)
    assert_same(wire.decode(parts), message)
    assert parts[0] == f"sv1/{kind}/av_4cam/{message.camera}/".encode()


@pytest.mark.parametrize("is_i", [True, False])
def test_a_packet_survives_the_tile_stream(is_i: bool) -> None:
    packet = make_packet(2, 3, is_i=is_i)
    assert_same(wire.decode_from_front(wire.encode_packet(packet)), packet)


def test_a_packet_without_tiles_survives() -> None:
    packet = make_packet(2, 3, is_i=False)
    plan = replace(packet.plan, index=packet.plan.index[:0])
    packet = replace(packet, plan=plan, tiles=packet.tiles[:0])
    assert_same(wire.decode_from_front(wire.encode_packet(packet)), packet)


def test_feedback_and_control_survive_the_tile_stream() -> None:
    assert_same(wire.decode_feedback(wire.encode_feedback(make_feedback())), make_feedback())
    for encode, message in ((wire.encode_end, wire.End("front", SourceCounts(7, 1, 2, 3))),):
        assert wire.decode_from_front(encode(message)) == message


def test_tiles_are_views_on_both_sides_and_read_only_for_the_receiver() -> None:
    packet = make_packet()
    parts = wire.encode_packet(packet)
    sent = np.frombuffer(parts[-1], np.uint8)
    received = wire.decode_from_front(parts).tiles
    assert np.shares_memory(sent, packet.tiles)
    assert np.shares_memory(received, packet.tiles)
    assert not received.flags.writeable


def test_big_endian_arrays_travel_as_little_endian() -> None:
    message = EmbMessage.of(make_result(), ORIGIN, seq=0)
    swapped = replace(message, embedding=message.embedding.astype(">f2"))
    assert_same(wire.decode(wire.encode(swapped)), message)


def test_an_embedding_travels_in_half_precision() -> None:
    message = EmbMessage.of(make_result(), ORIGIN, seq=0)
    assert message.embedding.dtype == np.float16
    assert_same(wire.decode(wire.encode(message)), message)


def test_peek_gives_what_observers_need_without_the_arrays() -> None:
    parts = wire.encode(make_messages()["det"])
    seen = wire.peek(parts[:2])
    result = make_result(4)
    assert (seen.kind, seen.camera, seen.seq, seen.frame_index) == ("det", "front", 4, 4)
    assert (seen.capture, seen.ledger) == (result.capture, result.ledger)
    assert (seen.stamps_ns, seen.num_detections) == (result.stamps_ns, 2)


def test_join_and_split_undo_each_other() -> None:
    parts = [bytes(part) for part in wire.encode(make_messages()["det"])]
    assert wire.split(wire.join(parts)) == parts


# ---------------------------------------------------------------- compatibility


def golden_message(kind: str) -> Path:
    """The file of the version that brought the kind."""
    (path,) = GOLDEN.glob(f"v1.*-{kind}.msgpack")
    return path


@contract("hostile_bytes", "g")
@pytest.mark.parametrize("kind", KINDS)
def test_golden_messages_are_read_for_ever(kind: str) -> None:
    parts = wire.split(golden_message(kind).read_bytes())
    assert_same(wire.decode(parts), make_messages()[kind])


@contract("hostile_bytes", "g")
def test_golden_embeddings_of_all_scopes_are_read_for_ever() -> None:
    parts = wire.split((GOLDEN / "v1.2-emb-scopes.msgpack").read_bytes())
    assert_same(wire.decode(parts), make_emb_of_all_scopes())


def test_scopes_nobody_knows_yet_are_passed_over() -> None:
    message = make_emb_of_all_scopes()
    topic, header, *arrays = wire.encode(message)
    told = msgpack.unpackb(header)
    told["more"].append({**told["more"][-1], "scope": "scene"})
    assert_same(wire.decode([topic, msgpack.packb(told), *arrays]), message)


@pytest.mark.parametrize(
    "mistake",
    [{"dim": 5}, {"dtype": "float32"}, {"t_ns": [2, 2]}, {"t_ns": [1]}],
    ids=str,
)
def test_a_clip_that_is_not_as_announced_is_refused(mistake: dict[str, Any]) -> None:
    topic, header, *arrays = wire.encode(make_emb_of_all_scopes())
    told = msgpack.unpackb(header)
    told["more"][-1] |= mistake
    with pytest.raises(WireError):
        wire.decode([topic, msgpack.packb(told), *arrays])


def test_the_header_of_all_scopes_fits_its_schema() -> None:
    schema = json.loads((SCHEMAS / "emb.json").read_text())
    header = wire.peek(wire.encode(make_emb_of_all_scopes())).header
    jsonschema.validate(header, schema)
    assert [about["scope"] for about in header["more"]] == ["pyramid", "object", "clip"]


@pytest.mark.parametrize("kind", ["stat", "hb"])
def test_what_is_wrong_with_a_camera_travels_since_1_3(kind: str) -> None:
    message = make_messages()[kind]
    if isinstance(message, StatMessage):
        message = replace(message, state="timeout", error="it did not answer")
    elif isinstance(message, Heartbeat):
        cameras = {"front": CameraState("timeout", 10.0, "it did not answer")}
        message = replace(message, cameras=cameras)
    parts = wire.encode(message)
    schema = json.loads((SCHEMAS / f"{kind}.json").read_text())
    jsonschema.validate(wire.peek(parts).header, schema)
    assert_same(wire.decode(parts), message)
    golden = wire.split((GOLDEN / f"v1.3-{kind}-error.msgpack").read_bytes())
    assert_same(wire.decode(golden), message)


@contract("hostile_bytes", "g")
@pytest.mark.parametrize("kind", sorted(make_tile_stream()))
def test_golden_tile_stream_is_read_for_ever(kind: str) -> None:
    parts = wire.split((GOLDEN / f"v1.0-tile-{kind}.msgpack").read_bytes())
    read = wire.decode_feedback if kind == "feedback" else wire.decode_from_front
    assert_same(read(parts), read(make_tile_stream()[kind]))


@pytest.mark.parametrize("kind", KINDS)
def test_headers_fit_their_json_schema(kind: str) -> None:
    schema = json.loads((SCHEMAS / f"{kind}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    header = wire.peek(wire.encode(make_messages()[kind])).header
    jsonschema.validate(header, schema)
    assert set(schema["required"]) == set(header)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**header, "seq": "1"}, schema)


@contract("hostile_bytes", "g")
@pytest.mark.parametrize("kind", KINDS)
def test_unknown_keys_and_later_minor_versions_are_read(kind: str) -> None:
    parts = wire.encode(make_messages()[kind])
    newer = change_header(parts, v=[1, 99], new_key={"deep": [1, {"er": None}]})
    assert_same(wire.decode(newer), make_messages()[kind])


@contract("hostile_bytes", "g")
def test_another_major_version_is_an_error_of_its_own() -> None:
    parts = wire.encode(make_messages()["det"])
    with pytest.raises(VersionError, match="version 2, this is version 1"):
        wire.decode(change_header(parts, v=[2, 0]))
    with pytest.raises(VersionError, match="version 2"):
        wire.decode([parts[0].replace(b"sv1", b"sv2"), *parts[1:]])


# ---------------------------------------------------------------- canonical form


def replayed(message: DetMessage) -> DetMessage:
    """The same frame in another run: other publisher, other host, other time."""
    origin = replace(ORIGIN, epoch="f" * 32, clock_id="boot-2")
    return replace(message, origin=origin, stamps_ns={"ingest": 99, "decoded": 100})


def test_two_replays_are_canonically_equal() -> None:
    message = make_messages()["det"]
    one, other = wire.encode(message), wire.encode(replayed(message))
    assert one != other
    assert wire.canonical(one) == wire.canonical(other)


def test_canonical_keeps_what_is_not_time() -> None:
    message = make_messages()["det"]
    plain = wire.canonical(wire.encode(message))
    moved = replace(message.detections, score=message.detections.score / 2)
    for changed in (
        replace(message, frame_index=5),
        replace(message, seq=5),
        replace(message, detections=moved),
        replace(message, capture=replace(message.capture, t_ns=1)),
    ):
        assert wire.canonical(wire.encode(changed)) != plain


def test_canonical_leaves_out_arrival_times() -> None:
    def at(t_capture_ns: int) -> bytes:
        result = make_result(capture_source="arrival", t_capture_ns=t_capture_ns)
        return wire.canonical(wire.encode(DetMessage.of(result, ORIGIN, seq=0)))

    assert at(1) == at(2)


def test_canonical_sync_does_not_know_its_members_publishers() -> None:
    message = make_messages()["sync"]
    members = {camera: replace(m, epoch="f" * 32) for camera, m in message.members.items()}
    other = replace(message, members=members)
    assert wire.canonical(wire.encode(message)) == wire.canonical(wire.encode(other))


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["front", "cam_1", "left.rear-2"])
def test_good_names(name: str) -> None:
    assert wire.check_name(name) == name


@pytest.mark.parametrize("name", ["", "a/b", "a b", "*", "ä", "x" * 129, "front\n"])
def test_bad_names(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a name"):
        wire.check_name(name)


def test_a_topic_does_not_match_a_longer_name() -> None:
    assert not wire.topic_prefix("det", "av", "cam10").startswith(
        wire.topic_prefix("det", "av", "cam1")
    )


# ---------------------------------------------------------------- bad bytes


def det_parts() -> list[wire.Part]:
    return wire.encode(make_messages()["det"])


def det_specs(**changes: Any) -> list[dict[str, Any]]:
    first, *rest = msgpack.unpackb(det_parts()[1])["parts"]
    return [{**first, **changes}, *rest]


BAD = {
    "no parts": lambda: [],
    "no header": lambda: det_parts()[:1],
    "too many parts": lambda: det_parts() + [b""] * wire.MAX_PARTS,
    "an array is missing": lambda: det_parts()[:-1],
    "an array is short": lambda: [*det_parts()[:-1], b"1234"],
    "no topic": lambda: [b"hello", *det_parts()[1:]],
    "the topic of another kind": lambda: [b"sv1/emb/av_4cam/front/", *det_parts()[1:]],
    "a kind from the future": lambda: [b"sv1/vid/av_4cam/front/", *det_parts()[1:]],
    "a topic in another encoding": lambda: [b"\xff\xfe", *det_parts()[1:]],
    "an endless topic": lambda: [b"a" * 1000, *det_parts()[1:]],
    "a header that is no map": lambda: [det_parts()[0], msgpack.packb([1]), *det_parts()[2:]],
    "a header of many bytes": lambda: change_header(det_parts(), x="a" * wire.MAX_HEADER_BYTES),
    "a deep header": lambda: [det_parts()[0], b"\x81\xa1a" + b"\x91" * 5000 + b"\xc0"],
    "an extension type": lambda: change_header(det_parts(), x=msgpack.ExtType(1, b"x")),
    "no version": lambda: change_header(det_parts(), v=drop),
    "no seq": lambda: change_header(det_parts(), seq=drop),
    "a negative seq": lambda: change_header(det_parts(), seq=-1),
    "True for a number": lambda: change_header(det_parts(), seq=True),
    "a text for a number": lambda: change_header(det_parts(), frame_index="4"),
    "a time base of nothing": lambda: change_header(det_parts(), time_base=[1, 0]),
    "an unknown capture source": lambda: change_header(det_parts(), capture={"source": "x"}),
    "no ingest stamp": lambda: change_header(det_parts(), stamps_ns={}),
    "a ledger that does not add up": lambda: change_header(
        det_parts(), ledger={"source_frames": 9, "published": 1, "in_flight": 0, "lost": {}}
    ),
    "objects of Python": lambda: change_header(det_parts(), parts=det_specs(dtype="|O")),
    "a big-endian array": lambda: change_header(det_parts(), parts=det_specs(dtype=">f4")),
    "another encoding": lambda: change_header(det_parts(), parts=det_specs(enc="zip")),
    "a negative shape": lambda: change_header(det_parts(), parts=det_specs(shape=[-1, 4])),
    "a huge shape": lambda: change_header(det_parts(), parts=det_specs(shape=[2**62, 2**62])),
    "a shape beyond int64": lambda: change_header(det_parts(), parts=det_specs(shape=[2**64 - 1])),
    "many dimensions": lambda: change_header(det_parts(), parts=det_specs(shape=[2, 2, 2, 1, 1])),
    "another name": lambda: change_header(det_parts(), parts=det_specs(name="boxes")),
}


@contract("hostile_bytes", "g")
@pytest.mark.parametrize("make_parts", BAD.values(), ids=BAD.keys())
def test_bad_messages_are_wire_errors(make_parts: Callable[[], list[wire.Part]]) -> None:
    with pytest.raises(WireError):
        wire.decode(make_parts())


@contract("hostile_bytes", "g")
def test_a_pickle_is_never_read() -> None:
    for data in (b"\x80\x04\x95", b"cos\nsystem\n"):
        with pytest.raises(WireError):
            wire.split(data)


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
READERS = (wire.decode, wire.decode_from_front, wire.decode_feedback, wire.canonical)


def read_anyhow(parts: list[wire.Part]) -> None:
    """Either it is a message or it is a WireError: nothing else may come out."""
    for read in READERS:
        try:
            read(parts)
        except WireError:
            continue


@contract("hostile_bytes", "g")
@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.binary(max_size=64), max_size=6))
def test_random_parts_are_refused_cleanly(parts: list[bytes]) -> None:
    read_anyhow(list(parts))


@contract("hostile_bytes", "g")
@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(KINDS), st.data())
def test_messages_with_a_wrong_value_are_refused_cleanly(kind: str, data: st.DataObject) -> None:
    parts = wire.encode(make_messages()[kind])
    header = msgpack.unpackb(parts[1])
    holder = header
    key = data.draw(st.sampled_from(sorted(holder)))
    while isinstance(holder[key], dict) and holder[key] and data.draw(st.booleans()):
        holder = holder[key]
        key = data.draw(st.sampled_from(sorted(holder)))
    holder[key] = data.draw(plain_values)
    read_anyhow([parts[0], msgpack.packb(header), *parts[2:]])


@contract("hostile_bytes", "g")
@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(make_tile_stream())), st.integers(0, 10_000), st.integers(0, 255))
def test_a_flipped_byte_is_refused_cleanly(kind: str, at: int, value: int) -> None:
    header, *arrays = make_tile_stream()[kind]
    flipped = bytearray(header)
    flipped[at % len(flipped)] = value
    read_anyhow([bytes(flipped), *arrays])


def test_an_embedding_of_no_numbers_travels() -> None:
    message = replace(make_messages()["emb"], embedding=np.zeros(0, np.float32))
    assert_same(wire.decode(wire.encode(message)), message)
