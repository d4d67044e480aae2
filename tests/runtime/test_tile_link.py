"""The tile stream's sockets: keys between hosts, and nonsense from whoever gets through."""

from __future__ import annotations

import logging
from contextlib import suppress

import pytest
import zmq
from matrix import contract
from wire_samples import make_feedback, make_packet

from streamvis.client.curve import RunKeys
from streamvis.errors import AddressError
from streamvis.runtime.tile_link import BackLink, FrontLink
from streamvis.types import SourceCounts, TilePacket
from streamvis.wire import End, decode_feedback

WAIT_MS = 20_000
SHORT_MS = 300


def exchange(keys: RunKeys | None, endpoint: str) -> None:
    back = BackLink(endpoint, keys)
    front = FrontLink(back.endpoint, "front", keys)
    try:
        front.send(make_packet())
        packet = back.receive(WAIT_MS)
        assert isinstance(packet, TilePacket)
        assert (packet.tiles == make_packet().tiles).all()
        back.reply("front", make_feedback())
        feedback = front.receive(WAIT_MS)
        assert feedback is not None
        assert feedback.acked_seq == make_feedback().acked_seq
        front.end(SourceCounts(frames=5))
        assert back.receive(WAIT_MS) == End("front", SourceCounts(frames=5))
    finally:
        front.close()
        back.close()


@pytest.mark.parametrize("keys", [None, RunKeys.fresh()], ids=["plain", "encrypted"])
def test_packets_and_feedback_pass(keys: RunKeys | None) -> None:
    exchange(keys, "tcp://127.0.0.1:0")


def test_links_with_keys_follow_each_other_in_one_process() -> None:
    keys = RunKeys.fresh()
    for _ in range(5):
        BackLink("tcp://127.0.0.1:0", keys).close()


@contract("hostile_bytes", "g")
def test_another_runs_camera_is_not_let_in() -> None:
    run, other = RunKeys.fresh(), RunKeys.fresh()
    back = BackLink("tcp://127.0.0.1:0", run)
    for keys in (other, RunKeys(run.server, other.client), None):
        front = FrontLink(back.endpoint, "front", keys)
        front._socket.setsockopt(zmq.LINGER, 0)
        front._socket.setsockopt(zmq.SNDTIMEO, SHORT_MS)
        with suppress(AddressError):  # the refusal may be quicker
            front.send(make_packet())
        assert back.receive(SHORT_MS) is None
        front.close()
    assert back.num_bad == 0
    back.close()


@pytest.mark.parametrize("endpoint", ["tcp://0.0.0.0:0", "tcp://192.0.2.1:7"])
def test_without_keys_it_stays_on_this_host(endpoint: str) -> None:
    with pytest.raises(AddressError, match="leaves this host"):
        BackLink(endpoint)
    with pytest.raises(AddressError, match="leaves this host"):
        FrontLink(endpoint, "front")


@contract("hostile_bytes", "g")
def test_nonsense_is_counted_answered_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    back = BackLink("tcp://127.0.0.1:0")
    with (
        caplog.at_level(logging.WARNING),
        zmq.Context.instance().socket(zmq.DEALER) as hostile,
    ):
        hostile.connect(back.endpoint)
        for parts in ([b"?"], [b""], [b"\x80"] * 3):
            hostile.send_multipart(parts)
            assert back.receive(WAIT_MS) is None
            assert hostile.poll(WAIT_MS)
            assert decode_feedback(hostile.recv_multipart()).need_i
    assert back.num_bad == 3
    assert len(caplog.records) == 1
    back.close()
