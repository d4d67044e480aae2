"""What the runtimes tell about their cameras."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamvis.types import CameraInfo, SourceCounts


@dataclass(frozen=True)
class CameraReport:
    """How one camera is, as its own process sees it."""

    camera: str
    state: str  # connecting, live, ended, ended_early, cut_off, or a SourceError's state
    counts: SourceCounts = field(default_factory=SourceCounts)
    error: str = ""
    rate_hz: float | None = None  # results a second to expect, when frames are paced
    info: CameraInfo | None = None  # None before it is open

    @property
    def is_over(self) -> bool:
        return self.state not in ("connecting", "live")

    @property
    def is_failed(self) -> bool:
        return self.state not in ("connecting", "live", "ended", "cut_off")
