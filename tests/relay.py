"""Small relays on the loopback that make a network worse: delay, jitter, loss, and cuts.

The kernel's netem is often absent. What may change while a relay runs are plain attributes.
"""

from __future__ import annotations

import heapq
import itertools
import random
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue

_CHUNK_BYTES = 1 << 16
_LOOK_AROUND_S = 0.05
_WINDOW_BYTES = 1 << 22  # of one direction on its way: a real path holds no more either


@dataclass
class _Relay:
    """What both have in common: an own port on 127.0.0.1, and where it leads."""

    target: int  # port
    delay_ms: float = 0.0
    jitter_ms: float = 0.0  # up to so much more
    seed: int = 0
    port: int = 0  # 0: any; known once it is open
    _threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._over = threading.Event()

    def _due_s(self) -> float:
        """When what comes in now goes out."""
        extra_ms = self._random.uniform(0, self.jitter_ms)
        return time.monotonic() + (self.delay_ms + extra_ms) / 1000

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _join(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()


@dataclass
class TcpRelay(_Relay):
    """Bytes come later and in bursts, never in another order."""

    num_connections: int = 0
    _open: set[socket.socket] = field(default_factory=set)

    def __enter__(self) -> TcpRelay:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self._listener.settimeout(_LOOK_AROUND_S)
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._threads[0].join()  # nobody new comes in
        self.cut()
        self._join()
        self._listener.close()

    def cut(self) -> None:
        """Break every connection; new ones are welcome."""
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:  # as if it had been refused here
                near.close()
                continue
            self.num_connections += 1
            _Connection(self, near, far)


class _Connection:
    """Two directions; it is over when either is."""

    def __init__(self, relay: TcpRelay, near: socket.socket, far: socket.socket) -> None:
        self._relay = relay
        self._ends = {near, far}
        for end in self._ends:
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        relay._open |= self._ends
        self._num_directions = 2
        self._leaving = threading.Lock()
        for one, other in ((near, far), (far, near)):
            waiting: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
            room = threading.Semaphore(_WINDOW_BYTES // _CHUNK_BYTES)
            relay._start(self._read, one, waiting, room)
            relay._start(self._write, other, waiting, room)

    def _read(
        self,
        end: socket.socket,
        waiting: SimpleQueue[tuple[float, bytes]],
        room: threading.Semaphore,
    ) -> None:
        due_s = 0.0
        data = b"more"
        while data:
            room.acquire()
            try:
                data = end.recv(_CHUNK_BYTES)
            except OSError:
                data = b""
            due_s = max(due_s, self._relay._due_s())
            waiting.put((due_s, data))

    def _write(
        self,
        end: socket.socket,
        waiting: SimpleQueue[tuple[float, bytes]],
        room: threading.Semaphore,
    ) -> None:
        data = b"more"
        while data:
            due_s, data = waiting.get()
            room.release()
            self._relay._over.wait(max(0.0, due_s - time.monotonic()))
            with suppress(OSError):
                end.sendall(data)
        self._leave()

    def _leave(self) -> None:
        """What one side ended ends for the other, too."""
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._leaving:
            self._num_directions -= 1
            if self._num_directions:
                return
        self._relay._open -= self._ends
        for end in self._ends:
            end.close()


@dataclass
class UdpRelay(_Relay):
    """Each datagram on its own: late, out of order where there is jitter, or never. What the
    target answers goes back to who sent last."""

    loss: float = 0.0  # share of the datagrams towards the target
    num_passed: int = 0
    num_lost: int = 0

    def __enter__(self) -> UdpRelay:
        self._near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._near.bind(("127.0.0.1", self.port))
        self.port = self._near.getsockname()[1]
        self._far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._far.bind(("127.0.0.1", 0))
        self._last_sender: tuple[str, int] | None = None
        self._waiting: list[tuple[float, int, bytes, bool]] = []  # due, number, data, is_forth
        self._numbers = itertools.count()
        self._start(self._run)
        return self

    def __exit__(self, *exc: object) -> None:
        self._join()
        self._near.close()
        self._far.close()

    def _run(self) -> None:
        while not self._over.is_set():
            wait_s = self._waiting[0][0] - time.monotonic() if self._waiting else _LOOK_AROUND_S
            wait_s = min(max(0.0, wait_s), _LOOK_AROUND_S)
            readable, _, _ = select.select([self._near, self._far], [], [], wait_s)
            for end in readable:
                self._take_in(end)
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                self._let_out(*heapq.heappop(self._waiting))

    def _take_in(self, end: socket.socket) -> None:
        is_forth = end is self._near
        data, sender = end.recvfrom(_CHUNK_BYTES)
        if is_forth:
            self._last_sender = sender
        if is_forth and self._random.random() < self.loss:
            self.num_lost += 1
            return
        heapq.heappush(self._waiting, (self._due_s(), next(self._numbers), data, is_forth))

    def _let_out(self, due_s: float, number: int, data: bytes, is_forth: bool) -> None:
        del due_s, number
        with suppress(OSError):  # nobody listens there
            if is_forth:
                self.num_passed += 1
                self._far.sendto(data, ("127.0.0.1", self.target))
            elif self._last_sender:
                self._near.sendto(data, self._last_sender)
