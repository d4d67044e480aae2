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
from streamvis.client.curve import RunKeys, load_pair
from streamvis.errors import AddressError, WireError
from streamvis.publish.bind import bind, check_hop, remove_file
from streamvis.publish.config import PublishConfig
from streamvis.publish.gate import AllowedFolder, Gate
from streamvis.publish.heartbeat import Heart
from streamvis.publish.observer import Observer
from streamvis.publish.outlet import Outlet
from streamvis.publish.publisher import BYE
from streamvis.publish.service import Service
from streamvis.wire import AnyMessage, LastSeq

log = logging.getLogger(__name__)

_POLL_MS = 50
_REPEAT_MS = 200
_EXTRA_BEAT_NS = 50_000_000
_BURST = 64  # messages forwarded before the observers' clocks are looked at again
_QUIET_S = 2.0  # without a message and without a goodbye: the workers are dead
_DRAIN_S = 10.0
_FAREWELL_S = 1.0  # even a slow subscriber should learn that it is over
_LINGER_MS = 1000  # for subscribers that listen to no heartbeats
_LOSSLESS_PATIENCE_S = 10.0
_HEARTBEATS = wire.topic_prefix("hb").encode()
_DISCOVERY = wire.DISCOVERY.encode()
_COMPLAIN_NS = 60_000_000_000
_SEND_BUFFER_BYTES = 1 << 18  # what lies in the kernel is old news that no queue limit counts
_MAX_SUBSCRIPTION_BYTES = 1024
_MAX_PREFIXES = 4096  # that are counted, of all subscribers; the others are served, too


