"""Other hosts' monotonic clocks, read by this host's: enough to know how old a result is."""

from __future__ import annotations

from streamvis.wire import local_clock_id

_DRIFT = 1e-4  # two clocks of quartz part by less: 100 ppm


class Clocks:
    """Heartbeats say when they were sent. Between that and their arrival lies the difference
    of the clocks and the way here; the smallest there was has the shortest way in it. So times
    come out late by that way, and ages too small by it, never too large.
    """

    def __init__(self) -> None:
        self._ahead: dict[str, tuple[int, int]] = {}  # by clock: (ns this one is ahead, as of)

    def see(self, clock_id: str, sent_ns: int, now_ns: int) -> None:
        """A heartbeat came at `now_ns` here, sent at `sent_ns` there."""
        found_ns = now_ns - sent_ns
        known_ns = self._ahead_ns(clock_id, now_ns)
        if known_ns is None or found_ns < known_ns:
            self._ahead[clock_id] = found_ns, now_ns

    def age_ms(self, clock_id: str, stamp_ns: int, now_ns: int) -> float | None:
        """Of a stamp of that clock; None if nothing is known of it."""
        ahead_ns = 0 if clock_id == local_clock_id() else self._ahead_ns(clock_id, now_ns)
        return None if ahead_ns is None else (now_ns - ahead_ns - stamp_ns) / 1e6

    def _ahead_ns(self, clock_id: str, now_ns: int) -> int | None:
        """What was found long ago may have grown."""
        if clock_id not in self._ahead:
            return None
        ahead_ns, as_of_ns = self._ahead[clock_id]
        return ahead_ns + round((now_ns - as_of_ns) * _DRIFT)
