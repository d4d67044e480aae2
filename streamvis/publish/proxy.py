"""The one public endpoint of a pipeline: workers and cameras come and go behind it."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from time import monotonic, monotonic_ns

import zmq

from streamvis import wire
from streamvis.address import Address
from streamvis.errors import AddressError, WireError
from streamvis.publish.bind import bind, remove_file
from streamvis.publish.config import PublishConfig
from streamvis.publish.observer import Observer
from streamvis.publish.outlet import Outlet
from streamvis.publish.publisher import BYE
from streamvis.wire import AnyMessage

log = logging.getLogger(__name__)

_POLL_MS = 50
_REPEAT_MS = 200
_BURST = 64  # messages forwarded before the observers' clocks are looked at again
_QUIET_S = 2.0  # without a message and without a goodbye: the workers are dead
_DRAIN_S = 10.0
_FAREWELL_S = 1.0  # even a slow subscriber should learn that it is over
_LINGER_MS = 1000  # for subscribers that listen to no heartbeats
_LOSSLESS_PATIENCE_S = 10.0
_HEARTBEATS = wire.topic_prefix("hb").encode()
_SEND_BUFFER_BYTES = 1 << 18  # what lies in the kernel is old news that no queue limit counts
_MAX_SUBSCRIPTION_BYTES = 1024


class Proxy:
    """Forwards what the workers publish to all subscribers, on a thread of its own.

    `backend` is where the workers' Publishers connect (ipc or inproc). Observers see every
    message's header and publish their own beside it; the last of them is the Heart.

    In lossless mode a subscriber that does not read stops the pipeline instead of missing
    results, until it has slept for 10 s.
    """

    def __init__(
        self,
        config: PublishConfig,
        backend: str,
        context: zmq.Context[zmq.Socket[bytes]],
        *,
        observers: Sequence[Observer] = (),
        is_lossless: bool = False,
    ) -> None:
        self.backend = backend
        self.address = config.endpoint.endpoint  # has the real port once started
        self.num_bad = 0  # messages of workers that could not be read
        self._config = config
        self._observers = observers
        self._workers = context.socket(zmq.XSUB)
        self._workers.setsockopt(zmq.RCVHWM, config.hwm)
        self._public = _public_socket(context, config.hwm)
        self._outlet = Outlet(self._public, _LOSSLESS_PATIENCE_S if is_lossless else 0.0)
        self._farewell_s = _LOSSLESS_PATIENCE_S if is_lossless else _FAREWELL_S
        self._bound: list[str] = []  # endpoints
        self._open_epochs: set[str] = set()  # of workers that have not said goodbye
        self._subscriptions: Counter[bytes] = Counter()  # by topic prefix
        self._subscribed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def start(self) -> None:
        """Bind both sides and begin to forward. Raises AddressError."""
        try:
            self.backend = self._bind(self._workers, Address.parse(self.backend))
            self.address = self._bind(self._public, self._config.endpoint)
        except AddressError:
            self._close(linger_ms=0)
            raise
        self._workers.send(b"\x01")  # subscribe to everything
        self._thread.start()

    def stop(self) -> None:
        """Forward what the workers already sent, let the observers finish, close."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        else:
            self._close(linger_ms=0)

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    @property
    def num_overflows(self) -> int:
        """How often a subscriber's queue ran over; what it missed it counts as gaps."""
        return self._outlet.num_overflows

    @property
    def num_subscribers(self) -> int:
        """A subscriber has several topics, so this is how many share the commonest one. The
        client subscribes to heartbeats last, always: from then on it misses nothing."""
        with self._subscribed:
            return max(self._subscriptions.values(), default=0)

    def wait_for_subscribers(self, count: int, timeout_s: float) -> bool:
        with self._subscribed:
            return self._subscribed.wait_for(lambda: self.num_subscribers >= count, timeout_s)

    def __enter__(self) -> Proxy:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _bind(self, socket: zmq.Socket[bytes], address: Address) -> str:
        self._bound.append(bind(socket, address))
        return self._bound[-1]

    def _run(self) -> None:
        try:
            # The snapshot ROUTER of a later version is polled and answered in this loop too:
            # only here are the last values and the stream in step.
            poller = zmq.Poller()
            poller.register(self._workers, zmq.POLLIN)
            poller.register(self._public, zmq.POLLIN)
            while not self._stopping.is_set():
                self._turn(poller)
            self._drain(poller)
            self._say_goodbye()
        finally:
            self._close(_LINGER_MS)

    def _turn(self, poller: zmq.Poller) -> bool:
        """One round; True if workers had sent anything."""
        ready = dict(poller.poll(_POLL_MS))
        if self._public in ready:
            self._count_subscriptions()
        if self._workers in ready:
            self._forward_burst()
        for observer in self._observers:
            self._publish(observer.tick(monotonic_ns()))
        return self._workers in ready

    def _drain(self, poller: zmq.Poller) -> None:
        """Forward until every worker has said goodbye and nothing is left."""
        start = last = monotonic()
        while monotonic() - start < _DRAIN_S and monotonic() - last < _QUIET_S:
            if self._turn(poller):
                last = monotonic()
            elif not self._open_epochs:
                return
        log.warning("%d workers ended without a goodbye", len(self._open_epochs))

    def _say_goodbye(self) -> None:
        """The client unsubscribes from heartbeats when it has read the last one: to close before
        would cut off what a slow one has not read. Until then the last words are repeated, for
        those whose queue was full."""
        self._outlet.patience_s = self._farewell_s
        last_words: list[AnyMessage] = []
        for observer in self._observers:
            last_words = list(observer.finish())
            self._publish(last_words)
        deadline = monotonic() + self._farewell_s
        while self._subscriptions[_HEARTBEATS] > 0 and monotonic() < deadline:
            if self._public.poll(_REPEAT_MS):
                self._count_subscriptions()
            else:
                self._publish(last_words)

    def _count_subscriptions(self) -> None:
        with self._subscribed:
            for request in _receive_waiting(self._public, _BURST):
                verb, prefix = request[0].bytes[:1], request[0].bytes[1:]
                self._subscriptions[prefix] += 1 if verb == b"\x01" else -1
            self._subscribed.notify_all()

    def _forward_burst(self) -> None:
        for frames in _receive_waiting(self._workers, _BURST):
            self._forward(frames)

    def _forward(self, frames: list[zmq.Frame]) -> None:
        parts = [frame.buffer for frame in frames]
        if parts[0] == BYE:
            self._open_epochs.discard(bytes(parts[1]).decode())
            self._workers.send(parts[1])  # received
            return
        try:
            seen = wire.peek(parts)
            self._open_epochs.add(seen.epoch)
            self._outlet.send(frames)
            for observer in self._observers:
                self._publish(observer.see(seen))
        except WireError as error:
            self.num_bad += 1
            log.warning("a worker sent a bad message: %s", error)

    def _publish(self, messages: Iterable[AnyMessage]) -> None:
        """Send what observers say, and show it to all of them in turn."""
        waiting = deque(messages)
        while waiting:
            parts = wire.encode(waiting.popleft())
            self._outlet.send(parts)
            seen = wire.peek(parts)
            for observer in self._observers:
                waiting.extend(observer.see(seen))

    def _close(self, linger_ms: int) -> None:
        for endpoint in self._bound:
            remove_file(endpoint)
        self._bound.clear()
        self._workers.close(linger_ms)
        self._public.close(linger_ms)


def _public_socket(context: zmq.Context[zmq.Socket[bytes]], hwm: int) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.XPUB)
    socket.setsockopt(zmq.SNDHWM, hwm)
    socket.setsockopt(zmq.SNDBUF, _SEND_BUFFER_BYTES)
    socket.setsockopt(zmq.MAXMSGSIZE, _MAX_SUBSCRIPTION_BYTES)
    socket.setsockopt(zmq.XPUB_VERBOSER, 1)  # every subscription, to count them
    return socket


def _receive_waiting(socket: zmq.Socket[bytes], limit: int) -> Iterable[list[zmq.Frame]]:
    """The messages that are there now, at most `limit`."""
    for _ in range(limit):
        try:
            yield socket.recv_multipart(zmq.DONTWAIT, copy=False)
        except zmq.Again:
            return
