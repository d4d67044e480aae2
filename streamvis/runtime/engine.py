"""What a runtime offers to the session that drives it: local threads, or Ray actors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from streamvis.client.curve import RunKeys
from streamvis.runtime.report import CameraReport
from streamvis.topology import PipelineConfig
from streamvis.types import Ledger

ShouldStop = Callable[[], bool]
BeginLife = Callable[[str], Ledger]  # camera -> where the frames of its earlier lives went


@dataclass(frozen=True)
class Hops:
    """How the processes of one run reach each other."""

    results: str  # where the proxy takes results
    folder: Path  # for sockets of this host
    keys: RunKeys | None = None  # where a hop may leave this host


class TilesAt(NamedTuple):
    """Where a worker takes tile packets. Of two the later one holds, however they arrive."""

    serial: int = 0
    endpoint: str = ""


class Stopped(Exception):
    """Somebody asked the run to stop before it had begun."""


class Engine(Protocol):
    """Called from one thread, in this order: open, start, wait..., close."""

    def open(self, should_stop: ShouldStop) -> None:
        """Load models and open sources. A camera that cannot be opened is in `reports`; raises
        WeightsError, RuntimeStartError or Stopped."""

    def start(self) -> None:
        """Release the first frames."""

    def wait(self, timeout_s: float) -> bool:
        """Whether it is over; raises what broke it as a whole."""

    def stop(self) -> None:
        """Ask the cameras to end; `wait` tells when they have."""

    def add(self, config: PipelineConfig, camera: str) -> None:
        """Begin to open one of the sources of this config, while the others run."""

    def remove(self, camera: str) -> None:
        """Begin to stop it; `gone` tells when nothing more comes of it."""

    def gone(self) -> list[CameraReport]:
        """The last reports of cameras that were removed, once each."""

    def reports(self) -> list[CameraReport]:
        """The view that every camera has of itself, in the order in which they came."""

    @property
    def num_worker_deaths(self) -> int:
        """Encoder workers that died or hung."""

    @property
    def dead_epochs(self) -> frozenset[str]:
        """Under which they published."""

    def close(self) -> None:
        """Free everything, in any state, also after an error."""
