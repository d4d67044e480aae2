"""Cameras of any rate and any start on one regular time axis."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median
from typing import Generic, TypeVar

Item = TypeVar("Item")

_HOLD = 32  # items of a camera that wait for a slower one
_WARM_UP = 16  # items of a camera that tell its rate
_STALE_NS = 1_000_000_000
_MAX_FPS = 60
_FALLBACK_FPS = Fraction(10)


class Timeline(Generic[Item]):
    """Turns timed items into ticks of capture time: at each, every camera's newest item.

    The ticks have the rate of the fastest camera. They depend on the items' times only, not on
    how the cameras' streams interleave, as long as no camera runs ahead of another by more than
    32 items; one that is further behind counts as gone until it is back.
    """

    def __init__(self, cameras: Sequence[str], fps: float | None = None) -> None:
        """`fps` overrides the rate of the fastest camera."""
        self._waiting: dict[str, list[tuple[int, Item]]] = {camera: [] for camera in cameras}
        self._shown: dict[str, tuple[int, Item]] = {}
        self._origin_ns = 0
        self._lead_ns = 0  # from the origin to the first tick
        self._count = 0  # ticks since the origin
        self._wanted_fps = fps
        self._fps: Fraction | None = None  # from the first tick on

    @property
    def fps(self) -> Fraction:
        """Ticks a second; known from the first tick on."""
        assert self._fps is not None, "no tick yet"
        return self._fps

    def add(self, camera: str, t_ns: int, item: Item) -> Iterator[dict[str, Item]]:
        """Take in an item; yields the ticks that nothing can change any more."""
        insort(self._waiting[camera], (t_ns, item), key=_time)
        queues = self._waiting.values()
        if self._fps is None and (min(map(len, queues)) >= _WARM_UP or self._is_overfull()):
            self._begin()
        while self._fps is not None and (self._is_settled() or self._is_overfull()):
            yield self._tick()

    def flush(self) -> Iterator[dict[str, Item]]:
        """The ticks that are left when no item will come any more."""
        if self._fps is None and any(self._waiting.values()):
            self._begin()
        while any(self._waiting.values()):
            yield self._tick()

    def _begin(self) -> None:
        self._fps = self._choose_fps()
        self._origin_ns = self._first_waiting_ns()
        starts_ns = [queue[0][0] - self._origin_ns for queue in self._waiting.values() if queue]
        self._lead_ns = _quiet_phase_ns(starts_ns, round(1_000_000_000 / self._fps))

    def _choose_fps(self) -> Fraction:
        if self._wanted_fps is not None:
            return Fraction(self._wanted_fps).limit_denominator(1001)
        rates = [rate for queue in self._waiting.values() if (rate := _rate(queue))]
        return max(rates, default=_FALLBACK_FPS)

    def _is_settled(self) -> bool:
        """Every camera has an item beyond the next tick."""
        horizon_ns = self._horizon_ns()
        return all(queue and queue[-1][0] > horizon_ns for queue in self._waiting.values())

    def _is_overfull(self) -> bool:
        return any(len(queue) > _HOLD for queue in self._waiting.values())

    def _tick(self) -> dict[str, Item]:
        self._skip_silence()
        horizon_ns = self._horizon_ns()
        for camera, queue in self._waiting.items():
            while queue and queue[0][0] <= horizon_ns:
                item = queue.pop(0)
                # One that came too late for its own tick must not turn the picture back.
                self._shown[camera] = max(self._shown.get(camera, item), item, key=_time)
        self._count += 1
        oldest_ns = horizon_ns - _STALE_NS
        return {c: item for c, (t_ns, item) in self._shown.items() if t_ns >= oldest_ns}

    def _skip_silence(self) -> None:
        """Where no camera has anything for more than a second, time goes on with the next item."""
        first_ns = self._first_waiting_ns()
        if first_ns - max(map(_time, self._shown.values()), default=first_ns) > _STALE_NS:
            self._origin_ns, self._count = first_ns, 0

    def _first_waiting_ns(self) -> int:
        return min(queue[0][0] for queue in self._waiting.values() if queue)

    def _horizon_ns(self) -> int:
        """The next tick shows what was captured until then."""
        return self._origin_ns + self._lead_ns + round(self._count / self.fps * 1_000_000_000)


def _time(timed: tuple[int, Item]) -> int:
    return timed[0]


def _rate(queue: list[tuple[int, Item]]) -> Fraction | None:
    """Items a second, in halves: capture times jitter, camera rates are round numbers.

    Measured over several frames because of the jitter, and the median because of gaps."""
    times_ns = [t_ns for t_ns, _ in queue[:_WARM_UP]]
    reach = min(4, len(times_ns) - 1)
    spans_ns = [b - a for a, b in zip(times_ns, times_ns[reach:], strict=False) if b > a]
    if not spans_ns:
        return None
    halves = round(2 * reach * 1e9 / median(spans_ns))
    return Fraction(min(max(halves, 1), 2 * _MAX_FPS), 2)


def _quiet_phase_ns(starts_ns: list[int], period_ns: int) -> int:
    """The middle of the longest part of a period in which no camera captures: there, jitter of
    the capture times moves no frame to the next tick."""
    phases_ns = sorted(start_ns % period_ns for start_ns in starts_ns)
    gaps = pairwise([*phases_ns, phases_ns[0] + period_ns])
    start_ns, end_ns = max(gaps, key=lambda gap: gap[1] - gap[0])
    return (start_ns + end_ns) // 2
