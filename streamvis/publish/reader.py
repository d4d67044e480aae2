"""One lossless reader: where it is in the store, and how much more it may be sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from streamvis import wire
from streamvis.publish.store import Store
from streamvis.wire import Part, ReadRequest

_MAX_CREDIT = 1024  # messages in flight, whatever the reader asks for
_MAX_IN_FLIGHT_BYTES = 1 << 23
_MAX_BATCH_BYTES = 1 << 20  # one message may be larger
_MAX_BATCH = 64
_GONE_NS = 30_000_000_000  # a reader that says nothing for so long; the client speaks every second
_STUCK_NS = 10_000_000_000  # one that takes nothing, while a replay waits for it


class Reader:
    """Owned by the Service; times are monotonic ns."""

    def __init__(self, request: ReadRequest, store: Store, store_id: str, now_ns: int) -> None:
        self.session = request.session
        self._store = store
        self._store_id = store_id
        self._cursor = self._start_of(request)  # all that it wants up to here was sent
        self._in_flight: deque[tuple[int, int]] = deque()  # (position, bytes), ascending
        self._num_skipped = 0
        self._moved_ns = now_ns
        self.update(request, now_ns)

    def update(self, request: ReadRequest, now_ns: int) -> None:
        """Another request of the same session."""
        self._prefixes = request.prefixes
        self._credit = min(request.credit, _MAX_CREDIT)
        self._heard_ns = now_ns
        if request.store != self._store_id:
            return
        while self._in_flight and self._in_flight[0][0] <= request.after:
            self._in_flight.popleft()
            self._moved_ns = now_ns

    def is_gone(self, now_ns: int) -> bool:
        return now_ns - self._heard_ns > _GONE_NS

    def is_stuck(self, now_ns: int) -> bool:
        """There is something for it, and it takes nothing."""
        return self.is_behind and now_ns - self._moved_ns > _STUCK_NS

    @property
    def is_behind(self) -> bool:
        """Something that it wants was not sent, or not acknowledged."""
        return bool(self._in_flight) or self._has_more()

    @property
    def num_bytes_behind(self) -> int:
        """Of the store, since what it acknowledged."""
        acked = self._in_flight[0][0] - 1 if self._in_flight else self._cursor
        return self._store.num_bytes_after(acked)

    def batches(self) -> Iterator[list[Part]]:
        """What may be sent now."""
        while joined := self._take():
            yield self._batch(joined)

    def sign_of_life(self) -> list[Part]:
        return self._batch({})

    def _start_of(self, request: ReadRequest) -> int:
        """A position of another store means nothing here: begin with the oldest."""
        if not request.store:
            return self._store.end
        return min(request.after, self._store.end) if request.store == self._store_id else -1

    def _has_more(self) -> bool:
        return next(self._store.after(self._cursor, self._wants), None) is not None

    def _wants(self, topic: str) -> bool:
        return topic.startswith(self._prefixes)

    def _take(self) -> dict[int, Part]:
        """The next messages, as many as credit and one batch allow."""
        self._count_skipped()
        taken: dict[int, Part] = {}
        num_bytes = 0
        for position, data in self._store.after(self._cursor, self._wants):
            is_full = len(taken) >= _MAX_BATCH or num_bytes + len(data) > _MAX_BATCH_BYTES
            if (taken and is_full) or not self._has_room(len(data)):
                return taken
            taken[position] = data
            num_bytes += len(data)
            self._in_flight.append((position, len(data)))
            self._cursor = position
        self._cursor = self._store.end
        return taken

    def _count_skipped(self) -> None:
        self._num_skipped += self._store.num_skipped(self._cursor, self._wants)
        self._cursor = max(self._cursor, self._store.first - 1)

    def _has_room(self, num_bytes: int) -> bool:
        in_flight = sum(size for _, size in self._in_flight)
        is_small = not self._in_flight or in_flight + num_bytes <= _MAX_IN_FLIGHT_BYTES
        return is_small and len(self._in_flight) < self._credit

    def _batch(self, joined: dict[int, Part]) -> list[Part]:
        skipped, self._num_skipped = self._num_skipped, 0
        return wire.encode_batch(self.session, self._store_id, self._cursor, skipped, joined)
