"""The sending side of an XPUB socket: it knows when it loses, and can wait instead."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import monotonic
from typing import Any

import zmq

log = logging.getLogger(__name__)

_SLICE_MS = 100  # how soon a changed patience_s is seen


class Outlet:
    """Sends to every subscriber, or counts that the queue of one of them ran over.

    libzmq drops for a slow subscriber in silence. With XPUB_NODROP it says so instead; the
    message then goes out once more to those that have room. From there until the slow one has
    read half of its queue libzmq leaves it out, unsaid: it counts the gap itself.
    """

    def __init__(self, socket: zmq.Socket[bytes], patience_s: float = 0.0) -> None:
        """`patience_s` is how long to wait for a full subscriber; 0 drops at once (live)."""
        self.patience_s = patience_s
        self.num_overflows = 0
        self._socket = socket
        self._socket.setsockopt(zmq.XPUB_NODROP, 1)
        self._socket.setsockopt(zmq.SNDTIMEO, _SLICE_MS)

    def send(self, parts: Sequence[Any]) -> None:
        if self._try(parts, zmq.DONTWAIT) or self._try_again(parts) or self._wait_and_send(parts):
            return
        self.num_overflows += 1
        self._socket.setsockopt(zmq.XPUB_NODROP, 0)
        self._try(parts, zmq.DONTWAIT)
        self._socket.setsockopt(zmq.XPUB_NODROP, 1)

    def _try_again(self, parts: Sequence[Any]) -> bool:
        """libzmq looks at most once a millisecond at what its subscribers have read, unless it is
        asked for events: a burst would fill the queue of a subscriber that reads everything."""
        self._socket.getsockopt(zmq.EVENTS)
        return self._try(parts, zmq.DONTWAIT)

    def _wait_and_send(self, parts: Sequence[Any]) -> bool:
        if self.patience_s == 0:
            return False
        start = monotonic()
        while monotonic() - start < self.patience_s:
            if self._try(parts, 0):
                return True
        log.warning(
            "a subscriber took nothing for %.1f s: from here on what it does not take is dropped",
            self.patience_s,
        )
        self.patience_s = 0.0
        return False

    def _try(self, parts: Sequence[Any], flags: int) -> bool:
        try:
            self._socket.send_multipart(parts, flags)
        except zmq.Again:
            return False
        return True
