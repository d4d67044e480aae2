"""What subscribers may ask for: the state they came too late for, and everything without a gap."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from time import monotonic_ns

import zmq

from streamvis import wire
from streamvis.errors import WireError
from streamvis.publish.last_values import LastValues
from streamvis.publish.reader import Reader
from streamvis.publish.store import Store
from streamvis.wire import LastSeq, Observed, Part, Parts, ReadRequest, SnapshotRequest

log = logging.getLogger(__name__)

_MAX_READERS = 64
_MAX_REQUESTS = 64  # answered in one go
_MAX_ASKING = 1024  # for a snapshot, between two heartbeats
_QUEUE_LENGTH = 32  # answers that wait for one client
_SEND_BUFFER_BYTES = 1 << 18
_COMPLAIN_NS = 60_000_000_000


class Service:
    """A ROUTER beside the public XPUB, on the proxy's thread: only there are the last values and
    the stream in step. The proxy shows it every message that leaves, in order.

    Bad requests are counted and told once a minute; whoever sent one gets no answer.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        store_id: str,
        store_bytes: int,
    ) -> None:
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # says who is gone
        self.socket.setsockopt(zmq.SNDHWM, _QUEUE_LENGTH)
        self.socket.setsockopt(zmq.RCVHWM, _MAX_REQUESTS)
        self.socket.setsockopt(zmq.SNDBUF, _SEND_BUFFER_BYTES)
        self.socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_HEADER_BYTES)
        self.num_bad = 0  # requests that could not be read
        self._store_id = store_id
        self._store_bytes = store_bytes
        self._last_values = LastValues()
        self._store = Store(store_bytes)
        self._readers: dict[bytes, Reader] = {}  # by the client's identity
        self._asking: dict[bytes, SnapshotRequest] = {}  # for a snapshot, by identity
        self._complained_ns: int | None = None

    @property
    def num_readers(self) -> int:
        return len(self._readers)

    def see(self, seen: Observed, parts: Parts) -> None:
        """A message left; its parts must not change afterwards."""
        self._last_values.see(seen, parts)
        if self._store_bytes:
            self._store.append(seen.topic, wire.join(parts))

    def is_waiting(self, now_ns: int) -> bool:
        """The next message could push one out that a reader has not taken. Readers that take
        nothing for 10 s are given up on."""
        for identity, reader in list(self._readers.items()):
            if reader.num_bytes_behind > self._store_bytes // 2 and reader.is_stuck(now_ns):
                log.warning("a lossless reader took nothing for 10 s: it is given up on")
                del self._readers[identity]
        worst = max((r.num_bytes_behind for r in self._readers.values()), default=0)
        return worst > self._store_bytes // 2

    def answer(self) -> None:
        """Read the requests that are there, and send what may be sent."""
        now_ns = monotonic_ns()
        for identity, parts in self._receive():
            try:
                request = wire.decode_request(parts)
            except WireError as error:
                self._complain(error, now_ns)
                continue
            match request:
                case SnapshotRequest():
                    if len(self._asking) < _MAX_ASKING:  # the others ask again
                        self._asking[identity] = request
                case ReadRequest():
                    self._read(identity, request, now_ns)
                case wire.LeaveRequest():
                    self._readers.pop(identity, None)
                case wire.SchemasRequest():
                    self._send(identity, wire.encode_schemas(request.request, _schemas()))
        self.deliver(now_ns)

    def deliver(self, now_ns: int) -> None:
        """To every reader what it has credit for; forget those that are gone."""
        for identity, reader in list(self._readers.items()):
            for batch in reader.batches():
                self._send(identity, batch)
            if reader.is_gone(now_ns):
                self._readers.pop(identity, None)

    def _receive(self) -> Iterable[tuple[bytes, Parts]]:
        for _ in range(_MAX_REQUESTS):
            try:
                identity, *parts = self.socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            yield identity, parts

    @property
    def is_asked(self) -> bool:
        """Somebody waits for a snapshot."""
        return bool(self._asking)

    def send_snapshots(self, barrier: LastSeq) -> None:
        """To all who asked, as of the heartbeat that was published just now: one each would be
        one for everybody."""
        asking, self._asking = self._asking, {}
        for identity, request in asking.items():
            joined = [wire.join(parts) for parts in self._last_values.matching(request.prefixes)]
            self._send(identity, wire.encode_snapshot(request.request, barrier, joined))

    def _read(self, identity: bytes, request: ReadRequest, now_ns: int) -> None:
        reader = self._readers.get(identity)
        if not self._store_bytes:
            why = "the pipeline keeps no store; set `store: 16MB` of its publish output"
            self._send(identity, wire.encode_refusal(why))
            return
        if reader is not None and reader.session == request.session:
            reader.update(request, now_ns)
        elif reader is None and len(self._readers) >= _MAX_READERS:
            why = f"the pipeline has {_MAX_READERS} lossless readers already; end one of them"
            self._send(identity, wire.encode_refusal(why))
            return
        else:
            reader = Reader(request, self._store, self._store_id, now_ns)
            self._readers[identity] = reader
        self._send(identity, reader.sign_of_life())

    def _send(self, identity: bytes, parts: list[Part]) -> None:
        """A client that is gone, or does not read its answers, is no reader any more: it will ask
        again for what it missed."""
        try:
            self.socket.send_multipart([identity, *parts], zmq.DONTWAIT)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
            self._readers.pop(identity, None)

    def _complain(self, error: WireError, now_ns: int) -> None:
        self.num_bad += 1
        if self._complained_ns is None or now_ns - self._complained_ns > _COMPLAIN_NS:
            self._complained_ns = now_ns
            log.warning("a client sent a bad request (%d so far): %s", self.num_bad, error)


@cache
def _schemas() -> dict[str, str]:
    folder = files("streamvis") / "schemas"
    return {kind: (folder / f"{kind}.json").read_text(encoding="utf-8") for kind in wire.KINDS}
