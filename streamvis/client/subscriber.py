"""Subscribe to a pipeline: iterate typed messages, in a plain loop or in asyncio."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from time import monotonic

import zmq
import zmq.asyncio

from streamvis.address import Address
from streamvis.client.curve import ClientKeys
from streamvis.client.feed import Arrival, Feed, LiveFeed
from streamvis.client.health import Health
from streamvis.client.inbox import Inbox
from streamvis.client.lossless_feed import LosslessFeed
from streamvis.client.snapshot_feed import SnapshotFeed
from streamvis.errors import AddressError
from streamvis.wire import AnyMessage, FrameMessage, Observed, Parts

_FOREVER_MS = 3_600_000


class _Subscription:
    """What both subscribers share: where messages come from, those that wait, the books."""

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
        snapshot: bool = False,
        lossless: bool = False,
        resume: str | None = None,
        keys: ClientKeys | None = None,
    ) -> None:
        """Connect; the pipeline may start later.

        address     tcp://HOST:PORT or ipc:///PATH; a pub+bind: pasted from a pipeline file is fine
        kinds       det, emb, sem, img, vid, plan, stat, sync, info, hb
        cameras     names; all if None
        latest      skip what is superseded: only the newest message of each topic
        max_age_ms  raise Lagging for a result that is older, counted from its ingest
        timeout_ms  raise TimeoutError when no message comes for so long
        snapshot    begin with the newest message of each topic (vid excepted), however long ago
        lossless    read from the pipeline's store: no gap as long as that reaches back far enough,
                    else Lagging is raised once
        resume      of a lossless reader: go on behind this `cursor`
        keys        for a pipeline that encrypts: ClientKeys.load("pipeline.key", "me.key_secret")
        """
        self.address = Address.parse(address)
        if self.address.endpoint.endswith((":0", ":*")):
            raise AddressError(f"{address} names no port. Take the one that the pipeline prints.")
        if lossless and (latest or snapshot):
            raise ValueError("lossless means everything: leave out latest and snapshot")
        if resume is not None and not lossless:
            raise ValueError("only a lossless reader can resume: add lossless=True")
        self._inbox = Inbox(kinds, cameras, pipeline, max_age_ms)
        self._latest = latest
        self._timeout_ms = timeout_ms
        self._waiting: deque[Arrival] = deque()  # messages for the caller
        self._feed: Feed
        if lossless:
            self._feed = LosslessFeed(self.address, self._inbox, keys, resume)
        else:
            self._feed = (SnapshotFeed if snapshot else LiveFeed)(self.address, self._inbox, keys)

    @property
    def cursor(self) -> str | None:
        """Of a lossless reader: where to `resume` behind the message that was returned last."""
        return self._feed.cursor if isinstance(self._feed, LosslessFeed) else None

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

    def age_ms(self, message: FrameMessage) -> float | None:
        """Of a result, since its ingest. Across hosts too small by the shortest way that a
        heartbeat had here; None before the first of them."""
        return self._inbox.age_ms(message)

    def close(self) -> None:
        self._feed.close()

    def _pop(self) -> Arrival | None:
        """The next message for the caller, of those that were taken from the feed."""
        if not self._waiting:
            return None
        arrival = self._waiting.popleft()
        if arrival.error:
            self._waiting.appendleft(replace(arrival, error=None))
            raise arrival.error
        self._feed.handed(arrival)
        return arrival

    def _open(self, arrival: Arrival) -> AnyMessage:
        return self._inbox.open(arrival.parts)

    def _take(self) -> None:
        """From the feed: one message, or in `latest` mode everything that is there."""
        while (arrivals := self._feed.take(monotonic())) is not None:
            for arrival in arrivals:
                if self._latest:
                    self._forget(arrival.seen.topic)
                self._waiting.append(arrival)
            if self.is_stopped:
                self._feed.end()
            if not self._latest:
                return

    def _forget(self, topic: str) -> None:
        self._waiting = deque(entry for entry in self._waiting if entry.seen.topic != topic)

    def _patience_ms(self, deadline: float) -> int:
        """How long to wait for the sockets. Raises TimeoutError after the deadline."""
        left_s = deadline - monotonic()
        if left_s <= 0:
            raise self._silence()
        return round(min(left_s, self._feed.patience_s) * 1000) + 1

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
        arrival = self._pop()
        if arrival is None:
            raise StopIteration
        return self._open(arrival)

    def raw(self) -> Iterator[tuple[Observed, Parts]]:
        """The messages as they came, with their headers read. Ends and fails as the iteration over
        messages does; after a TimeoutError it may be called again."""
        while True:
            self._wait()
            arrival = self._pop()
            if arrival is None:
                return
            yield arrival.seen, arrival.parts

    def _wait(self) -> None:
        """Until there is a message for the caller, or the pipeline has stopped."""
        deadline = self._deadline()
        while not self._waiting and not self.is_stopped:
            self._poller().poll(self._patience_ms(deadline))
            self._take()

    def _poller(self) -> zmq.Poller:
        poller = zmq.Poller()
        for socket in self._feed.sockets:
            poller.register(socket, zmq.POLLIN)
        return poller


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
        while not self._waiting and not self.is_stopped:
            poller = zmq.asyncio.Poller()
            for socket in self._feed.sockets:
                poller.register(socket, zmq.POLLIN)
            await poller.poll(self._patience_ms(deadline))
            self._take()
        arrival = self._pop()
        if arrival is None:
            raise StopAsyncIteration
        return self._open(arrival)
