"""Whatever arrives on a socket: a message, or a WireError; nothing else, and nothing huge."""

from __future__ import annotations

import tracemalloc

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrix import contract
from mutations import mutate, mutations
from wire_samples import make_answers, make_messages, make_requests, make_tile_stream

from streamvis import wire
from streamvis.client.inbox import Inbox
from streamvis.client.joining import Joining
from streamvis.errors import WireError
from streamvis.wire import Parts

READERS = (
    wire.decode,
    wire.peek,
    wire.canonical,
    wire.decode_from_front,
    wire.decode_feedback,
    wire.decode_request,
    wire.decode_answer,
)
SAMPLES: dict[str, list[bytes]] = {
    name: [bytes(part) for part in parts]
    for name, parts in {
        **{kind: wire.encode(message) for kind, message in make_messages().items()},
        **{f"tile-{kind}": parts for kind, parts in make_tile_stream().items()},
        **{f"ask-{kind}": wire.encode_request(r) for kind, r in make_requests().items()},
        **{f"answer-{kind}": parts for kind, (parts, _) in make_answers().items()},
    }.items()
}
EDGES = [0, -1, 1, 2**31, 2**63 - 1, -(2**63), 2**64 - 1, 1e308, float("nan"), float("inf")]
scalars = st.sampled_from(EDGES) | st.none() | st.booleans() | st.text(max_size=8) | st.binary()
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(scalars, inner, max_size=4),
    max_leaves=10,
)


def read_anyhow(parts: Parts) -> None:
    for read in READERS:
        try:
            read(parts)
        except WireError:
            continue


@contract("hostile_bytes", "g")
@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_mutated_messages(name: str, data: st.DataObject) -> None:
    parts = list(SAMPLES[name])
    at = data.draw(st.integers(0, len(parts) - 1))
    parts[at] = mutate(parts[at], data.draw(mutations))
    read_anyhow(parts)


@contract("hostile_bytes", "g")
@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_headers_with_another_value_somewhere(name: str, data: st.DataObject) -> None:
    parts = list(SAMPLES[name])
    at = 1 if name in make_messages() else 0
    header = msgpack.unpackb(parts[at])
    holder, key = header, data.draw(st.sampled_from(sorted(header)))
    while isinstance(holder[key], (dict, list)) and holder[key] and data.draw(st.booleans()):
        holder = holder[key]
        keys = sorted(holder) if isinstance(holder, dict) else range(len(holder))
        key = data.draw(st.sampled_from(keys))
    holder[key] = data.draw(trees)
    try:
        parts[at] = msgpack.packb(header)
    except (ValueError, OverflowError):  # not to be written, so never read
        return
    read_anyhow(parts)


@contract("hostile_bytes", "g")
@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.binary(max_size=80), max_size=5))
def test_any_parts(parts: list[bytes]) -> None:
    read_anyhow(list(parts))


@contract("hostile_bytes", "g")
@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(sorted(make_messages())), mutations), max_size=8))
def test_a_subscription_survives_a_hostile_stream(stream: list[tuple[str, object]]) -> None:
    """What was refused leaves the books as they were; what was not is booked."""
    inbox, joining = Inbox(wire.KINDS, max_age_ms=1000), Joining()
    for name, change in stream:
        topic, header, *arrays = SAMPLES[name]
        parts = [topic, mutate(header, change), *arrays]
        for act in (inbox.accept, inbox.accept_state, inbox.open):
            try:
                act(parts)
            except WireError:
                continue
        try:
            joining.see(wire.peek(parts), parts)
        except WireError:
            continue


BOMBS = {
    "a list that claims 2^32 items": b"\xdd\xff\xff\xff\xff",
    "a map that claims 2^32 items": b"\xdf\xff\xff\xff\xff",
    "a text that claims 4 GB": b"\xdb\xff\xff\xff\xff",
    "bytes that claim 4 GB": b"\xc6\xff\xff\xff\xff",
    "lists in lists": b"\x91" * 60_000 + b"\xc0",
    "maps in maps": b"\x81\xc0" * 30_000 + b"\xc0",
    "many empty lists": b"\xdc\xff\xff" + b"\x90" * 65_535,
    "an extension": b"\xc9\xff\xff\xff\xff\x01",
    "a time stamp": b"\xd7\xff" + b"\xff" * 8,
}


@contract("hostile_bytes", "g")
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_cost_no_memory(bomb: bytes) -> None:
    headers = [bomb, b"\x82\xa1v\x92\x01\x03\xa1x" + bomb]
    tracemalloc.start()
    try:
        for header in headers:
            read_anyhow([header])
            read_anyhow([b"sv1/det/av_4cam/front/", header])
            with pytest.raises(WireError):
                wire.split(header)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000
