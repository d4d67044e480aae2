"""Requests to a pipeline's service and its answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from wire_samples import GOLDEN, make_answers, make_messages, make_requests

from streamvis import wire
from streamvis.errors import VersionError, WireError

REQUESTS, ANSWERS = make_requests(), make_answers()


@pytest.mark.parametrize("kind", sorted(REQUESTS))
def test_a_request_survives_the_wire_for_ever(kind: str) -> None:
    request = REQUESTS[kind]
    assert wire.decode_request(wire.encode_request(request)) == request
    golden = wire.split((GOLDEN / f"v1.3-request-{kind}.msgpack").read_bytes())
    assert wire.decode_request(golden) == request


@pytest.mark.parametrize("kind", sorted(ANSWERS))
def test_an_answer_survives_the_wire_for_ever(kind: str) -> None:
    parts, answer = ANSWERS[kind]
    assert wire.decode_answer(parts) == answer
    golden = wire.split((GOLDEN / f"v1.3-answer-{kind}.msgpack").read_bytes())
    assert wire.decode_answer(golden) == answer


def test_a_heartbeat_that_names_its_service_is_read_for_ever() -> None:
    beat = replace(make_messages()["hb"], service="tcp://127.0.0.1:7701")
    assert wire.decode(wire.encode(beat)) == beat
    golden = wire.split((GOLDEN / "v1.3-hb-service.msgpack").read_bytes())
    assert wire.decode(golden) == beat


def changed(parts: wire.Parts, /, **changes: Any) -> list[wire.Part]:
    header = {**msgpack.unpackb(parts[0]), **changes}
    return [msgpack.packb(header), *parts[1:]]


def request(**changes: Any) -> Callable[[], object]:
    parts = changed(wire.encode_request(REQUESTS["read"]), **changes)
    return lambda: wire.decode_request(parts)


def batch(*more: bytes, **changes: Any) -> Callable[[], object]:
    parts = [*changed(ANSWERS["batch"][0], **changes), *more]
    return lambda: wire.decode_answer(parts)


BAD = {
    "an unknown request": request(kind="write"),
    "too many prefixes": request(prefixes=["a"] * 65),
    "prefixes that are none": request(prefixes=[1]),
    "a negative credit": request(credit=-1),
    "a position before all": request(after=-2),
    "a request in two parts": lambda: wire.decode_request([b"\x80", b""]),
    "no request": lambda: wire.decode_request([]),
    "a deep request": request(x=[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]),
    "an unknown answer": batch(kind="gift"),
    "a message too many": batch(wire.join([b"a"])),
    "positions that go back": batch(positions=[5, 3]),
    "a position behind the end": batch(end=4),
    "a message that is none": batch(b"?", positions=[3, 5, 6], end=9),
    "no answer": lambda: wire.decode_answer([]),
    "schemas without names": lambda: wire.decode_answer(changed(ANSWERS["schemas"][0], kinds=[])),
}


@pytest.mark.parametrize("read", BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_a_wire_error(read: Callable[[], object]) -> None:
    with pytest.raises(WireError):
        read()


def test_another_major_version_is_told_apart() -> None:
    for read in (request(v=[2, 0]), batch(v=[2, 0])):
        with pytest.raises(VersionError):
            read()


def test_a_header_may_be_as_deep_as_the_limit() -> None:
    deep: Any = 1
    for _ in range(wire.MAX_DEPTH - 1):
        deep = [deep]
    parts = wire.encode(make_messages()["stat"])
    for value, is_fine in ((deep, True), ([deep], False)):
        header = msgpack.packb({**msgpack.unpackb(parts[1]), "later": value})
        if is_fine:
            wire.peek([parts[0], header])
        else:
            with pytest.raises(WireError, match="nested deeper"):
                wire.peek([parts[0], header])
