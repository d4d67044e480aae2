"""CURVE on real sockets: who may listen, and what the wire shows."""

from __future__ import annotations

import logging
import socket
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zmq
from endpoint import WAIT_S, Endpoint, endpoint
from wire_samples import ORIGIN, make_result

from streamvis.client import AddressError, ClientKeys, Subscriber
from streamvis.client.curve import (
    KeyPair,
    RunKeys,
    load_allowed,
    load_pair,
    load_public,
    make_key_files,
)
from streamvis.errors import OutputError
from streamvis.publish.config import PublishConfig
from streamvis.publish.gate import AllowedFolder
from streamvis.publish.heartbeat import Heart
from streamvis.publish.proxy import Proxy
from streamvis.publish.publisher import Publisher

SHORT_MS = 300.0  # a handshake takes a few


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A pipeline's key, a friend's that is allowed, and a stranger's that is not."""
    folder = tmp_path / "keys"
    for name in ("pipeline", "stranger"):
        make_key_files(folder, name)
    make_key_files(folder / "allowed", "friend")
    return folder


def of(keys: Path, name: str) -> ClientKeys:
    secret = next(keys.rglob(f"{name}.key_secret"))
    return ClientKeys.load(keys / "pipeline.key", secret)


def options(keys: Path) -> dict[str, Any]:
    return {
        "address": "tcp://127.0.0.1:0",
        "key": keys / "pipeline.key_secret",
        "allow": keys / "allowed",
    }


def hears(e: Endpoint, **mode: Any) -> bool:
    """Whether a heartbeat gets through."""
    with Subscriber(e.proxy.address, kinds=("hb",), timeout_ms=SHORT_MS, **mode) as sub:
        try:
            return next(sub).kind == "hb"
        except TimeoutError:
            return False


def test_only_those_on_the_list_hear_anything(keys: Path, tmp_path: Path) -> None:
    with endpoint(tmp_path, **options(keys)) as e:
        assert hears(e, keys=of(keys, "friend"))
        assert not hears(e, keys=of(keys, "stranger"))
        assert not hears(e)
        wrong = ClientKeys(KeyPair.fresh().public, of(keys, "friend").own)
        assert not hears(e, keys=wrong)


def test_snapshot_and_lossless_reading_are_encrypted_too(keys: Path, tmp_path: Path) -> None:
    with endpoint(tmp_path, **options(keys)) as e:
        friend = of(keys, "friend")
        with e.subscriber(keys=friend) as early, e.publisher() as publisher:
            publisher.send(make_result(3))
            assert next(early).seq == 0
            for mode in ("snapshot", "lossless"):
                with Subscriber(
                    e.proxy.address, timeout_ms=WAIT_S * 1000, keys=friend, **{mode: True}
                ) as sub:
                    publish_until(sub, publisher)
        with e.context.socket(zmq.DEALER) as plain:
            plain.setsockopt(zmq.LINGER, 0)
            plain.connect(e.heart.service)
            with suppress(zmq.Again):  # the refusal may be quicker
                plain.send(b"?", zmq.DONTWAIT)
            assert not plain.poll(SHORT_MS)
        assert e.proxy._service.num_bad == 0


def publish_until(sub: Subscriber, publisher: Publisher) -> None:
    """Publish until it has got something: a lossless reader begins when it is known."""
    got = threading.Event()
    reader = threading.Thread(target=lambda: next(sub) and got.set())
    reader.start()
    while not got.wait(0.05):
        publisher.send(make_result(4))
    reader.join(WAIT_S)


def test_a_key_is_let_in_and_put_out_while_it_runs(keys: Path, tmp_path: Path) -> None:
    with endpoint(tmp_path, **options(keys)) as e:
        stranger = of(keys, "stranger")
        assert not hears(e, keys=stranger)
        (keys / "stranger.key").rename(keys / "allowed/stranger.key")
        assert hears(e, keys=stranger)
        (keys / "allowed/stranger.key").unlink()
        assert not hears(e, keys=stranger)


def test_subscribers_of_the_same_process_need_no_key(keys: Path, tmp_path: Path) -> None:
    """The film and the recorder of a run."""
    with endpoint(tmp_path, **options(keys)) as e:
        assert e.proxy.own_address.startswith("inproc://")
        with e.context.socket(zmq.SUB) as own:
            own.connect(e.proxy.own_address)
            own.subscribe(b"sv1/hb/")
            assert own.poll(WAIT_S * 1000)
    with endpoint(tmp_path) as e:
        assert e.proxy.own_address == e.proxy.address


