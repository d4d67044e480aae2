"""Is a camera there, as often as it should be, and sound: derived, never taken on trust."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_HEARTBEAT_TIMEOUT_NS = 3_500_000_000  # three heartbeats missed
_MISSED_RESULTS = 10  # results in a row that did not come: the camera is not alive
_MIN_PATIENCE_NS = 1_000_000_000
_MIN_RATE = 0.8  # of the expected rate
_WINDOW = 32  # arrivals the rate is measured over


@dataclass(frozen=True)
class Health:
    """One camera, seen from this subscriber."""

    is_alive: bool  # heartbeats and results arrive
    is_freq_ok: bool  # results arrive at 0.8 of the expected rate or more
    is_valid: bool  # alive, and the newest frame was decoded without errors
    state: str  # as the pipeline says; "unknown" before the first heartbeat


class CameraHealth:
    """What is needed to tell; times are monotonic ns of this host."""

    def __init__(self) -> None:
        self.state = "unknown"
        self.rate_hz: float | None = None  # expected
        self._arrivals_ns: deque[int] = deque(maxlen=_WINDOW)
        self._is_corrupt = False

    def arrived(self, now_ns: int, is_corrupt: bool) -> None:
        self._arrivals_ns.append(now_ns)
        self._is_corrupt = is_corrupt

    def check(self, now_ns: int, heartbeat_ns: int | None) -> Health:
        """`heartbeat_ns` is when the newest heartbeat came."""
        has_pulse = heartbeat_ns is not None and now_ns - heartbeat_ns < _HEARTBEAT_TIMEOUT_NS
        is_alive = has_pulse and self._is_recent(now_ns)
        return Health(
            is_alive=is_alive,
            is_freq_ok=is_alive and self._is_freq_ok(),
            is_valid=is_alive and not self._is_corrupt,
            state=self.state,
        )

    def _is_recent(self, now_ns: int) -> bool:
        if not self._arrivals_ns:
            return False
        patience_ns = _MIN_PATIENCE_NS
        if self.rate_hz:
            patience_ns = max(patience_ns, round(_MISSED_RESULTS / self.rate_hz * 1e9))
        return now_ns - self._arrivals_ns[-1] <= patience_ns

    def _is_freq_ok(self) -> bool:
        span_ns = self._arrivals_ns[-1] - self._arrivals_ns[0]
        if not self.rate_hz or span_ns == 0:
            return True
        measured_hz = (len(self._arrivals_ns) - 1) / span_ns * 1e9
        return measured_hz >= _MIN_RATE * self.rate_hz
