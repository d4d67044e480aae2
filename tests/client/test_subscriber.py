from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from endpoint import WAIT_S, endpoint
from matrix import contract
from wire_samples import make_result

from streamvis import wire
from streamvis.client import (
    AddressError,
    AnyMessage,
    AsyncSubscriber,
    DetMessage,
    Lagging,
    Subscriber,
)

REPO = Path(__file__).resolve().parents[2]


def test_latest_skips_what_is_superseded_and_counts_no_gap(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e, e.subscriber("det", latest=True) as sub:
        with e.publisher() as publisher:
            for i in range(20):
                for camera in ("front", "left"):
                    publisher.send(make_result(i, camera))
        e.proxy.stop()  # waits until the subscriber's queue has everything
        assert {m.camera: m.frame_index for m in sub} == {"front": 19, "left": 19}
        assert not sub.gaps


@contract("subscribers", "d")
def test_a_result_that_is_too_old_raises_and_reading_goes_on(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e, e.subscriber(max_age_ms=1) as sub, e.publisher() as publisher:
        publisher.send(make_result(0, t_ingest_ns=0))
        publisher.send(make_result(1, t_ingest_ns=2**62))  # from the future: never too old
        with pytest.raises(Lagging, match="frame 0 of front"):
            next(sub)
        assert next(sub).seq == 1


def test_silence_is_an_error_when_a_timeout_is_set(tmp_path: Path) -> None:
    sentence = "nothing came from ipc.*start the pipeline"
    with (
        Subscriber(f"ipc://{tmp_path}/nobody", timeout_ms=20) as sub,
        pytest.raises(TimeoutError, match=sentence),
    ):
        next(sub)


def test_silence_of_an_alive_pipeline_is_told_apart(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e:
        e.heart.set_camera("front", "lost")
        with (
            e.subscriber("det", timeout_ms=200) as sub,  # four heartbeats
            pytest.raises(TimeoutError, match=r"av_4cam is alive; its cameras: front \(lost\)"),
        ):
            next(sub)


def test_asyncio_gets_the_same_and_ends_the_same(tmp_path: Path) -> None:
    async def read(address: str, connected: threading.Event) -> list[AnyMessage]:
        async with AsyncSubscriber(address, kinds=("det", "emb"), timeout_ms=WAIT_S * 1000) as sub:
            connected.set()
            return [message async for message in sub]

    with endpoint(tmp_path) as e:
        received: list[AnyMessage] = []
        connected = threading.Event()
        reader = threading.Thread(
            target=lambda: received.extend(asyncio.run(read(e.proxy.address, connected)))
        )
        reader.start()
        assert connected.wait(WAIT_S)
        assert e.proxy.wait_for_subscribers(1, WAIT_S)
        with e.publisher() as publisher:
            for i in range(10):
                publisher.send(make_result(i))
        e.proxy.stop()
        reader.join(WAIT_S)
        assert [(m.kind, m.seq) for m in received] == [
            (kind, i) for i in range(10) for kind in ("det", "emb")
        ]


def test_asyncio_leaves_the_loop_free_and_times_out(tmp_path: Path) -> None:
    async def read() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        task = asyncio.create_task(tick())
        async with AsyncSubscriber(f"ipc://{tmp_path}/nobody", timeout_ms=100) as sub:
            with pytest.raises(TimeoutError):
                await anext(sub)
        task.cancel()
        return ticks

    assert asyncio.run(read()) > 3


def test_an_address_pasted_from_the_pipeline_file_works(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e, Subscriber(f"pub+bind:{e.proxy.address}"):
        assert e.proxy.wait_for_subscribers(1, WAIT_S)


@pytest.mark.parametrize("address", ["", "7700", "tcp://host", "tcp://h:99999", "udp://h:1"])
def test_a_bad_address_is_explained(address: str) -> None:
    with pytest.raises(AddressError, match="Write tcp://HOST:PORT or ipc:///PATH"):
        Subscriber(address)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "pub+bind:tcp://127.0.0.1:*"])
def test_an_address_without_a_port_is_explained(address: str) -> None:
    with pytest.raises(AddressError, match="names no port"):
        Subscriber(address)


def test_the_client_loads_nothing_heavy() -> None:
    code = (
        "import sys, streamvis.client;"
        "print(sorted({'torch','ray','av','cv2','pydantic','scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_subscriber_in_the_docs_runs_in_another_process(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e:
        with subprocess.Popen(
            [sys.executable, str(REPO / "docs/subscriber.py"), e.proxy.address],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert e.proxy.wait_for_subscribers(1, WAIT_S)
            with e.publisher() as publisher:
                for i in range(3):
                    publisher.send(make_result(i))
            e.proxy.stop()
            output, _ = process.communicate(timeout=WAIT_S)
        assert process.returncode == 0
        lines = output.splitlines()
        assert [line for line in lines if "car" in line]
        assert lines[-1] == "stopped; 0 messages missed"


def test_raw_gives_the_parts_and_goes_on_after_a_silence(tmp_path: Path) -> None:
    with endpoint(tmp_path) as opened, opened.publisher() as publisher:
        subscriber = opened.subscriber(timeout_ms=50)
        with pytest.raises(TimeoutError):
            next(subscriber.raw())
        publisher.send(make_result())
        subscriber._timeout_ms = WAIT_S * 1000
        seen, parts = next(subscriber.raw())
        assert (seen.kind, seen.seq) == ("det", 0)
        assert isinstance(wire.decode(parts), DetMessage)
        subscriber.close()
