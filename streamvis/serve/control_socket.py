"""The control socket: JSON requests over ZeroMQ, one at a time."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

import zmq

from streamvis.address import Address
from streamvis.errors import AddressError, ControlError, StreamvisError
from streamvis.publish.bind import bind, remove_file
from streamvis.serve.desk import Answer, Desk
from streamvis.serve.guard import MAX_DEPTH, MAX_REQUEST_BYTES, RareLog, RateLimit, depth_of

log = logging.getLogger(__name__)

_POLL_MS = 100
_WAIT_S = 0.02  # for whoever asks too often: it gets its answer, later
_CLIENT_PATIENCE_S = 30.0
_EVERYBODY = "control socket"


class ControlSocket:
    """Answers on a thread of its own. Only processes of this host, and of this user where it is
    an ipc socket, can reach it."""

    def __init__(self, desk: Desk, address: str) -> None:
        """Raises AddressError for an address that other hosts could reach."""
        self.address = address
        self._desk = desk
        self._log = RareLog()
        self._rate = RateLimit(rate_hz=100.0)
        self._stopping = threading.Event()
        parsed = Address.parse(address)
        if not parsed.is_local:
            raise AddressError(
                f"{address} can be reached from other hosts. The control socket stays on this "
                "one: use ipc:///PATH or 127.0.0.1, and HTTP with a token from elsewhere."
            )
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REP)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_REQUEST_BYTES)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self.address = bind(self._socket, parsed)
        except AddressError:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def __enter__(self) -> ControlSocket:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._socket.close()
        remove_file(self.address)

    def _run(self) -> None:
        while not self._stopping.is_set():
            if not self._socket.poll(_POLL_MS):
                continue
            request = self._receive()
            if not self._rate.allows(_EVERYBODY):
                self._log.warn(_EVERYBODY, "requests come too fast; they are slowed down")
                self._stopping.wait(_WAIT_S)
            self._socket.send(json.dumps(self._answer(request)).encode())

    def _receive(self) -> bytes | None:
        """None for a message of several parts: MAXMSGSIZE limits each of them, not their number,
        so they are dropped one by one."""
        request = self._socket.recv()
        if not self._socket.getsockopt(zmq.RCVMORE):
            return request
        while self._socket.getsockopt(zmq.RCVMORE):
            self._socket.recv()
        return None

    def _answer(self, request: bytes | None) -> Answer:
        try:
            if request is None:
                raise ControlError("a request has one part")
            return self._desk.answer(read_request(request))
        except StreamvisError as error:
            self._log.warn(_EVERYBODY, f"a request was refused: {error}")
            return {"ok": False, "error": str(error), "exit_code": error.exit_code}
        except Exception as error:  # our own bug must not take the control away
            log.exception("a control request failed")
            return {"ok": False, "error": f"it failed: {error!r}", "exit_code": 1}


def read_request(data: bytes) -> Any:
    """JSON of bounded size and depth; ControlError otherwise."""
    if len(data) > MAX_REQUEST_BYTES:
        raise ControlError(f"a request of {len(data)} bytes; at most {MAX_REQUEST_BYTES}")
    try:
        request = json.loads(data)
        # NaN and lone surrogates are read, and whoever tells them later would break.
        json.dumps(request, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise ControlError("a request that is no JSON") from None
    if depth_of(request) > MAX_DEPTH:
        raise ControlError(f"a request nested deeper than {MAX_DEPTH} levels")
    return request


def ask(address: str, request: Answer, patience_s: float = _CLIENT_PATIENCE_S) -> Answer:
    """Put one request to a session. Raises ControlError with what the session says, or when it
    does not answer."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
    socket.setsockopt(zmq.LINGER, 0)
    try:
        socket.connect(Address.parse(address).endpoint)
        socket.send(json.dumps(request).encode())
        if not socket.poll(round(patience_s * 1000)):
            raise ControlError(f"no session answers at {address}; is it running?")
        answer: Answer = json.loads(socket.recv())
    finally:
        socket.close()
    if not answer.pop("ok"):
        error = ControlError(answer["error"])
        error.exit_code = answer["exit_code"]
        raise error
    return answer
