"""The newest message of each topic: what a late joiner has to know."""

from __future__ import annotations

from collections.abc import Iterator

from streamvis import wire
from streamvis.wire import Observed, Parts

_MAX_TOPICS = wire.MAX_ITEMS
_NO_STATE = ("vid",)  # a picture that needs those before it says nothing by itself


class LastValues:
    """Memory: one message a topic. Beyond 4096 topics the one that was silent longest goes."""

    def __init__(self) -> None:
        self._parts: dict[str, Parts] = {}  # by topic, the one that changed last at the end
        self._cameras: set[str] = set()  # of the newest heartbeat

    def see(self, seen: Observed, parts: Parts) -> None:
        """Keeps the parts: they must not change afterwards."""
        if seen.kind in _NO_STATE:
            return
        self._parts.pop(seen.topic, None)
        self._parts[seen.topic] = parts
        if len(self._parts) > _MAX_TOPICS:
            del self._parts[next(iter(self._parts))]
        if seen.kind == "hb":
            self._forget_removed(set(seen.cameras))

    def _forget_removed(self, cameras: set[str]) -> None:
        """A camera that the heartbeat names no longer has no state."""
        for camera in self._cameras - cameras:
            for topic in [topic for topic in self._parts if topic.endswith(f"/{camera}/")]:
                del self._parts[topic]
        self._cameras = cameras

    def matching(self, prefixes: tuple[str, ...]) -> Iterator[Parts]:
        """Oldest first, so that they may be read like the stream itself."""
        return (parts for topic, parts in self._parts.items() if topic.startswith(prefixes))
