"""Ways over the ground, and where on them something is at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STEP_M = 0.25


@dataclass(frozen=True)
class Route:
    """A way of straight stretches and round corners."""

    distance: NDArray[np.float64]  # [N] m
    point: NDArray[np.float64]  # [N, 2] m
    yaw: NDArray[np.float64]  # [N] rad, without jumps

    @staticmethod
    def through(corners: Sequence[tuple[float, float]], radius_m: float = 0.0) -> Route:
        """Straight from corner to corner, each cut by an arc of about `radius_m`."""
        at = [np.array(c, float) for c in corners]
        points = [at[0]]
        for before, corner, after in zip(at[:-2], at[1:-1], at[2:], strict=True):
            a = corner + _towards(corner, before) * radius_m
            b = corner + _towards(corner, after) * radius_m
            t = np.linspace(0, 1, 24)[:, None]
            points.extend((1 - t) ** 2 * a + 2 * t * (1 - t) * corner + t**2 * b)
        points.append(at[-1])
        line = np.array(points)
        gone = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1)))
        distance = np.arange(0, gone[-1] + _STEP_M, _STEP_M).clip(max=gone[-1])
        point = np.stack([np.interp(distance, gone, line[:, k]) for k in (0, 1)], -1)
        step = np.gradient(point, axis=0)
        return Route(distance, point, np.unwrap(np.arctan2(step[:, 1], step[:, 0])))

    @property
    def length_m(self) -> float:
        return float(self.distance[-1])

    def at(self, distance: float) -> tuple[float, float, float]:
        """(x, y, yaw); beyond the ends it goes straight on."""
        inside = min(max(distance, 0.0), self.length_m)
        x, y = (float(np.interp(inside, self.distance, self.point[:, k])) for k in (0, 1))
        yaw = float(np.interp(inside, self.distance, self.yaw))
        over = distance - inside
        return float(x + over * np.cos(yaw)), float(y + over * np.sin(yaw)), yaw

    def turn_at(self, distance: float) -> float:
        """rad/m, left positive."""
        return (self.at(distance + 1.0)[2] - self.at(distance - 1.0)[2]) / 2.0


def _towards(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((b - a) / np.linalg.norm(b - a))


@dataclass(frozen=True)
class Motion:
    """A route with a time table."""

    route: Route
    times_s: NDArray[np.float64]
    distance: NDArray[np.float64]  # m along the route at each time

    @staticmethod
    def steady(route: Route, start_m: float, speed: float) -> Motion:
        times = np.array([-1000.0, 1000.0])
        return Motion(route, times, start_m + speed * times)

    def gone(self, t: float) -> float:
        return float(np.interp(t, self.times_s, self.distance))

    def at(self, t: float) -> tuple[float, float, float]:
        return self.route.at(self.gone(t))

    def speed(self, t: float) -> float:
        return (self.gone(t + 0.05) - self.gone(t - 0.05)) / 0.1

    def velocity(self, t: float) -> tuple[float, float, float]:
        speed, yaw = self.speed(t), self.at(t)[2]
        return float(speed * np.cos(yaw)), float(speed * np.sin(yaw)), 0.0

    def is_braking(self, t: float) -> bool:
        return self.speed(t + 0.15) < self.speed(t - 0.05) - 0.12 or self.speed(t) < 0.05
