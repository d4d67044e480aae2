"""What the runtimes tell about their cameras and workers."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass, field

from streamvis.types import CameraInfo, SourceCounts

REMOVED = "removed"
_RUNNING = ("connecting", "live", "stale", "reconnecting")


@dataclass(frozen=True)
class CameraReport:
    """How one camera is, as its own process sees it."""

    camera: str
    state: str  # connecting, live, ended, ended_early, cut_off, removed, or a SourceError's state
    counts: SourceCounts = field(default_factory=SourceCounts)
    error: str = ""
    rate_hz: float | None = None  # results a second to expect, when frames are paced
    info: CameraInfo | None = None  # None before it is open
    is_last: bool = True  # False while the camera goes on, or tries again, whatever its state

    @property
    def is_over(self) -> bool:
        return self.state not in _RUNNING

    @property
    def is_settled(self) -> bool:
        """No frame waits any more, so that whatever was not taken was dropped."""
        return self.is_over and (self.is_last or self.state == "cut_off")

    @property
    def is_failed(self) -> bool:
        return self.state not in (*_RUNNING, "ended", "cut_off", REMOVED)


@dataclass(frozen=True)
class Process:
    """Which process it is, for whoever may have to end it."""

    pid: int
    space: str  # where `pid` means something

    @staticmethod
    def this() -> Process:
        return Process(os.getpid(), _space())

    def kill(self) -> None:
        """A stopped or stuck process hears nothing but this. Nothing happens elsewhere."""
        if self.space == _space():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, signal.SIGKILL)


@dataclass(frozen=True)
class WorkerFacts:
    """What the supervisor must know of a worker that is open."""

    process: Process
    epoch: str  # of what it publishes
    tiles_endpoint: str  # where cameras reach it


def _space() -> str:
    """The host and, for containers, the process ids' namespace."""
    return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
