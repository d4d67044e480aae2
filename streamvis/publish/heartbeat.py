"""The pipeline's pulse: tells subscribers what they should have got, and what to expect."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from time import monotonic_ns

from streamvis.wire import ALL_CAMERAS, CameraState, Heartbeat, LastSeq, Observed, Origin

_MAX_REMOVED = 256  # cameras removed last: late results may come, or the cameras themselves again


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
        self._removed: dict[str, dict[str, LastSeq]] = {}  # what was said of them, by topic
        self._has_new = False  # camera; its topics are told before its results come
        self.service: str | None = None  # where the pipeline's service is bound

    @property
    def epoch(self) -> str:
        return self._origin.epoch

    def set_camera(
        self, camera: str, state: str, rate_hz: float | None = None, error: str = ""
    ) -> None:
        """How a camera is, and how many results a second to expect. From any thread."""
        self._has_new |= camera not in self._cameras
        self._cameras = {**self._cameras, camera: CameraState(state, rate_hz, error)}

    def drop_camera(self, camera: str) -> None:
        """It was removed: the next heartbeat is the last with its topics, unless it comes again,
        and its numbers go on. From any thread."""
        self._cameras = {name: state for name, state in self._cameras.items() if name != camera}
        self._removed.setdefault(camera, {})

    def see(self, seen: Observed) -> Iterable[Heartbeat]:
        self._last_seq[seen.topic] = LastSeq(seen.epoch, seen.seq)
        return ()

    def tick(self, now_ns: int) -> Iterable[Heartbeat]:
        if self._has_new or now_ns >= self._due_ns:
            self._has_new = False
            self._due_ns = now_ns + self._period_ns
            yield self.beat()

    def finish(self) -> Iterable[Heartbeat]:
        yield self.beat(is_stopped=True)

    def beat(self, is_stopped: bool = False) -> Heartbeat:
        """One out of turn."""
        cameras = self._cameras
        for camera in self._removed.keys() & cameras.keys():
            self._last_seq = {**self._removed.pop(camera), **self._last_seq}
        last_seq = dict(self._last_seq)
        self._put_removed_away()
        return Heartbeat(
            origin=self._origin,
            camera=ALL_CAMERAS,
            seq=next(self._seq),
            last_seq=last_seq,
            cameras=cameras,
            config_hash=self.config_hash,
            is_stopped=is_stopped,
            service=self.service,
            sent_ns=monotonic_ns(),
        )

    def _put_removed_away(self) -> None:
        for camera in tuple(self._removed):
            for topic in [topic for topic in self._last_seq if topic.endswith(f"/{camera}/")]:
                self._removed[camera][topic] = self._last_seq.pop(topic)
        for camera in tuple(self._removed)[:-_MAX_REMOVED]:
            del self._removed[camera]
