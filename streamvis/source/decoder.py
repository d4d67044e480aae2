"""The decode process as its camera's source sees it: started when needed, killed when it hangs."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

from streamvis.source.decode_link import (
    LinkBroken,
    Order,
    Report,
    Slots,
    SourceEnd,
    make_memory,
    make_pair,
)

_GOODBYE_S = 0.5  # to tell the camera that we leave
# FFmpeg's libraries are not trusted to give back all memory and files of thousands of connections.
_MAX_ORDERS = 100


class Decoder:
    """One process after the other, never two. One thread only."""

    def __init__(self, camera: str, input_size: tuple[int, int]) -> None:
        self._camera = camera
        self._input_size = input_size
        self._memory_fd = -1
        self._slots: Slots | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._end: SourceEnd | None = None
        self._num_orders = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def num_packets(self) -> int:
        """Read in the current connection, or in the last one."""
        return self._slots.num_packets if self._slots else 0

    def give(self, order: Order) -> None:
        """Begin a connection; the one before is over. Raises LinkBroken, and OSError when this
        host has no process, memory or file left for it."""
        if self._num_orders >= _MAX_ORDERS:
            self.end()
        if self._process is None:
            self._start()
        assert self._end is not None
        self._num_orders += 1
        try:
            self._end.give(order)
        except LinkBroken:  # it died while it had nothing to do
            self.kill()
            self._start()
            self._end.give(order)

    def receive(self, timeout_s: float) -> Report | None:
        """The next report; None when none came in time. Raises LinkBroken when it died."""
        assert self._end is not None, "an order comes first"
        return self._end.receive(timeout_s)

    def kill(self) -> None:
        """At once: it may not be able to do anything any more."""
        self._leave(patience_s=0.0)

    def end(self) -> None:
        """Let it take leave of the camera; kill it if it does not."""
        self._leave(_GOODBYE_S)

    def close(self) -> None:
        self.end()
        if self._memory_fd >= 0:
            os.close(self._memory_fd)
        self._memory_fd, self._slots = -1, None

    def _start(self) -> None:
        if self._memory_fd < 0:
            self._memory_fd = make_memory(self._input_size)
        if self._slots is None:
            self._slots = Slots(self._memory_fd, self._input_size)
        own, others = make_pair()
        self._end = SourceEnd(own, self._slots, self._camera)
        fds = (others.fileno(), self._memory_fd)
        with others:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "streamvis.source.decode_process",
                    *map(str, [*fds, *self._input_size]),
                ],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self._num_orders = 0

    def _leave(self, patience_s: float) -> None:
        if self._end is not None:
            self._end.close()
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_s) if patience_s else None
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()
        self._process = self._end = None