def test_nothing_readable_leaves_the_host(keys: Path, tmp_path: Path) -> None:
    """A tap on the wire sees frames, and no topic or camera in them."""
    with endpoint(tmp_path, **options(keys)) as e:
        seen = relay_one_subscriber(e, of(keys, "friend"))
        assert len(seen) > 500
        assert b"av_4cam" not in seen
    with endpoint(tmp_path, address="tcp://127.0.0.1:0") as e:
        assert b"av_4cam" in relay_one_subscriber(e, None)


def relay_one_subscriber(e: Endpoint, keys: ClientKeys | None) -> bytes:
    """What passes from the pipeline to a subscriber that hears one heartbeat."""
    port = int(e.proxy.address.rpartition(":")[2])
    passed = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def pump(source: socket.socket, sink: socket.socket, copy: bytearray) -> None:
            while data := source.recv(65536):
                copy += data
                sink.sendall(data)

        def serve() -> None:
            near, _ = server.accept()
            with near, socket.create_connection(("127.0.0.1", port)) as far:
                up = threading.Thread(target=quietly, args=(pump, near, far, bytearray()))
                up.start()
                quietly(pump, far, near, passed)
                up.join(WAIT_S)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with Subscriber(address, kinds=("hb",), timeout_ms=WAIT_S * 1000, keys=keys) as sub:
            next(sub)
    return bytes(passed)


def quietly(pump: Any, *args: Any) -> None:
    try:
        pump(*args)
    except OSError:
        return


# ---------------------------------------------------------------- the workers' hop


def test_the_workers_hop_is_encrypted_and_takes_its_own_run_only() -> None:
    run, other = RunKeys.fresh(), RunKeys.fresh()
    with zmq.Context() as context:
        proxy = Proxy(
            PublishConfig(),
            "tcp://127.0.0.1:0",
            context,
            heart=Heart(ORIGIN, 50_000_000),
            run_keys=run,
        )
        with proxy:
            with Publisher("av_4cam", proxy.backend, context, run_keys=run) as publisher:
                publisher.send(make_result(0))
            stranger = RunKeys(run.server, other.client)
            for keys in (other, stranger, None):
                with pytest.raises(AddressError, match="no proxy answers"):
                    Publisher(
                        "av_4cam", proxy.backend, context, run_keys=keys, timeout_s=SHORT_MS / 1000
                    )


def test_a_hop_that_leaves_the_host_needs_keys() -> None:
    with zmq.Context() as context:
        with pytest.raises(AddressError, match="leaves this host"):
            Proxy(PublishConfig(), "tcp://0.0.0.0:0", context, heart=Heart(ORIGIN, 50_000_000))
        with pytest.raises(AddressError, match="leaves this host"):
            Publisher("av_4cam", "tcp://192.0.2.1:7", context)


# ---------------------------------------------------------------- key files


def test_a_secret_key_is_for_its_owner_only(tmp_path: Path) -> None:
    public, secret = make_key_files(tmp_path, "me")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    pair = load_pair(secret)
    assert load_public(public) == load_public(secret) == pair.public
    assert pair.secret not in public.read_bytes()
    assert pair.secret.decode() not in repr(pair)
    secret.chmod(0o640)
    with pytest.raises(AddressError, match="chmod 600"):
        load_pair(secret)


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    _, secret = make_key_files(tmp_path, "me")
    before = secret.read_bytes()
    with pytest.raises(OutputError, match="is there already"):
        make_key_files(tmp_path, "me")
    assert secret.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    ["", "hello", "public-key", 'public-key = "x"', b"\xff\xfe", 'public-key = "' + " " * 40],
)
def test_what_is_no_key_is_explained(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "bad.key"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(AddressError, match="is not a key file"):
        load_public(path)
    with pytest.raises(AddressError, match="there is no key file"):
        load_public(tmp_path / "none.key")
    with pytest.raises(AddressError, match="holds no secret key"):
        load_pair(make_key_files(tmp_path, "me")[0])


def test_a_bad_key_in_the_folder_lets_nobody_new_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_key_files(tmp_path, "me")
    key = load_public(tmp_path / "me.key")
    allowed = AllowedFolder(tmp_path)
    assert allowed(key)
    (tmp_path / "bad.key").write_text("?")
    with caplog.at_level(logging.WARNING):
        assert not allowed(key)
        assert not allowed(key)
    assert len(caplog.records) == 1
    (tmp_path / "bad.key").unlink()
    assert allowed(key)


def test_an_allow_list_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(AddressError, match="is no folder"):
        load_allowed(tmp_path / "none")


def test_a_pipeline_with_a_bad_key_does_not_start(keys: Path, tmp_path: Path) -> None:
    (keys / "pipeline.key_secret").chmod(0o644)
    with pytest.raises(AddressError, match="chmod 600"), endpoint(tmp_path, **options(keys)):
        pass
    assert not (tmp_path / "workers").exists()
