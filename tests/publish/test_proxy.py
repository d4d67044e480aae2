from __future__ import annotations

import logging
import socket
import stat
import threading
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic

import msgpack
import psutil
import pytest
import zmq
from endpoint import WAIT_S, Endpoint, endpoint
from matrix import contract
from wire_samples import ORIGIN, make_result

from streamvis import wire
from streamvis.client import AnyMessage, DetMessage, Heartbeat, ImgMessage, Subscriber
from streamvis.errors import AddressError, WireError
from streamvis.publish.config import PublishConfig
from streamvis.publish.heartbeat import Heart
from streamvis.publish.info import Informer
from streamvis.publish.outlet import Outlet
from streamvis.publish.proxy import Proxy
from streamvis.publish.publisher import Publisher
from streamvis.publish.sync import SyncJoiner
from streamvis.runtime.ledger import RunLedger
from streamvis.types import CameraInfo
from streamvis.wire import Origin

BIG = b"\xff" * 20_000  # a picture: fills the kernel's buffers soon


def test_every_result_reaches_every_subscriber_in_order(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e, e.subscriber("det") as one, e.subscriber("det", "emb") as two:
        with e.publisher() as publisher:
            for i in range(20):
                publisher.send(make_result(i))
        of_one, of_two = e.stop_and_read(one, two)
        assert [m.frame_index for m in of_one] == list(range(20))
        assert Counter(m.kind for m in of_two) == {"det": 20, "emb": 20}
        assert not one.gaps
        assert not two.gaps


def test_the_camera_filter_and_the_kind_filter(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e, e.subscriber("emb", cameras=["cam1"]) as sub:
        with e.publisher() as publisher:
            for camera in ("cam1", "cam10", "cam2"):
                publisher.send(make_result(0, camera))
        (messages,) = e.stop_and_read(sub)
        assert [(m.kind, m.camera) for m in messages] == [("emb", "cam1")]
        assert not sub.gaps


def test_two_workers_have_epochs_of_their_own(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e, e.subscriber() as sub:
        for _ in range(2):  # the second worker replaces the first
            with e.publisher() as publisher:
                publisher.send(make_result(0))
                publisher.send(make_result(1))
        (messages,) = e.stop_and_read(sub)
        assert [m.seq for m in messages] == [0, 1, 0, 1]
        assert len({m.epoch for m in messages}) == 2
        assert sub.num_restarts == 1
        assert not sub.gaps


def test_the_last_heartbeat_says_stopped_and_what_was_sent(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e, e.subscriber("hb") as sub:
        with e.publisher() as publisher:
            publisher.send(make_result(0))
        ((*_, last),) = e.stop_and_read(sub)
        assert isinstance(last, Heartbeat)
        assert last.is_stopped
        assert last.last_seq["sv1/det/av_4cam/front/"].seq == 0


def test_observers_publish_beside_the_results(tmp_path: Path) -> None:
    joiner = SyncJoiner(Origin.here("av_4cam"), ["front", "left"], 0)
    with endpoint(tmp_path, observers=[joiner]) as e, e.subscriber("det", "sync", "hb") as sub:
        with e.publisher() as publisher:
            for camera in ("front", "left"):
                publisher.send(make_result(3, camera))
        (messages,) = e.stop_and_read(sub)
        results = [m.kind for m in messages if m.kind != "hb"]
        assert results == ["det", "det", "sync"]
        assert messages[-1].last_seq["sv1/sync/av_4cam/*/"].seq == 0


@contract("hostile_bytes", "g")
def test_a_message_that_cannot_be_read_is_counted_not_forwarded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with endpoint(tmp_path) as e, e.subscriber() as sub:
        with e.publisher() as publisher:
            publisher._socket.send_multipart([b"sv1/det/av_4cam/front/", b"nonsense"])
            publisher.send(make_result(0))
        ((message,),) = e.stop_and_read(sub)
        assert message.seq == 0
        assert e.proxy.num_bad == 1
        assert "bad message" in caplog.text


@contract("hostile_bytes", "g")
def test_what_is_told_of_256_cameras_and_a_huge_option_do_not_end_the_proxy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"a-camera-with-a-long-name-{i}" for i in range(256)]
    informer = Informer(ORIGIN, 10**12, "x" * wire.MAX_CONFIG_BYTES)
    with endpoint(tmp_path, observers=[informer]) as e, e.subscriber("hb", "info", "det") as sub:
        seen = wire.peek(wire.encode(DetMessage.of(make_result(0), ORIGIN, 0)))
        for name in names:
            informer.set_camera(name, CameraInfo(1920, 1080, 25.0, "h264"))
            for kind in ("det", "emb", "sem", "img", "vid", "plan", "stat"):
                topic = wire.topic_prefix(kind, ORIGIN.pipeline, name)
                e.heart.see(replace(seen, kind=kind, topic=topic, camera=name))
            e.heart.set_camera(name, "timeout", 25.0, "its server did not answer; " * 15)
        whole = {"hb": False, "info": False}
        while not all(whole.values()):
            message = next(sub)
            whole[message.kind] |= len(message.cameras) == 256
        informer.config = "x" * (1 << 21)
        informer.set_camera("front", CameraInfo(1920, 1080, 25.0, "h264"))
        with e.publisher() as publisher:
            publisher.send(make_result(0))
            while not isinstance(next(sub), DetMessage):
                pass
        assert e.proxy.num_unsent > 0
        assert "an info message cannot be published" in caplog.text
        informer.config = "{}"
        assert e.stop_and_read(sub)[0][-1].is_stopped


@contract("hostile_bytes", "g")
@pytest.mark.parametrize(
    "change",
    [
        {"capture": {"t_ns": 1, "source": "?", "uncertainty_ns": 0}},
        {"capture": 3},
        {"stamps_ns": {}},
        {"ledger": {}},
        {"model": None},
        {"parts": []},
        {"kind": "hb"},
    ],
    ids=str,
)
def test_a_header_that_is_wrong_inside_does_not_take_the_proxy_down(
    tmp_path: Path, change: dict[str, object]
) -> None:
    ledger = RunLedger(ORIGIN, ["front"], 1_000_000_000)
    joiner, informer = SyncJoiner(ORIGIN, ["front"], 0), Informer(ORIGIN, 10**12, "{}")
    with endpoint(tmp_path, observers=[ledger, joiner, informer]) as e, e.subscriber() as sub:
        with e.publisher() as publisher:
            topic, header, *arrays = wire.encode(DetMessage.of(make_result(0), publisher.origin, 0))
            changed = msgpack.packb({**msgpack.unpackb(header), **change})
            topic = bytes(topic).replace(b"/det/", b"/hb/") if "kind" in change else topic
            publisher._socket.send_multipart([topic, changed, *arrays])
            publisher.send(make_result(1))
        messages = read_what_can_be(sub, e)
        assert messages[-1].frame_index == 1
        assert e.proxy.num_bad == 1


def read_what_can_be(sub: Subscriber, e: Endpoint) -> list[AnyMessage]:
    """Until the pipeline stopped; a subscriber goes on after a message it cannot read."""
    stopper = threading.Thread(target=e.proxy.stop)
    stopper.start()
    found = []
    while True:
        try:
            found.append(next(sub))
        except WireError:
            continue
        except StopIteration:
            stopper.join()
            return found


@contract("subscribers")
def test_fifty_that_join_and_leave_disturb_nobody(tmp_path: Path) -> None:
    process, num_files = psutil.Process(), []
    with endpoint(tmp_path) as e, e.subscriber("det") as steady, e.publisher() as publisher:
        for i in range(50):
            publisher.send(make_result(i))
            assert next(steady).seq == i
            late = Subscriber(
                e.proxy.address, kinds=("det",), snapshot=True, timeout_ms=WAIT_S * 1000
            )
            with late:
                assert next(late).seq == i
            num_files.append(process.num_fds())
        with e.proxy._subscribed:
            assert e.proxy._subscribed.wait_for(lambda: e.proxy.num_subscribers == 1, WAIT_S)
        assert not steady.gaps
        assert num_files[-1] <= num_files[2] + 4


@contract("subscribers")
def test_a_slow_subscriber_loses_and_is_counted_others_do_not(tmp_path: Path) -> None:
    address = f"pub+bind:ipc://{tmp_path}/public"
    with (
        endpoint(tmp_path, address=address, hwm=4) as e,
        e.subscriber("img") as slow,
        e.subscriber("img") as fast,
    ):
        with e.publisher() as publisher:
            for i in range(200):
                publisher.send_image("front", i, BIG)
                assert next(fast).seq == i
        assert e.proxy.num_overflows > 0
        assert not fast.gaps
        of_slow, _ = e.stop_and_read(slow, fast)
        got = len(of_slow)
        assert 0 < got < 200
        assert sum(slow.gaps.values()) == 200 - got


def test_lossless_waits_for_a_slow_subscriber(tmp_path: Path) -> None:
    address = f"pub+bind:ipc://{tmp_path}/public"
    with endpoint(tmp_path, address=address, hwm=4, is_lossless=True) as e:
        with e.subscriber("img") as slow:

            def publish() -> None:
                with e.publisher() as publisher:
                    for i in range(400):
                        publisher.send_image("front", i, BIG)

            worker = threading.Thread(target=publish)
            worker.start()
            worker.join(timeout=0.3)
            assert worker.is_alive(), "nothing slowed the worker down: the test shows nothing"
            seqs = [next(slow).seq for _ in range(400)]
            worker.join(WAIT_S)
        assert seqs == list(range(400))
        assert e.proxy.num_overflows == 0


def test_lossless_gives_up_on_a_subscriber_that_sleeps(caplog: pytest.LogCaptureFixture) -> None:
    with zmq.Context() as context, context.socket(zmq.XPUB) as xpub, context.socket(zmq.SUB) as sub:
        for side in (xpub, sub):
            side.setsockopt(zmq.LINGER, 0)
            side.set_hwm(1)
        xpub.bind("inproc://results")
        sub.subscribe(b"")
        sub.connect("inproc://results")
        assert xpub.poll(WAIT_S * 1000)
        outlet = Outlet(xpub, patience_s=0.2)
        with caplog.at_level(logging.WARNING):
            for i in range(10):
                outlet.send([b"topic", bytes([i])])
        assert outlet.patience_s == 0
        assert outlet.num_overflows == 1
        assert len(caplog.records) == 1
        assert [sub.recv_multipart()[1] for _ in range(2)] == [b"\0", b"\1"]


def test_a_paused_subscriber_still_gets_everything_when_the_pipeline_stops(tmp_path: Path) -> None:
    """libzmq alone would cut off what waits behind a full queue when the sender closes."""
    address = f"pub+bind:ipc://{tmp_path}/public"
    with (
        endpoint(tmp_path, address=address, is_lossless=True) as e,
        e.subscriber("img") as paused,
    ):
        with e.publisher() as publisher:
            for i in range(60):
                publisher.send_image("front", i, BIG)
        (messages,) = e.stop_and_read(paused)
    assert [m.seq for m in messages] == list(range(60))


def test_subscribers_are_counted_as_they_come_and_go(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e:
        assert e.proxy.wait_for_subscribers(0, 0)
        assert not e.proxy.wait_for_subscribers(1, 0.01)
        with e.subscriber("det", "emb", "stat"), e.subscriber("hb"):
            assert e.proxy.num_subscribers == 2
        with e.proxy._subscribed:
            assert e.proxy._subscribed.wait_for(lambda: e.proxy.num_subscribers == 0, WAIT_S)


def is_subscribed(proxy: Proxy, count: int) -> bool:
    return proxy._subscriptions[b"sv1/hb/"] == count


@contract("subscribers")
def test_one_that_comes_and_goes_without_end_does_not_fill_the_others_queues(
    tmp_path: Path,
) -> None:
    with endpoint(tmp_path, period_ns=10**12) as e, e.context.socket(zmq.XSUB) as flapping:
        flapping.connect(e.proxy.address)
        began_s, first = monotonic(), e.heart.beat().seq
        for _ in range(100):
            for verb, count in ((b"\x01", 1), (b"\x00", 0)):
                flapping.send(verb + b"sv1/hb/")
                with e.proxy._subscribed:
                    is_counted = partial(is_subscribed, e.proxy, count)
                    assert e.proxy._subscribed.wait_for(is_counted, WAIT_S)
        num_beats = e.heart.beat().seq - first - 1
        assert 1 <= num_beats <= (monotonic() - began_s) / 0.05 + 2


@contract("hostile_bytes", "g")
def test_what_a_stranger_sends_neither_stays_nor_hides_those_who_listen(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e, e.subscriber("det") as sub:
        counts = e.proxy._subscriptions
        before = dict(counts)
        with e.context.socket(zmq.XSUB) as stranger:
            stranger.connect(e.proxy.address)
            for i in range(200):
                stranger.send(b"\x01" + str(i).encode())
                stranger.send(b"\x02sv1/hb/")
                stranger.send(b"")
                stranger.send(b"\x00" + str(i).encode())
            stranger.send(b"\x01last")
            with e.proxy._subscribed:
                assert e.proxy._subscribed.wait_for(lambda: counts[b"last"] == 1, WAIT_S)
        with e.proxy._subscribed:
            assert e.proxy._subscribed.wait_for(lambda: b"last" not in counts, WAIT_S)
        assert {**counts} == before
        for verb in (b"\x00", b"\x00", b"\x01"):
            e.proxy._count_subscription(verb, b"never seen")
        assert counts[b"never seen"] == 1
        e.stop_and_read(sub)


def test_stop_before_start_and_twice_is_fine(tmp_path: Path) -> None:
    with zmq.Context() as context:
        proxy = Proxy(
            PublishConfig(), f"ipc://{tmp_path}/workers", context, heart=Heart(ORIGIN, 50_000_000)
        )
        proxy.stop()
        proxy.stop()


def test_nothing_is_left_behind_and_the_same_path_serves_again(tmp_path: Path) -> None:
    for _ in range(3):
        with endpoint(tmp_path, address=f"ipc://{tmp_path}/public") as e, e.subscriber() as sub:
            for name in ("workers", "public"):
                assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
            assert e.stop_and_read(sub) == [[]]
        assert not list(tmp_path.iterdir())


def test_a_dead_processs_socket_file_is_taken_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "public"))  # never listens, as after a kill
    with endpoint(tmp_path, address=f"ipc://{tmp_path}/public") as e, e.subscriber():
        pass


def test_a_living_processs_socket_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "public"
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen()
        with pytest.raises(AddressError, match="in use by another process"):
            start(tmp_path, f"ipc://{path}")
        assert path.exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "public"
    path.write_text("precious")
    with pytest.raises(AddressError, match="not a socket"):
        start(tmp_path, f"ipc://{path}")
    assert path.read_text() == "precious"


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=rf"127\.0\.0\.1:{port} is in use.*another port"):
            start(tmp_path, f"tcp://127.0.0.1:{port}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("ipc:///no/such/folder/public", "folder that does not exist"),
        ("ipc:///tmp/" + "x" * 200, "too long"),
        ("tcp://192.0.2.1:7700", "no address of this host"),
    ],
)
def test_an_address_that_cannot_be_bound_is_explained(
    tmp_path: Path, address: str, sentence: str
) -> None:
    with pytest.raises(AddressError, match=sentence):
        start(tmp_path, address)


@pytest.mark.parametrize("is_known_dead", [True, False])
def test_the_goodbye_of_a_worker_that_died_is_not_waited_for(
    is_known_dead: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with endpoint(tmp_path) as e, e.subscriber() as sub:
        publisher = e.publisher()  # it never closes
        publisher.send(make_result(0))
        assert next(sub).seq == 0
        if is_known_dead:
            e.proxy.bury(frozenset({publisher.epoch}))
        e.stop_and_read(sub)
    waited = "1 workers ended without a goodbye" in caplog.text
    assert waited == (not is_known_dead)


def test_a_worker_without_a_proxy_says_so(tmp_path: Path) -> None:
    with zmq.Context() as context, pytest.raises(AddressError, match="no proxy answers"):
        Publisher("av_4cam", f"ipc://{tmp_path}/nobody", context, timeout_s=0.05)


def test_pictures_are_numbered_apart_from_results(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e, e.subscriber("det", "img") as sub:
        with e.publisher(epoch="e" * 32) as publisher:
            publisher.send(make_result(7))
            publisher.send_image("front", 7, b"jpeg")
        ((found, picture),) = e.stop_and_read(sub)
        assert isinstance(found, DetMessage)
        assert isinstance(picture, ImgMessage)
        assert (found.seq, picture.seq, picture.jpeg) == (0, 0, b"jpeg")
        assert found.epoch == picture.epoch == "e" * 32


def start(folder: Path, address: str) -> None:
    """Raises AddressError; the context ends, so nothing stayed open."""
    with zmq.Context() as context:
        config = PublishConfig(address=address, insecure=True)
        Proxy(config, f"ipc://{folder}/workers", context, heart=Heart(ORIGIN, 50_000_000)).start()
