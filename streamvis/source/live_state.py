"""How a live camera is: written by the thread that reads it, read by any other."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

CameraState = Literal[
    "connecting",  # never reached so far
    "live",
    "stale",  # connected, and no picture for longer than it should take
    "reconnecting",  # it was live, and the connection is gone
    "auth_failed",
    "not_found",
    "timeout",
    "codec_unsupported",
    "ended",
]


@dataclass(frozen=True)
class Condition:
    """A state, and one sentence about it if something is wrong."""

    state: CameraState
    error: str = ""


class LiveState:
    """Thread-safe: every attribute is written by one thread and replaced as a whole."""

    def __init__(self) -> None:
        self.condition = Condition("connecting")
        self.rate_hz: float | None = None  # pictures a second, measured; None if not known yet
        self.num_dropped = 0  # decoded frames that nobody took in time
        self.num_connections = 0  # that gave pictures
        self._stopping = threading.Event()

    def stop(self) -> None:
        """The source ends as if the camera had ended, within a fraction of a second."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def sleep(self, seconds: float) -> None:
        """Or until `stop`."""
        self._stopping.wait(seconds)
