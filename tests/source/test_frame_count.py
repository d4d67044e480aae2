"""Pictures that never came are missed by H.264's own numbers."""

from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvis.source.frame_count import FrameCount

PLAIN = {"bf": "0", "g": "12"}
STREAMS = {
    "plain": PLAIN,
    "slices": {**PLAIN, "slices": "4"},
    "reordered": {"bf": "3", "g": "12", "x264-params": "b-pyramid=normal:open-gop=1"},
    "references": {**PLAIN, "refs": "4"},
    "fields": {**PLAIN, "flags": "+ilme+ildct"},
    "scaling": {**PLAIN, "x264-params": "cqm=jvt"},
    "baseline": {**PLAIN, "profile": "baseline"},
    "planes": {**PLAIN, "profile": "high444"},
    "refresh": {**PLAIN, "x264-params": "intra-refresh=1"},
}


def packets(options: dict[str, str], count: int = 40) -> list[bytes]:
    """In decode order; noise, so that no picture is like another."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = 64, 64
    encoder.pix_fmt = "yuv444p" if options.get("profile") == "high444" else "yuv420p"
    encoder.options = {"sc_threshold": "0", **options}
    rng = np.random.default_rng(0)
    coded = []
    for index in range(count):
        picture = av.VideoFrame.from_ndarray(rng.integers(0, 256, (64, 64, 3), np.uint8))
        picture.pts = index
        coded += encoder.encode(picture)
    return [bytes(packet) for packet in [*coded, *encoder.encode(None)]]


def is_reference(data: bytes) -> bool:
    slices = (data[at + 3] for at in range(len(data) - 3) if data[at : at + 3] == b"\0\0\1")
    return any(head & 31 in (1, 5) and head >> 5 for head in slices)


def is_idr(data: bytes) -> bool:
    return any(b"\0\0\1" + bytes([head]) in data for head in (0x65, 0x45, 0x25))


@pytest.mark.parametrize("name", STREAMS)
def test_whole_streams_have_no_gap_and_each_missing_reference_is_one(name: str) -> None:
    stream = packets(STREAMS[name])
    count = FrameCount(b"")
    assert [count.has_gap(data) for data in stream] == [False] * len(stream)
    num_missed = 0
    for lost in range(1, len(stream) - 1):
        count = FrameCount(b"")
        gaps = [count.has_gap(data) for data in stream[:lost] + stream[lost + 1 :]]
        if is_reference(stream[lost]) and not is_idr(stream[lost + 1]):
            assert any(gaps[lost:]), f"{name}: {lost} is missing"
            num_missed += 1
        assert not any(gaps[:lost])
    assert num_missed >= 10


def test_parameters_may_come_beforehand() -> None:
    first, *others = packets(PLAIN)
    count = FrameCount(first)
    assert not count.has_gap(others[0])
    assert count.has_gap(others[2])
    count.begin()
    assert not count.has_gap(others[5])


@given(st.data())
def test_damage_is_no_error(data: st.DataObject) -> None:
    first, second = packets(PLAIN, 2)[:2]
    count = FrameCount(b"")
    for unit in (first, second):
        spoilt = bytearray(unit[:60])
        for at in data.draw(st.lists(st.integers(0, len(spoilt) - 1), max_size=6)):
            spoilt[at] = data.draw(st.integers(0, 255))
        count.has_gap(bytes(spoilt))
    count.has_gap(data.draw(st.binary(max_size=80)).replace(b"\x07", b"\0\0\1\x67"))


def test_with_two_formats_it_says_nothing() -> None:
    """Which one a picture has is told where we do not look."""
    first, *others = packets(PLAIN)
    count = FrameCount(first)
    parameters = bytes([0, 0, 1, 0x67, 66, 0, 30, 0b01000101, 0b01101000])  # id 1, 8 bits
    count.has_gap(parameters)
    assert not any(count.has_gap(data) for data in others[1::2])
