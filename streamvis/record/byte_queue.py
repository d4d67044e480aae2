"""A queue between two threads that is bounded by the bytes it holds."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class ByteQueue(Generic[T]):
    """Many may `put`, one `take`s. A single item larger than the bound fits an empty queue."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._items: deque[tuple[T, int]] = deque()
        self._num_bytes = 0
        self._is_closed = False
        self._changed = threading.Condition()

    def put(self, item: T, num_bytes: int, *, wait: bool) -> bool:
        """False if it is full, or closed; with `wait` only if it is closed."""
        with self._changed:
            while not self._is_closed and not self._fits(num_bytes):
                if not wait:
                    return False
                self._changed.wait()
            if self._is_closed:
                return False
            self._items.append((item, num_bytes))
            self._num_bytes += num_bytes
            self._changed.notify_all()
            return True

    def take(self, timeout_s: float) -> T | None:
        """The oldest; None if nothing came in time, or if it is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._is_closed, timeout_s)
            if not self._items:
                return None
            item, num_bytes = self._items.popleft()
            self._num_bytes -= num_bytes
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Nothing more comes in; what is there can still be taken."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def is_over(self) -> bool:
        """Closed, and everything was taken."""
        with self._changed:
            return self._is_closed and not self._items

    def _fits(self, num_bytes: int) -> bool:
        return not self._items or self._num_bytes + num_bytes <= self._max_bytes
