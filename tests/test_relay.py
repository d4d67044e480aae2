"""The relays that other tests stand on: they delay, lose and cut, and nothing else."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from relay import TcpRelay, UdpRelay

PATIENCE_S = 10.0


@pytest.fixture
def echo():
    """The port of a server that says what it hears."""

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def say(data: bytes, connection: socket.socket) -> bytes:
    sender = threading.Thread(target=connection.sendall, args=(data,))
    sender.start()
    heard = b""
    while len(heard) < len(data):
        heard += connection.recv(65536)
    sender.join()
    return heard


def test_tcp_comes_late_and_in_order(echo):
    with TcpRelay(echo, delay_ms=30, jitter_ms=20) as relay:
        with socket.create_connection(("127.0.0.1", relay.port), PATIENCE_S) as connection:
            began_s = time.monotonic()
            assert say(b"x", connection) == b"x"
            assert time.monotonic() - began_s >= 0.06, "there and back"
            data = bytes(range(256)) * 4000
            assert say(data, connection) == data
        assert relay.num_connections == 1


def test_a_cut_breaks_what_is_open_and_nothing_else(echo):
    with TcpRelay(echo) as relay:
        with socket.create_connection(("127.0.0.1", relay.port), PATIENCE_S) as connection:
            assert say(b"x", connection) == b"x"
            relay.cut()
            assert connection.recv(1) == b""
        with socket.create_connection(("127.0.0.1", relay.port), PATIENCE_S) as connection:
            assert say(b"y", connection) == b"y"


def test_udp_is_lost_and_reordered_as_told():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        target.bind(("127.0.0.1", 0))
        target.settimeout(PATIENCE_S)
        port = target.getsockname()[1]
        with UdpRelay(port, delay_ms=20, jitter_ms=40, loss=0.3, seed=1) as relay:
            began_s = time.monotonic()
            for number in range(200):
                sender.sendto(bytes([number]), ("127.0.0.1", relay.port))
            first, back = target.recvfrom(1)
            assert time.monotonic() - began_s >= 0.02
            while relay.num_passed + relay.num_lost < 200:
                assert time.monotonic() - began_s < PATIENCE_S
            heard = [first[0], *(target.recv(1)[0] for _ in range(relay.num_passed - 1))]
            assert 30 < relay.num_lost < 90
            assert len(set(heard)) == len(heard) == 200 - relay.num_lost
            assert heard != sorted(heard)
            target.sendto(b"answer", back)
            sender.settimeout(PATIENCE_S)
            assert sender.recv(16) == b"answer"
