"""Subscribe to a pipeline: iterate typed messages, in a plain loop or in asyncio."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from functools import cached_property
from time import monotonic

import zmq
import zmq.asyncio

from streamvis import wire
from streamvis.address import Address
from streamvis.client.health import Health
from streamvis.client.inbox import Inbox
from streamvis.errors import AddressError
from streamvis.wire import AnyMessage, Observed, Parts

_FOREVER_MS = 3_600_000


class _Subscription:
    """What both subscribers share: the socket, the messages that wait, the books."""

    def __init__(
        self,
        address: str,
        kinds: Iterable[str] = ("det",),
        cameras: Iterable[str] | None = None,
        *,
        pipeline: str | None = None,
        latest: bool = False,
        max_age_ms: float | None = None,
        timeout_ms: float | None = None,
    ) -> None:
        """Connect; the pipeline may start later.

        address     tcp://HOST:PORT or ipc:///PATH; a pub+bind: pasted from a pipeline file is fine
        kinds       det, emb, img, vid, plan, stat, sync, info, hb
        cameras     names; all if None
        latest      skip what is superseded: only the newest message of each topic
        max_age_ms  raise Lagging for a result that is older, counted from its ingest
        timeout_ms  raise TimeoutError when no message comes for so long
        """
        self.address = Address.parse(address)
        if self.address.endpoint.endswith((":0", ":*")):
            raise AddressError(f"{address} names no port. Take the one that the pipeline prints.")
        self._inbox = Inbox(kinds, cameras, pipeline, max_age_ms)
        self._latest = latest
        self._timeout_ms = timeout_ms
        self._waiting: deque[tuple[Observed, Parts]] = deque()  # messages for the caller
        self._socket = _connect(self.address, self._inbox)

    @property
    def gaps(self) -> Counter[tuple[str, str]]:
        """Messages this subscriber should have got and did not, by (epoch, topic)."""
        return self._inbox.gaps

    @property
    def num_restarts(self) -> int:
        """How often a topic went on under a new epoch: its worker was restarted."""
        return self._inbox.num_restarts

    @property
    def is_stopped(self) -> bool:
        """The pipeline ended on purpose; iteration ends too."""
        return self._inbox.is_stopped

    def health(self, camera: str) -> Health:
        """Whether the camera's results arrive, often enough, and sound."""
        return self._inbox.health(camera)

    def close(self) -> None:
        self._socket.close(linger=0)

    def _pop(self) -> AnyMessage | None:
        """The next message for the caller, of those that were taken from the socket."""
        return self._inbox.open(self._waiting.popleft()[1]) if self._waiting else None

    def _take(self) -> None:
        """From the socket: one message, or in `latest` mode everything that is there."""
        while True:
            try:
                parts: Parts = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            seen = self._inbox.accept(parts)
            if self.is_stopped:  # tells the publisher that everything was read
                self._socket.unsubscribe(self._inbox.topics[-1])
            if seen and self._latest:
                self._forget(seen.topic)
            if seen:
                self._waiting.append((seen, parts))
            if not self._latest:
                return

    def _forget(self, topic: str) -> None:
        self._waiting = deque(entry for entry in self._waiting if entry[0].topic != topic)

    def _deadline(self) -> float:
        return monotonic() + (self._timeout_ms or _FOREVER_MS) / 1000

    def _silence(self) -> TimeoutError:
        return TimeoutError(
            f"nothing came from {self.address} within {self._timeout_ms:g} ms. "
            f"{self._inbox.why_silent}"
        )


class Subscriber(_Subscription):
    """`with Subscriber(address) as results: for message in results: ...`

    Ends when the pipeline stops. Not thread-safe: one thread, one subscriber.
    """

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __iter__(self) -> Subscriber:
        return self

    def __next__(self) -> AnyMessage:
        self._wait()
        message = self._pop()
        if message is None:
            raise StopIteration
        return message

    def raw(self) -> Iterator[tuple[Observed, Parts]]:
        """The messages as they came, with their headers read. Ends and fails as the iteration over
        messages does; after a TimeoutError it may be called again."""
        while True:
            self._wait()
            if not self._waiting:
                return
            yield self._waiting.popleft()

    def _wait(self) -> None:
        """Until there is a message for the caller, or the pipeline has stopped."""
        deadline = self._deadline()
        while not self._waiting and not self.is_stopped:
            if not self._socket.poll(_ms_until(deadline)):
                raise self._silence()
            self._take()


class AsyncSubscriber(_Subscription):
    """`async with AsyncSubscriber(address) as results: async for message in results: ...`"""

    async def __aenter__(self) -> AsyncSubscriber:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    def __aiter__(self) -> AsyncSubscriber:
        return self

    async def __anext__(self) -> AnyMessage:
        deadline = self._deadline()
        while (message := self._pop()) is None:
            if self.is_stopped:
                raise StopAsyncIteration
            if not await self._readable.poll(_ms_until(deadline)):
                raise self._silence()
            self._take()
        return message

    def close(self) -> None:
        if "_readable" in self.__dict__:
            self._readable.close(linger=0)
        super().close()

    @cached_property
    def _readable(self) -> zmq.asyncio.Socket:
        """The same socket, to wait for only: reading is what `_take` does for both classes."""
        return zmq.asyncio.Socket.from_socket(self._socket)


def _ms_until(deadline: float) -> int:
    return max(0, round((deadline - monotonic()) * 1000))


def _connect(address: Address, inbox: Inbox) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVHWM, inbox.queue_length)
    socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_PART_BYTES)
    for topic in inbox.topics:
        socket.subscribe(topic)
    try:
        socket.connect(address.endpoint)
    except zmq.ZMQError as error:
        socket.close()
        raise AddressError(f"{address} cannot be connected to: {error}.") from None
    return socket
