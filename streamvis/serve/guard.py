"""What keeps a stranger from filling the log, the memory or the processor."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from time import monotonic

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 1 << 16
MAX_DEPTH = 8

_LOG_EVERY_S = 60.0
_MAX_SOURCES = 1024  # remembered; the one that was silent longest goes first


class RareLog:
    """One warning a source and minute; the next one says how many were kept back. Thread-safe."""

    def __init__(self, every_s: float = _LOG_EVERY_S) -> None:
        self._every_s = every_s
        self._last: OrderedDict[str, tuple[float, int]] = OrderedDict()  # (when, kept back since)
        self._lock = threading.Lock()

    def warn(self, source: str, text: str, now_s: float | None = None) -> None:
        now_s = monotonic() if now_s is None else now_s
        with self._lock:
            last_s, num_kept = self._last.get(source, (float("-inf"), 0))
            is_due = now_s - last_s >= self._every_s
            self._last[source] = (now_s, 0) if is_due else (last_s, num_kept + 1)
            self._last.move_to_end(source)
            if len(self._last) > _MAX_SOURCES:
                self._last.popitem(last=False)
        if is_due:
            more = f" ({num_kept} more since the last such line)" if num_kept else ""
            log.warning("%s: %s%s", source, text, more)


class RateLimit:
    """So many requests a second from one source, and a short burst. Thread-safe."""

    def __init__(self, rate_hz: float = 50.0, burst: int = 100) -> None:
        self._rate_hz = rate_hz
        self._burst = burst
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()  # (left, when)
        self._lock = threading.Lock()

    def allows(self, source: str, now_s: float | None = None) -> bool:
        now_s = monotonic() if now_s is None else now_s
        with self._lock:
            left, then_s = self._tokens.get(source, (float(self._burst), now_s))
            left = min(self._burst, left + (now_s - then_s) * self._rate_hz)
            is_allowed = left >= 1
            self._tokens[source] = (left - is_allowed, now_s)
            self._tokens.move_to_end(source)
            if len(self._tokens) > _MAX_SOURCES:
                self._tokens.popitem(last=False)
        return is_allowed


def depth_of(value: object, limit: int = MAX_DEPTH) -> int:
    """How deep lists and mappings are nested; more than `limit` is not looked into."""
    if limit < 0 or not isinstance(value, (dict, list)):
        return 0
    children = value.values() if isinstance(value, dict) else value
    return 1 + max((depth_of(child, limit - 1) for child in children), default=0)
