"""Where a subscriber's messages come from: the live stream, that after a snapshot, or a store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import zmq

from streamvis.address import Address
from streamvis.client.connect import subscribe
from streamvis.client.curve import ClientKeys
from streamvis.client.inbox import Inbox
from streamvis.errors import StreamvisError
from streamvis.wire import Observed, Parts


@dataclass(frozen=True)
class Arrival:
    """One message for the caller."""

    seen: Observed
    parts: Parts
    position: int | None = None  # in the pipeline's store, of a lossless reader
    error: StreamvisError | None = None  # to be raised before it


class Feed(Protocol):
    """Books what arrives in the inbox. Times are monotonic seconds."""

    @property
    def sockets(self) -> Sequence[zmq.Socket[bytes]]:
        """To wait for: when one is readable, or after `patience_s`, call `take`."""

    @property
    def patience_s(self) -> float: ...

    def take(self, now_s: float) -> Iterator[Arrival] | None:
        """What one received message brings; None if there is none. Never waits."""

    def handed(self, arrival: Arrival) -> None:
        """The caller got it."""

    def end(self) -> None:
        """The pipeline stopped, and everything is here: tell it so."""

    def close(self) -> None: ...


class LiveFeed:
    """The stream as it goes by."""

    patience_s = 3600.0

    def __init__(self, address: Address, inbox: Inbox, keys: ClientKeys | None = None) -> None:
        self._inbox = inbox
        self._socket = subscribe(address, inbox.topics, inbox.queue_length, keys)

    @property
    def sockets(self) -> Sequence[zmq.Socket[bytes]]:
        return (self._socket,)

    def take(self, now_s: float) -> Iterator[Arrival] | None:
        del now_s
        parts = receive(self._socket)
        return None if parts is None else self._book(parts)

    def handed(self, arrival: Arrival) -> None:
        del arrival

    def end(self) -> None:
        self._socket.unsubscribe(self._inbox.topics[-1])

    def close(self) -> None:
        self._socket.close(linger=0)

    def _book(self, parts: Parts) -> Iterator[Arrival]:
        seen = self._inbox.accept(parts)
        if seen:
            yield Arrival(seen, parts)


def receive(socket: zmq.Socket[bytes]) -> Parts | None:
    """The next message that is there."""
    try:
        return socket.recv_multipart(zmq.DONTWAIT)
    except zmq.Again:
        return None
