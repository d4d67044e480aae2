"""What was published lately: a bounded store for readers that must not lose anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

_MAX_FORGOTTEN = 4096  # topics: more than 256 cameras have

Matches = Callable[[str], bool]  # of a topic


@dataclass(frozen=True)
class Stored:
    """One message."""

    topic: str
    data: bytes  # as wire.join makes it
    num_bytes_before: int  # of all messages ever stored before it


class Store:
    """Messages by their position, which counts from 0; the oldest make room for the newest."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: dict[int, Stored] = {}  # positions without a hole, ascending
        self._first = 0
        self._num_bytes_ever = 0
        self._forgotten: dict[str, int] = {}  # position of the newest, by topic, ascending
        self._unknown = -1  # up to here it may have been any topic

    @property
    def end(self) -> int:
        """Position of the newest message; -1 before the first."""
        return self._first + len(self._entries) - 1

    @property
    def first(self) -> int:
        """Position of the oldest message that is kept, or of the next one if none is."""
        return self._first

    @property
    def num_bytes(self) -> int:
        return self.num_bytes_after(self._first - 1)

    def append(self, topic: str, data: bytes) -> None:
        """A message larger than the whole store is forgotten at once, and counts as skipped."""
        self._entries[self.end + 1] = Stored(topic, data, self._num_bytes_ever)
        self._num_bytes_ever += len(data)
        while self._entries and self.num_bytes > self._max_bytes:
            self._note_forgotten(self._entries.pop(self._first).topic)
            self._first += 1

    def _note_forgotten(self, topic: str) -> None:
        self._forgotten.pop(topic, None)
        self._forgotten[topic] = self._first
        if len(self._forgotten) > _MAX_FORGOTTEN:
            self._unknown = self._forgotten.pop(next(iter(self._forgotten)))

    def num_skipped(self, position: int, matches: Matches) -> int:
        """Positions behind this one that are kept no more; 0 if surely none of them matched."""
        if position >= self._first - 1:
            return 0
        is_missed = position < self._unknown or any(
            at > position and matches(topic) for topic, at in self._forgotten.items()
        )
        return self._first - 1 - position if is_missed else 0

    def num_bytes_after(self, position: int) -> int:
        """Of the kept messages behind the position."""
        entry = self._entries.get(max(position + 1, self._first))
        return self._num_bytes_ever - entry.num_bytes_before if entry else 0

    def after(self, position: int, matches: Matches) -> Iterator[tuple[int, bytes]]:
        """(position, data) of the kept messages behind the position that match, oldest first."""
        for at in range(max(position + 1, self._first), self.end + 1):
            entry = self._entries[at]
            if matches(entry.topic):
                yield at, entry.data