class Proxy:
    """Forwards what the workers publish to all subscribers, on a thread of its own.

    `backend` is where the workers' Publishers connect (ipc or inproc). Observers see every
    message's header and publish their own beside it; the heart is the last of them.

    In lossless mode a subscriber that does not read stops the pipeline instead of missing
    results, until it has slept for 10 s.
    """

    def __init__(
        self,
        config: PublishConfig,
        backend: str,
        context: zmq.Context[zmq.Socket[bytes]],
        *,
        heart: Heart,
        observers: Sequence[Observer] = (),
        is_lossless: bool = False,
        run_keys: RunKeys | None = None,
    ) -> None:
        """`run_keys` encrypt the workers' hop. Raises AddressError if it leaves this host without,
        or if the config's keys cannot be read."""
        self.backend = backend
        self.address = config.endpoint.endpoint  # has the real port once started
        self.own_address = self.address  # for subscribers of this context: they need no key
        self.num_bad = 0  # messages of workers that could not be read
        self.num_unsent = 0  # messages of observers that nobody could have read
        self._complained_ns: int | None = None
        self._config = config
        self._heart = heart
        self._observers: Sequence[Observer] = (*observers, heart)
        self._is_lossless = is_lossless
        check_hop(Address.parse(backend), run_keys)
        self._run_keys = run_keys
        self._gate = Gate(context)
        self._workers = context.socket(zmq.XSUB)
        self._workers.setsockopt(zmq.RCVHWM, config.hwm)
        self._workers.setsockopt(zmq.MAXMSGSIZE, wire.MAX_PART_BYTES)
        self._public = _public_socket(context, config.hwm)
        self._outlet = Outlet(self._public, _LOSSLESS_PATIENCE_S if is_lossless else 0.0)
        self._service = Service(context, heart.epoch, config.store)
        self._farewell_s = _LOSSLESS_PATIENCE_S if is_lossless else _FAREWELL_S
        self._bound: list[str] = []  # endpoints
        self._open_epochs: set[str] = set()  # of workers that have not said goodbye
        self._dead_epochs: frozenset[str] = frozenset()  # of workers that never will
        self._subscriptions: Counter[bytes] = Counter()  # by topic prefix
        self._num_readers = 0
        self._is_beat_wanted = False  # somebody new listens to heartbeats
        self._beat_from_ns = 0  # one out of turn not before
        self._subscribed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def start(self) -> None:
        """Bind both sides and begin to forward. Raises AddressError."""
        try:
            self._guard()
            self.backend = self._bind(self._workers, Address.parse(self.backend))
            self.address = self._bind(self._public, self._config.endpoint)
            if not self._config.key:
                self.own_address = self.address
            self._heart.service = self._bind(self._service.socket, self._config.service_endpoint)
        except AddressError:
            self._close(linger_ms=0)
            raise
        self._workers.send(b"\x01")  # subscribe to everything
        self._thread.start()

    def bury(self, epochs: frozenset[str]) -> None:
        """All whose workers died: `stop` waits for no goodbye of theirs. From any thread."""
        self._dead_epochs = epochs

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
        client subscribes to heartbeats last, always: from then on it misses nothing. Lossless
        readers are counted too."""
        with self._subscribed:
            counts = (n for prefix, n in self._subscriptions.items() if prefix != _DISCOVERY)
            return max(counts, default=0) + self._num_readers

    def wait_for_subscribers(self, count: int, timeout_s: float) -> bool:
        with self._subscribed:
            return self._subscribed.wait_for(lambda: self.num_subscribers >= count, timeout_s)

    def __enter__(self) -> Proxy:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _guard(self) -> None:
        """What binds from here on asks for keys, where there are some."""
        config, keys = self._config, self._run_keys
        if keys:
            self._gate.guard(self._workers, keys.server, "workers", keys.client.public.__eq__)
        if config.key and config.allow:
            self.own_address = self._bind(self._public, Address(f"inproc://{self._heart.epoch}"))
            own, allowed = load_pair(config.key), AllowedFolder(config.allow)
            for socket in (self._public, self._service.socket):
                self._gate.guard(socket, own, "subscribers", allowed)

    def _bind(self, socket: zmq.Socket[bytes], address: Address) -> str:
        self._bound.append(bind(socket, address))
        return self._bound[-1]

    def _run(self) -> None:
        try:
            poller = zmq.Poller()
            for socket in (self._workers, self._public, self._service.socket):
                poller.register(socket, zmq.POLLIN)
            while not self._stopping.is_set():
                self._turn(poller)
            self._drain(poller)
            self._say_goodbye()
        finally:
            self._close(_LINGER_MS)

    def _turn(self, poller: zmq.Poller) -> bool:
        """One round; True if workers had sent anything, or must wait for a reader."""
        is_held_up = self._is_lossless and self._service.is_waiting(monotonic_ns())
        poller.modify(self._workers, 0 if is_held_up else zmq.POLLIN)
        ready = dict(poller.poll(_POLL_MS))
        if self._public in ready:
            self._count_subscriptions()
        if self._workers in ready:
            self._forward_burst()
        for observer in self._observers:
            self._publish(observer.tick(monotonic_ns()))
        self._serve()
        return is_held_up or self._workers in ready

    def _serve(self) -> None:
        self._service.answer()
        self._beat_if_wanted(monotonic_ns())
        if self._service.num_readers != self._num_readers:
            with self._subscribed:
                self._num_readers = self._service.num_readers
                self._subscribed.notify_all()

    def _beat_if_wanted(self, now_ns: int) -> None:
        """One for all who came meanwhile: everybody gets it, and somebody who comes and goes
        without end must not fill their queues."""
        is_wanted = self._is_beat_wanted or self._service.is_asked
        if is_wanted and now_ns >= self._beat_from_ns:
            self._is_beat_wanted = False
            self._beat_from_ns = now_ns + _EXTRA_BEAT_NS
            self._service.send_snapshots(self._beat())

    def _beat(self) -> LastSeq:
        """A heartbeat at once: whoever gets it knows what came before and what comes after."""
        heartbeat = self._heart.beat()
        self._publish([heartbeat])
        return LastSeq(heartbeat.epoch, heartbeat.seq)

    def _drain(self, poller: zmq.Poller) -> None:
        """Forward until every worker has said goodbye and nothing is left."""
        start = last = monotonic()
        while monotonic() - start < _DRAIN_S and monotonic() - last < _QUIET_S:
            if self._turn(poller):
                last = monotonic()
            elif not self._open_epochs - self._dead_epochs:
                return
        missing = self._open_epochs - self._dead_epochs
        log.warning("%d workers ended without a goodbye", len(missing))

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
        repeat = monotonic() + _REPEAT_MS / 1000
        while self._is_listened_to and monotonic() < deadline:
            if self._public.poll(_POLL_MS):
                self._count_subscriptions()
            self._serve()
            if monotonic() > repeat:
                self._publish(last_words)
                repeat = monotonic() + _REPEAT_MS / 1000

    @property
    def _is_listened_to(self) -> bool:
        """Somebody has not read everything: a reader leaves when it has."""
        return self._subscriptions[_HEARTBEATS] > 0 or self._service.num_readers > 0

    def _count_subscriptions(self) -> None:
        with self._subscribed:
            for request in _receive_waiting(self._public, _BURST):
                self._count_subscription(request[0].bytes[:1], request[0].bytes[1:])
            self._subscribed.notify_all()

    def _count_subscription(self, verb: bytes, prefix: bytes) -> None:
        """Anybody can send anything here: other verbs are messages to nobody."""
        counts = self._subscriptions
        if verb == b"\x01":
            is_told = prefix in (_HEARTBEATS, _DISCOVERY)
            self._is_beat_wanted |= is_told
            if is_told or prefix in counts or len(counts) < _MAX_PREFIXES:
                counts[prefix] += 1
        elif verb == b"\x00" and prefix in counts:
            counts[prefix] -= 1
            if counts[prefix] == 0:
                del counts[prefix]

    def _forward_burst(self) -> None:
        for frames in _receive_waiting(self._workers, _BURST):
            self._forward(frames)
            if self._is_lossless and self._service.is_waiting(monotonic_ns()):
                return

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
            self._service.see(seen, parts)
            for observer in self._observers:
                self._publish(observer.see(seen))
        except WireError as error:
            self.num_bad += 1
            log.warning("a worker sent a bad message: %s", error)

    def _publish(self, messages: Iterable[AnyMessage]) -> None:
        """Send what observers say, and show it to all of them in turn."""
        waiting = deque(messages)
        while waiting:
            message = waiting.popleft()
            parts = wire.encode(message)
            try:
                seen = wire.peek(parts)
            except WireError as error:
                self._drop(message, error)
                continue
            self._outlet.send(parts)
            self._service.see(seen, parts)
            for observer in self._observers:
                waiting.extend(observer.see(seen))

    def _drop(self, message: AnyMessage, error: WireError) -> None:
        """Its gap tells subscribers; the results go on."""
        self.num_unsent += 1
        now_ns = monotonic_ns()
        if self._complained_ns is None or now_ns - self._complained_ns > _COMPLAIN_NS:
            self._complained_ns = now_ns
            told = (message.kind, self.num_unsent, error)
            log.error("an %s message cannot be published (%d so far): %s", *told)

    def _close(self, linger_ms: int) -> None:
        for endpoint in self._bound:
            remove_file(endpoint)
        self._bound.clear()
        self._workers.close(linger_ms)
        self._public.close(linger_ms)
        self._service.socket.close(linger_ms)
        self._gate.stop()


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
