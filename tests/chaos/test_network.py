"""Between hosts: delay, jitter and cuts, made by a relay on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, monotonic_ns
from urllib.parse import urlsplit

import numpy as np
import pytest
from endpoint import WAIT_S, Endpoint, endpoint
from matrix import contract
from relay import TcpRelay
from supervised import config
from wire_samples import make_packet, make_result

from streamvis.client import Lagging, Subscriber
from streamvis.publish.publisher import Publisher
from streamvis.runtime.camera_loop import CameraLoop
from streamvis.runtime.engine import Hops, TilesAt
from streamvis.runtime.tile_link import BackLink, FrontLink
from streamvis.types import Feedback, TilePacket
from streamvis.wire import DetMessage, End

MAX_AGE_MS = 150.0
FAR_MS = 500.0
PERIOD_S = 0.01
BEAT_NS = 20_000_000
TCP = "pub+bind:tcp://127.0.0.1:0"


@contextmanager
def far_away(folder: Path, **network: float) -> Iterator[tuple[Endpoint, TcpRelay]]:
    """A pipeline, and a relay in front of it."""
    with (
        endpoint(folder, address=TCP, period_ns=BEAT_NS) as e,
        TcpRelay(target=port_of(e.proxy.address), **network) as relay,
    ):
        yield e, relay


def port_of(endpoint: str) -> int:
    port = urlsplit(endpoint).port
    assert port is not None
    return port


def subscriber(relay: TcpRelay, **options: object) -> Subscriber:
    address = f"tcp://127.0.0.1:{relay.port}"
    return Subscriber(address, timeout_ms=WAIT_S * 1000, **options)


@contextmanager
def publishing(e: Endpoint) -> Iterator[Publishing]:
    thread = Publishing(e)
    thread.start()
    try:
        yield thread
    finally:
        thread.over.set()
        thread.join()


class Publishing(threading.Thread):
    """A result every 10 ms."""

    def __init__(self, e: Endpoint) -> None:
        super().__init__()
        self.over = threading.Event()
        self.count = 0
        self._endpoint = e

    def run(self) -> None:
        with self._endpoint.publisher() as publisher:
            while not self.over.wait(PERIOD_S):
                self.publish(publisher)

    def publish(self, publisher: Publisher) -> None:
        publisher.send(make_result(self.count, t_ingest_ns=monotonic_ns()))
        self.count += 1


def true_age_ms(message: DetMessage) -> float:
    """Both ends have one clock here, whatever the subscriber takes it for."""
    return (monotonic_ns() - message.stamps_ns["ingest"]) / 1e6


@contract("network", "d")
@pytest.mark.parametrize("is_other_host", [False, True], ids=["one clock", "two clocks"])
def test_what_is_too_old_is_an_error_and_what_comes_is_in_order(
    is_other_host, tmp_path, monkeypatch, note
):
    """At first the network is quick, then slow, then quick again."""
    if is_other_host:
        monkeypatch.setattr("streamvis.client.clocks.local_clock_id", lambda: "elsewhere")
    numbers, ages_ms, num_late = [], [], 0
    with far_away(tmp_path) as (e, relay), subscriber(relay, max_age_ms=MAX_AGE_MS) as sub:
        assert e.proxy.wait_for_subscribers(1, WAIT_S)
        with publishing(e):
            deadline = monotonic() + WAIT_S
            while len(numbers) < 20 or numbers[-1] < 150 or not num_late:
                assert monotonic() < deadline, (numbers, num_late)
                if len(numbers) == 20:
                    relay.delay_ms = FAR_MS
                if num_late > 20:
                    relay.delay_ms = 0.0
                try:
                    message = next(sub)
                    ages_ms.append(true_age_ms(message))
                    numbers.append(message.frame_index)
                except Lagging:
                    num_late += 1
        assert not sub.gaps
    assert numbers == sorted(set(numbers))
    assert max(ages_ms) < MAX_AGE_MS + 50, "the shortest way, and what this test itself takes"
    assert num_late > 20
    note("oldest result handed out", max(ages_ms), "ms")


@contract("network", "d")
def test_jitter_changes_no_order_and_ages_have_the_delay_in_them(tmp_path):
    numbers, errors_ms = [], []
    with far_away(tmp_path, delay_ms=40.0, jitter_ms=40.0) as (e, relay), subscriber(relay) as sub:
        assert e.proxy.wait_for_subscribers(1, WAIT_S)
        with publishing(e):
            for _ in range(100):
                message = next(sub)
                age_ms = sub.age_ms(message)
                assert age_ms is not None
                assert age_ms >= 40.0
                errors_ms.append(true_age_ms(message) - age_ms)
                numbers.append(message.frame_index)
        assert not sub.gaps
    assert numbers == list(range(numbers[0], numbers[0] + 100))
    assert max(errors_ms) < 50


@contract("network", "c")
def test_what_a_cut_connection_lost_is_a_gap_of_just_that_size(tmp_path):
    with far_away(tmp_path, delay_ms=30.0) as (e, relay), subscriber(relay) as sub:
        assert e.proxy.wait_for_subscribers(1, WAIT_S)
        with publishing(e):
            numbers = [next(sub).frame_index for _ in range(20)]
            for _ in range(3):
                relay.cut()
                lost = sub.gaps.total()
                while sub.gaps.total() == lost:
                    numbers.append(next(sub).frame_index)
        assert numbers == sorted(set(numbers))
        assert sub.gaps.total() == numbers[-1] + 1 - len(numbers) - numbers[0]
        assert sub.num_restarts == 0


@contract("network", "c")
def test_a_lossless_reader_loses_nothing_by_a_cut(tmp_path):
    with (
        far_away(tmp_path, delay_ms=10.0, jitter_ms=20.0) as (e, relay),
        TcpRelay(target=port_of(e.heart.service), delay_ms=10.0) as service,
    ):
        e.heart.service = f"tcp://127.0.0.1:{service.port}"
        with subscriber(relay, lossless=True) as sub:
            while e.proxy._num_readers == 0:
                sub._feed.take(monotonic())
                e.proxy.wait_for_subscribers(1, 0.01)
            with publishing(e):
                numbers = [next(sub).frame_index for _ in range(20)]
                relay.cut()
                service.cut()
                cut_at = numbers[-1]
                while numbers[-1] < cut_at + 100:
                    numbers.append(next(sub).frame_index)
            assert not sub.gaps
            assert service.num_connections > 1, "it was not cut: the test shows nothing"
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


# ---------------------------------------------------------------- the tile stream


@contextmanager
def links(**network: float) -> Iterator[tuple[BackLink, FrontLink]]:
    back = BackLink("tcp://127.0.0.1:0")
    with TcpRelay(target=port_of(back.endpoint), **network) as relay:
        front = FrontLink(f"tcp://127.0.0.1:{relay.port}", "front")
        try:
            yield back, front
        finally:
            front.close()
            back.close()


@contract("network")
def test_packets_come_whole_and_in_order_through_delay_and_jitter():
    sent = [make_packet() for _ in range(30)]
    with links(delay_ms=5.0, jitter_ms=20.0) as (back, front):
        for packet in sent:
            front.send(packet)
        for packet in sent:
            received = back.receive(round(WAIT_S * 1000))
            assert isinstance(received, TilePacket)
            assert (received.seq, received.frame_index) == (packet.seq, packet.frame_index)
            assert np.array_equal(received.tiles, packet.tiles)


class Back(threading.Thread):
    """Answers every packet, as a worker does; keeps what it got."""

    def __init__(self, link: BackLink) -> None:
        super().__init__()
        self.packets: list[TilePacket] = []
        self.end: End | None = None
        self._link = link
        self._changed = threading.Condition()

    def run(self) -> None:
        while self.end is None:
            message = self._link.receive(100)
            with self._changed:
                if isinstance(message, TilePacket):
                    self.packets.append(message)
                    self._link.reply(message.camera, Feedback(message.seq, need_i=False))
                elif message is not None:
                    self.end = message
                self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.packets) >= count, WAIT_S)


@contract("network", "c")
def test_a_camera_goes_on_after_its_connection_to_the_worker_was_cut(tmp_path):
    """The packet or its answer may be lost with it: that is one frame in the books, and what
    follows begins with an I packet."""
    made = config(tmp_path, "a", worker_timeout="500ms")
    hops = Hops(f"ipc://{tmp_path}/results", tmp_path)
    link = BackLink("tcp://127.0.0.1:0")
    back = Back(link)
    back.start()
    with TcpRelay(target=port_of(link.endpoint), delay_ms=20.0) as relay:
        camera = CameraLoop(made, "a", hops)
        camera.open()
        where = TilesAt(1, f"tcp://127.0.0.1:{relay.port}")
        running = threading.Thread(target=camera.run, args=(monotonic_ns(), where))
        running.start()
        back.wait_for(5)
        for _ in range(3):
            relay.cut()
            back.wait_for(len(back.packets) + 5)
        camera.stop()
        running.join(WAIT_S)
        back.join(WAIT_S)
    link.close()
    assert back.end is not None, "the camera never ended"
    counts = back.end.counts
    seqs = [packet.seq for packet in back.packets]
    assert seqs == sorted(set(seqs))
    lost = back.packets[-1].lost_infer
    assert 1 <= lost <= 3, "the packet of each cut, or its answer"
    taken = counts.frames - counts.lost_source - counts.lost_decode - counts.lost_policy
    assert taken == seqs[-1] + 1
    assert sum(packet.plan.kind == "I" for packet in back.packets) >= 1 + lost
