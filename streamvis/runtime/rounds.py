"""Which items of which cameras form the next batch."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from streamvis.types import Clock

T = TypeVar("T")

# Live: a camera is waited for while it may just be a little late, judged by its own pace.
_LATE_STEPS = 3
_MIN_PATIENCE_NS = 100_000_000
_MAX_PATIENCE_NS = 1_000_000_000


class Rounds(Generic[T]):
    """One slot per camera, handed out in rounds, in the order of `cameras`.

    replay: a round is one item of every open camera, so rounds do not depend on timing.
    live: a newer item displaces an older one, and a round is what is there when it is complete
    or `window_ns` after its first item came; a camera that fell silent is not waited for. No
    threads, no clock: time is passed in.
    With `batches`, a replay's rounds are made of these cameras, one after the other, as long as
    there are any: so it repeats what was live.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        clock: Clock,
        window_ns: int = 0,
        batches: Iterable[Sequence[str]] = (),
        displace: Callable[[T, T], T] = lambda _, new: new,
    ) -> None:
        """`displace(old, new)` is what is left in a slot that was not free."""
        self._displace = displace
        self._order = list(cameras)
        self._open = set(cameras)
        self._items: dict[str, T] = {}
        self._is_replay = clock == "replay"
        self._window_ns = window_ns
        self._first_ns = 0
        self.is_held = False  # cameras may still be opened, though there is none
        self._batches = deque(map(frozenset, batches))
        self._paces: dict[str, _Pace] = {}

    @property
    def is_over(self) -> bool:
        """Every camera is closed and its last item taken."""
        return not (self._open or self._items or self.is_held)

    def takes(self, camera: str) -> bool:
        """Whether `put` may be called for this camera now."""
        return self.is_open(camera) and not (self._is_replay and camera in self._items)

    def is_open(self, camera: str) -> bool:
        return camera in self._open

    def put(self, camera: str, item: T, now_ns: int) -> None:
        assert self.takes(camera), f"{camera} has no free slot"
        if not self._items:
            self._first_ns = now_ns
        waiting = self._items.get(camera)
        self._items[camera] = item if waiting is None else self._displace(waiting, item)
        self._paces.setdefault(camera, _Pace(now_ns)).see(now_ns)

    def open(self, camera: str) -> None:
        """Items of this camera may come, too; a new one is the last of a round."""
        self._open.add(camera)
        if camera not in self._order:
            self._order.append(camera)

    def close(self, camera: str) -> None:
        """No more items of this camera; the one it left is still handed out."""
        self._open.discard(camera)
        self._paces.pop(camera, None)
        self._forget_drained([camera])

    def drop(self, camera: str) -> None:
        """Nobody wants the item any more that it left."""
        self._items.pop(camera, None)
        self._forget_drained([camera])

    def is_drained(self, camera: str) -> bool:
        """It is closed and its last item taken."""
        return camera not in self._open and camera not in self._items

    def due_in_ns(self, now_ns: int) -> int | None:
        """0 when a round can be taken, else how long to wait for the others; None while
        nothing but another item can make one."""
        if not self._items:
            return None
        if self._awaited(now_ns) <= self._items.keys():
            return 0
        if self._is_replay:
            return None
        return max(0, self._first_ns + self._window_ns - now_ns)

    def take(self) -> list[T]:
        """The items that are there, or those of the next batch, in camera order."""
        batch = self._next_batch()
        if self._batches:
            self._batches.popleft()
        names = [name for name in self._order if name in self._items and name in batch]
        taken = [self._items.pop(name) for name in names]
        self._forget_drained(names)
        return taken

    def _forget_drained(self, names: Iterable[str]) -> None:
        for name in names:
            if self.is_drained(name) and name in self._order:
                self._order.remove(name)

    def _awaited(self, now_ns: int) -> set[str]:
        if self._is_replay:
            return self._open & self._next_batch()
        return {name for name, pace in self._paces.items() if pace.is_awaited(now_ns)}

    def _next_batch(self) -> frozenset[str]:
        """The cameras of the next round; a batch whose cameras are all over is none."""
        while self._batches and not any(self._may_come(name) for name in self._batches[0]):
            self._batches.popleft()
        return self._batches[0] if self._batches else frozenset(self._order)

    def _may_come(self, camera: str) -> bool:
        return camera in self._open or camera in self._items


class _Pace:
    """How fast a camera's items come."""

    def __init__(self, now_ns: int) -> None:
        self._newest_ns = now_ns
        self._step_ns = 0

    def see(self, now_ns: int) -> None:
        self._step_ns, self._newest_ns = now_ns - self._newest_ns, now_ns

    def is_awaited(self, now_ns: int) -> bool:
        patience_ns = max(_MIN_PATIENCE_NS, min(_LATE_STEPS * self._step_ns, _MAX_PATIENCE_NS))
        return now_ns - self._newest_ns <= patience_ns


class Inbox(Generic[T]):
    """Rounds between threads: cameras put, one consumer takes."""

    def __init__(
        self,
        cameras: Sequence[str],
        clock: Clock,
        window_ns: int = 0,
        batches: Iterable[Sequence[str]] = (),
        displace: Callable[[T, T], T] = lambda _, new: new,
    ) -> None:
        self._rounds: Rounds[T] = Rounds(cameras, clock, window_ns, batches, displace)
        self._changed = threading.Condition()

    def put(self, camera: str, item: T) -> None:
        """Leave an item, in a replay once the slot is free. After `close` items vanish."""
        with self._changed:
            self.wait_for_room(camera)
            if self._rounds.is_open(camera):
                self._rounds.put(camera, item, time.monotonic_ns())
                self._changed.notify_all()

    def wait_for_room(self, camera: str) -> None:
        """Until `put` would not wait, or the camera is closed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._rounds.takes(camera) or not self._rounds.is_open(camera)
            )

    def open(self, camera: str) -> None:
        with self._changed:
            self._rounds.open(camera)

    def hold(self, is_held: bool) -> None:
        """It is not over while it is held, even without a camera."""
        with self._changed:
            self._rounds.is_held = is_held
            self._changed.notify_all()

    def close(self, camera: str) -> None:
        with self._changed:
            self._rounds.close(camera)
            self._changed.notify_all()

    def is_drained(self, camera: str) -> bool:
        with self._changed:
            return self._rounds.is_drained(camera)

    def take_round(self) -> list[T]:
        """Wait for a round. Empty when it is all over."""
        with self._changed:
            while not self._rounds.is_over:
                due_ns = self._rounds.due_in_ns(time.monotonic_ns())
                if due_ns == 0:
                    break
                self._changed.wait(None if due_ns is None else due_ns / 1e9)
            taken = self._rounds.take()
            self._changed.notify_all()
            return taken
