"""Traffic lights: all junctions of a town show the same, one movement after another."""

from __future__ import annotations

from dataclasses import dataclass

MOVEMENTS = ("ahead", "back", "cross", "people")  # ahead: traffic along +x; back: along -x
_GREEN_S = {"ahead": 12.0, "back": 12.0, "cross": 8.0, "people": 9.0}
AMBER_S, CLEAR_S = 2.0, 1.0


@dataclass(frozen=True)
class Signals:
    """`split` gives both directions of the main street their own time, for left turns."""

    phase_s: float
    split: bool

    def lamp(self, movement: str, t: float) -> str:
        """red, amber or green"""
        since, green_s = self._since_green(movement, t)
        if since < green_s:
            return "green"
        return "amber" if since < green_s + AMBER_S and movement != "people" else "red"

    def next_green(self, movement: str, t: float) -> float:
        """When it turns green, or `t` if it is."""
        since, green_s = self._since_green(movement, t)
        return t if since < green_s else t + self.cycle_s - since

    @property
    def cycle_s(self) -> float:
        return sum(_GREEN_S[m] + AMBER_S + CLEAR_S for m in self._order)

    @property
    def _order(self) -> tuple[str, ...]:
        return MOVEMENTS if self.split else ("ahead", "cross", "people")

    def _since_green(self, movement: str, t: float) -> tuple[float, float]:
        if movement == "back" and not self.split:
            movement = "ahead"
        start = 0.0
        for name in self._order:
            if name == movement:
                break
            start += _GREEN_S[name] + AMBER_S + CLEAR_S
        return (t + self.phase_s - start) % self.cycle_s, _GREEN_S[movement]
