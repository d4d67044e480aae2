"""How long to wait before a process that died is started again."""

from __future__ import annotations

_FIRST_S = 1.0
_LONGEST_S = 30.0
_STEADY_S = 60.0


class Backoff:
    """Doubles from death to death; what lived for a minute begins again at the shortest wait."""

    def __init__(self, first_s: float = _FIRST_S) -> None:
        self._first_s = first_s
        self._next_s = first_s
        self._began_s = float("-inf")

    def began(self, now_s: float) -> None:
        """The process was started."""
        self._began_s = now_s

    def died(self, now_s: float) -> float:
        """Returns when to start it again, on the clock that `now_s` is of."""
        if now_s - self._began_s > _STEADY_S:
            self._next_s = self._first_s
        wait_s, self._next_s = self._next_s, min(_LONGEST_S, max(1.0, 2 * self._next_s))
        return now_s + wait_s
