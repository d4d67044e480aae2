"""Late, and yet complete: a snapshot first, then the stream from that very moment on."""

from __future__ import annotations

from collections import deque

from streamvis import wire
from streamvis.wire import LastSeq, Observed, Parts, Snapshot

_MAX_HELD = 4096  # messages; more come only when nobody answers
_MAX_HELD_BYTES = 1 << 26

Update = tuple[Observed, Parts]


class Joining:
    """A snapshot and the stream, brought in step. Knows no socket and no clock.

    The snapshot is of the moment of one heartbeat, the barrier, which everybody gets. What came
    before it is in the snapshot and is thrown away; what comes after it goes on to the caller.
    """

    def __init__(self) -> None:
        self.is_joined = False
        self.service: str | None = None  # as the newest heartbeat says
        self.has_pulse = False  # a heartbeat came
        self.must_ask = False  # for a snapshot; whoever asked sets it back
        self._epoch = ""  # of the heartbeats
        self._held: deque[Update] = deque()
        self._num_held_bytes = 0
        self._snapshot: Snapshot | None = None  # that waits for its barrier

    def see(self, seen: Observed, parts: Parts) -> tuple[list[Parts], list[Update]]:
        """A message of the stream -> (what was before, what is now): the snapshot's messages and
        those of the stream that the caller may have at this point."""
        is_beat = seen.kind == "hb"
        if is_beat and seen.epoch != self._epoch:
            self._begin(seen.epoch)
        if is_beat:
            self.has_pulse = True
            self.service = _service(seen)
        if self.is_joined:
            return [], [(seen, parts)]
        self._hold(seen, parts)
        if is_beat and seen.header.get("stopped") is True:  # nobody will answer any more
            return self._join([], list(self._held))
        return self._match() if self._snapshot else ([], [])

    def answer(self, snapshot: Snapshot) -> tuple[list[Parts], list[Update]]:
        """What was asked for; its barrier may have passed or be still to come."""
        if self.is_joined:
            return [], []
        self._snapshot = snapshot
        return self._match()

    def _hold(self, seen: Observed, parts: Parts) -> None:
        self._held.append((seen, parts))
        self._num_held_bytes += _size(parts)
        while len(self._held) > _MAX_HELD or self._num_held_bytes > _MAX_HELD_BYTES:
            self._release()

    def _release(self) -> Update:
        update = self._held.popleft()
        self._num_held_bytes -= _size(update[1])
        return update

    def _release_all(self) -> None:
        self._held.clear()
        self._num_held_bytes = 0

    def _begin(self, epoch: str) -> None:
        """Another publisher: the state begins anew."""
        self._epoch = epoch
        self.is_joined = False
        self._snapshot = None
        self._release_all()
        self.must_ask = True

    def _match(self) -> tuple[list[Parts], list[Update]]:
        assert self._snapshot is not None, "nothing to match"
        barrier = self._snapshot.barrier
        while self._held:
            seen, _ = self._release()
            if seen.kind != "hb":
                continue
            here = LastSeq(seen.epoch, seen.seq)
            if here == barrier:
                return self._join(list(self._snapshot.messages), list(self._held))
            if here.epoch != barrier.epoch or here.seq > barrier.seq:
                self._snapshot = None  # the barrier itself got lost
                self.must_ask = True
                break
        return [], []

    def _join(self, before: list[Parts], now: list[Update]) -> tuple[list[Parts], list[Update]]:
        self.is_joined = True
        self.must_ask = False
        self._snapshot = None
        self._release_all()
        return before, now


def _size(parts: Parts) -> int:
    return sum(map(len, parts))


def _service(seen: Observed) -> str | None:
    service = seen.header.get("service")
    return service if isinstance(service, str) and len(service) < wire.MAX_TOPIC_BYTES else None
