"""When to try a camera again."""

from __future__ import annotations

import random

from streamvis.source.config import LiveConfig
from streamvis.source.live_state import CameraState

_STEADY_NS = 5_000_000_000
# What a new attempt does not heal by itself: many cameras lock out whoever keeps on trying.
_SLOWER: dict[CameraState, int] = {"auth_failed": 20, "codec_unsupported": 20}


class Backoff:
    """Jittered exponential back-off: it doubles from attempt to attempt up to a limit, and begins
    anew once a camera was live for a while. No clock: time is passed in."""

    def __init__(self, config: LiveConfig, jitter: random.Random) -> None:
        self._first_ns = config.retry_after
        self._most_ns = config.retry_at_most
        self._jitter = jitter
        self._wait_ns = self._first_ns

    def next_ns(self, state: CameraState, was_live_ns: int) -> int:
        """How long to wait now: half to all of the current step. `state` is why the last
        connection ended, `was_live_ns` how long it gave pictures."""
        if was_live_ns > _STEADY_NS:
            self._wait_ns = self._first_ns
        wait_ns, self._wait_ns = self._wait_ns, min(2 * self._wait_ns, self._most_ns)
        if state in _SLOWER:
            wait_ns = self._most_ns * _SLOWER[state]
        return round(wait_ns * self._jitter.uniform(0.5, 1.0))
