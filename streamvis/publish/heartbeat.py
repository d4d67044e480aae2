"""The pipeline's pulse: tells subscribers what they should have got, and what to expect."""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from collections.abc import Iterable
from time import monotonic_ns

from streamvis.wire import ALL_CAMERAS, CameraState, Heartbeat, LastSeq, Observed, Origin

_MAX_REMOVED = 256  # cameras removed last: late results of theirs may come
_MAX_REMOVED_TOPICS = 128  # of the newest of them: they may be added again, and their numbers go on


class Heart:
    """Observer: one `hb` message every `period_ns`, and a last one that says stopped."""

    def __init__(self, origin: Origin, period_ns: int, config_hash: str = "") -> None:
        self._origin = origin
        self._period_ns = period_ns
        self.config_hash = config_hash
        self._seq = itertools.count()
        self._due_ns = 0
        self._last_seq: dict[str, LastSeq] = {}
        self._cameras: dict[str, CameraState] = {}
        self._dropped: deque[str] = deque()  # cameras, since the last heartbeat
        self._removed: dict[str, None] = {}  # the newest last
        self.service: str | None = None  # where the pipeline's service is bound

    @property
    def epoch(self) -> str:
        return self._origin.epoch

    def set_camera(
        self, camera: str, state: str, rate_hz: float | None = None, error: str = ""
    ) -> None:
        """How a camera is, and how many results a second to expect. From any thread."""
        self._cameras = {**self._cameras, camera: CameraState(state, rate_hz, error)}

    def drop_camera(self, camera: str) -> None:
        """It was removed; heartbeats tell its topics until many others were, too. From any
        thread."""
        self._cameras = {name: state for name, state in self._cameras.items() if name != camera}
        self._dropped.append(camera)

    def see(self, seen: Observed) -> Iterable[Heartbeat]:
        self._last_seq[seen.topic] = LastSeq(seen.epoch, seen.seq)
        return ()

    def tick(self, now_ns: int) -> Iterable[Heartbeat]:
        if now_ns >= self._due_ns:
            self._due_ns = now_ns + self._period_ns
            yield self.beat()

    def finish(self) -> Iterable[Heartbeat]:
        yield self.beat(is_stopped=True)

    def beat(self, is_stopped: bool = False) -> Heartbeat:
        """One out of turn."""
        self._forget_removed()
        return Heartbeat(
            origin=self._origin,
            camera=ALL_CAMERAS,
            seq=next(self._seq),
            last_seq=dict(self._last_seq),
            cameras=self._cameras,
            config_hash=self.config_hash,
            is_stopped=is_stopped,
            service=self.service,
            sent_ns=monotonic_ns(),
        )

    def _forget_removed(self) -> None:
        while self._dropped:
            camera = self._dropped.popleft()
            self._removed.pop(camera, None)
            self._removed[camera] = None
        topics = defaultdict(list)
        for topic in self._last_seq:
            topics[topic.rsplit("/", 2)[1]].append(topic)
        num_told = 0
        for place, camera in enumerate(reversed(tuple(self._removed))):
            if camera in self._cameras:
                del self._removed[camera]
                continue
            num_told += len(topics[camera])
            if num_told > _MAX_REMOVED_TOPICS or place >= _MAX_REMOVED:
                for topic in topics[camera]:
                    del self._last_seq[topic]
            if place >= _MAX_REMOVED:
                del self._removed[camera]
