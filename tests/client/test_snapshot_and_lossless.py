"""Late joiners and lossless readers on real sockets."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import zmq
from endpoint import WAIT_S, Endpoint, endpoint
from matrix import contract
from wire_samples import make_result

from streamvis import wire
from streamvis.client import AddressError, AsyncSubscriber, Lagging, Subscriber
from streamvis.wire import AnyMessage

SILENT_MS = 300.0


def wait_for_readers(e: Endpoint, count: int) -> None:
    with e.proxy._subscribed:
        assert e.proxy._subscribed.wait_for(lambda: e.proxy._num_readers == count, WAIT_S)


@contextmanager
def reader(e: Endpoint, *kinds: str, **options: Any) -> Iterator[Subscriber]:
    """A lossless one that is known to the service: what is published from now on is its own."""
    subscriber = Subscriber(
        e.proxy.address,
        kinds=kinds or ("det",),
        lossless=True,
        **{"timeout_ms": WAIT_S * 1000, **options},
    )
    with subscriber:
        while e.proxy._num_readers == 0:
            subscriber._feed.take(monotonic())
            e.proxy.wait_for_subscribers(1, 0.01)
        yield subscriber
    wait_for_readers(e, 0)


def take_all(subscriber: Subscriber) -> list[AnyMessage]:
    """Until nothing has come for a moment."""
    subscriber._timeout_ms = SILENT_MS
    found = []
    try:
        for message in subscriber:
            found.append(message)
    except TimeoutError:
        return found
    return found


# ---------------------------------------------------------------- snapshot


def test_a_late_joiner_gets_the_newest_of_each_topic_and_what_follows(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e, e.publisher() as publisher, e.subscriber() as early:
        for i in range(5):
            for camera in ("front", "left"):
                publisher.send(make_result(i, camera))
        for _ in range(10):
            next(early)
        with e.subscriber("det", "emb", snapshot=True) as late:
            state = {(m.kind, m.camera): m.seq for m in (next(late) for _ in range(4))}
            assert state == {(k, c): 4 for k in ("det", "emb") for c in ("front", "left")}
            publisher.send(make_result(5))
            assert [(next(late).kind, next(late).seq) for _ in range(1)] == [("det", 5)]
            assert not late.gaps


@contract("subscribers", "d")
def test_a_snapshot_holds_no_result_that_is_too_old(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e, e.publisher() as publisher, e.subscriber() as early:
        publisher.send(make_result(0, "front", t_ingest_ns=0))
        publisher.send(make_result(0, "left", t_ingest_ns=2**62))
        next(early), next(early)
        with e.subscriber(snapshot=True, max_age_ms=1000) as late:
            assert next(late).camera == "left"
            publisher.send(make_result(1, "front", t_ingest_ns=0))
            with pytest.raises(Lagging):
                next(late)


def test_asyncio_gets_a_snapshot_too(tmp_path: Path) -> None:
    async def read(address: str) -> AnyMessage:
        async with AsyncSubscriber(address, snapshot=True, timeout_ms=WAIT_S * 1000) as sub:
            return await anext(sub)

    with endpoint(tmp_path) as e, e.publisher() as publisher, e.subscriber() as early:
        publisher.send(make_result(7))
        next(early)
        assert asyncio.run(read(e.proxy.address)).frame_index == 7


@contract("subscribers")
@pytest.mark.parametrize("how", ["snapshot", "lossless"])
def test_a_service_behind_a_firewall_is_named(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamvis.client.patience._PATIENCE_S", 0.3)
    monkeypatch.setattr("streamvis.client.lossless_feed._SILENCE_S", 0.1)
    with endpoint(tmp_path) as e:
        e.heart.service = f"ipc://{tmp_path}/nobody"
        with Subscriber(e.proxy.address, timeout_ms=WAIT_S * 1000, **{how: True}) as sub:
            with pytest.raises(AddressError, match="nobody gave no answer"):
                next(sub)
            with pytest.raises(AddressError, match="nobody gave no answer"):
                next(sub)


def test_an_older_pipeline_is_told_apart(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e:
        e.heart.service = None
        for mode in ({"snapshot": True}, {"lossless": True}):
            with (
                Subscriber(e.proxy.address, timeout_ms=WAIT_S * 1000, **mode) as sub,
                pytest.raises(AddressError, match="an older streamvis publishes there"),
            ):
                next(sub)


# ---------------------------------------------------------------- lossless


@contract("subscribers")
def test_a_reader_that_sleeps_gets_everything_later(tmp_path: Path) -> None:
    with endpoint(tmp_path, hwm=4) as e, reader(e, "det", "emb") as sub:
        with e.publisher() as publisher:
            for i in range(100):
                publisher.send(make_result(i))
        (messages,) = e.stop_and_read(sub)
        assert [(m.kind, m.seq) for m in messages] == [
            (kind, i) for i in range(100) for kind in ("det", "emb")
        ]
        assert not sub.gaps


def test_asyncio_reads_losslessly_too(tmp_path: Path) -> None:
    async def read(address: str) -> list[int]:
        async with AsyncSubscriber(address, lossless=True, timeout_ms=WAIT_S * 1000) as sub:
            return [message.seq async for message in sub]

    with endpoint(tmp_path) as e:
        got: list[int] = []
        thread = threading.Thread(target=lambda: got.extend(asyncio.run(read(e.proxy.address))))
        thread.start()
        wait_for_readers(e, 1)
        with e.publisher() as publisher:
            for i in range(50):
                publisher.send(make_result(i))
        e.proxy.stop()
        thread.join(WAIT_S)
    assert got == list(range(50))


def test_a_reader_resumes_where_another_one_ended(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e, e.publisher() as publisher:
        with reader(e) as first:
            for i in range(10):
                publisher.send(make_result(i))
            assert [next(first).seq for _ in range(4)] == [0, 1, 2, 3]
            cursor = first.cursor
        assert cursor is not None
        with reader(e, resume=cursor) as second:
            assert [next(second).seq for _ in range(6)] == [4, 5, 6, 7, 8, 9]


@contract("subscribers")
def test_what_the_store_forgot_is_told_and_reading_goes_on(tmp_path: Path) -> None:
    with endpoint(tmp_path, store="50kB") as e, e.publisher() as publisher:
        with reader(e) as first:
            publisher.send(make_result(0))
            next(first)
            cursor = first.cursor
        with e.subscriber() as other:
            for i in range(1, 300):
                publisher.send(make_result(i))
                next(other)
        with reader(e, resume=cursor) as late:
            with pytest.raises(Lagging, match="the pipeline forgot up to"):
                next(late)
            first_seq = next(late).seq
            assert 1 < first_seq < 299
            assert [m.seq for m in take_all(late)] == list(range(first_seq + 1, 300))


@contract("subscribers")
def test_a_pipeline_that_was_started_again_is_told(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/public"
    with endpoint(tmp_path, address=address) as e, e.publisher() as publisher, reader(e) as sub:
        publisher.send(make_result(0))
        next(sub)
        cursor = sub.cursor
    with endpoint(tmp_path, address=address) as e, e.publisher() as publisher:
        with e.subscriber() as other:
            publisher.send(make_result(0))
            next(other)
        with reader(e, resume=cursor) as sub:
            with pytest.raises(Lagging, match="was started again"):
                next(sub)
            assert next(sub).seq == 0


def test_a_service_that_forgot_the_reader_is_asked_again(tmp_path: Path) -> None:
    """As after a lost connection: the reader knows where it was."""
    with endpoint(tmp_path) as e, e.publisher() as publisher, reader(e) as sub:
        publisher.send(make_result(0))
        next(sub)
        e.proxy._service._readers.clear()
        publisher.send(make_result(1))
        assert next(sub).seq == 1
        assert not take_all(sub)


def test_a_replay_waits_for_its_lossless_readers(tmp_path: Path) -> None:
    picture = b"\xff" * 20_000
    with (
        endpoint(tmp_path, is_lossless=True, store="2MB") as e,
        reader(e, "img") as sub,
    ):

        def publish() -> None:
            with e.publisher() as publisher:
                for i in range(500):
                    publisher.send_image("front", i, picture)

        worker = threading.Thread(target=publish)
        worker.start()
        worker.join(timeout=0.5)
        assert worker.is_alive(), "nothing slowed the worker down: the test shows nothing"
        assert [next(sub).seq for _ in range(500)] == list(range(500))
        e.stop_and_read(sub)
        worker.join(WAIT_S)


def test_without_a_store_there_is_no_lossless_reading(tmp_path: Path) -> None:
    with (
        endpoint(tmp_path, store="0B") as e,
        Subscriber(e.proxy.address, lossless=True, timeout_ms=WAIT_S * 1000) as sub,
        pytest.raises(AddressError, match="keeps no store"),
    ):
        next(sub)


@pytest.mark.parametrize("options", [{"latest": True}, {"snapshot": True}])
def test_lossless_means_everything(tmp_path: Path, options: dict[str, bool]) -> None:
    with pytest.raises(ValueError, match="leave out latest and snapshot"):
        Subscriber(f"ipc://{tmp_path}/x", lossless=True, **options)


@pytest.mark.parametrize("cursor", ["", "12", "x:1", "e" * 32 + ":-2", "e" * 32 + ":" + "9" * 99])
def test_a_cursor_that_is_none_is_refused(tmp_path: Path, cursor: str) -> None:
    with pytest.raises(ValueError, match="is not a cursor"):
        Subscriber(f"ipc://{tmp_path}/x", lossless=True, resume=cursor)


# ---------------------------------------------------------------- the service itself


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Endpoint]:
    with ExitStack() as stack:
        yield stack.enter_context(endpoint(tmp_path))


def ask(e: Endpoint, *requests: list[bytes]) -> list[wire.Answer]:
    """The answers to some requests; the last of them must get one."""
    with e.context.socket(zmq.DEALER) as socket:
        socket.connect(e.heart.service)
        for request in requests:
            socket.send_multipart(request)
        answers = []
        while socket.poll(WAIT_S * 1000 if not answers else 0):
            answers.append(wire.decode_answer(socket.recv_multipart()))
        return answers


def test_the_schemas_are_served(opened: Endpoint) -> None:
    (answer,) = ask(opened, wire.encode_request(wire.SchemasRequest(3)))
    assert isinstance(answer, wire.Schemas)
    assert (answer.request, tuple(answer.by_kind)) == (3, wire.KINDS)
    assert '"streamvis/v1/det.json"' in answer.by_kind["det"]


@contract("hostile_bytes", "g")
def test_bad_requests_are_counted_and_told_once(
    opened: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    bad = [[b"?"], [b"", b""], [b"\x80"], [b"\x93" * 9], [b"\xc1"]]
    good = wire.encode_request(wire.SchemasRequest(1))
    answers = ask(opened, *bad, good)
    assert len(answers) == 1
    assert opened.proxy._service.num_bad == len(bad)
    assert Counter(r.message.split(" (")[0] for r in caplog.records) == {
        "a client sent a bad request": 1
    }


@contract("hostile_bytes", "g")
def test_a_huge_request_is_cut_off_and_others_are_served(opened: Endpoint) -> None:
    with opened.context.socket(zmq.DEALER) as hostile:
        hostile.setsockopt(zmq.LINGER, 0)
        hostile.connect(opened.heart.service)
        hostile.send(bytes(1 << 20))
        assert ask(opened, wire.encode_request(wire.SchemasRequest(1)))
        assert opened.proxy.is_running


@contract("hostile_bytes", "g")
def test_there_are_only_so_many_readers(opened: Endpoint) -> None:
    with ExitStack() as stack:
        for i in range(65):
            socket = stack.enter_context(opened.context.socket(zmq.DEALER))
            socket.connect(opened.heart.service)
            socket.send_multipart(wire.encode_request(wire.ReadRequest(1, ("",), "", -1, 1)))
            assert socket.poll(WAIT_S * 1000)
            answer = wire.decode_answer(socket.recv_multipart())
            assert isinstance(answer, wire.Refusal if i == 64 else wire.Batch)
