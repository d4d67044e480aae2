"""What the pipeline is: told to whoever records it, or wants to know what it listens to."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from streamvis.types import CameraInfo, ModelId
from streamvis.wire import ALL_CAMERAS, InfoMessage, Observed, Origin


class Informer:
    """Observer: one `info` message every `period_ns`, and one at each change."""

    def __init__(self, origin: Origin, period_ns: int, config: str) -> None:
        """`config` is the resolved pipeline file, JSON."""
        self._origin = origin
        self._period_ns = period_ns
        self.config = config
        self._seq = itertools.count()
        self._due_ns = 0
        self._model: ModelId | None = None
        self._cameras: dict[str, CameraInfo] = {}
        self._told: dict[str, CameraInfo] = {}

    def set_camera(self, camera: str, info: CameraInfo) -> None:
        """What is known of a camera that is open. From any thread."""
        if self._cameras.get(camera) != info:
            self._cameras = {**self._cameras, camera: info}

    def drop_camera(self, camera: str) -> None:
        """It was removed. From any thread."""
        self._cameras = {name: info for name, info in self._cameras.items() if name != camera}

    def see(self, seen: Observed) -> Iterable[InfoMessage]:
        if seen.kind == "det" and self._model is None:
            self._model = seen.model
            yield self._message()

    def tick(self, now_ns: int) -> Iterable[InfoMessage]:
        if now_ns >= self._due_ns or self._cameras is not self._told:
            self._due_ns = now_ns + self._period_ns
            yield self._message()

    def finish(self) -> Iterable[InfoMessage]:
        yield self._message()

    def _message(self) -> InfoMessage:
        self._told = self._cameras
        return InfoMessage(
            origin=self._origin,
            camera=ALL_CAMERAS,
            seq=next(self._seq),
            config=self.config,
            model=self._model,
            cameras=self._told,
        )
