"""How vehicles move: the intelligent driver model (Treiber 2000) on routes, with traffic lights.

All drivers are stepped together before the first frame; a scene looks their time tables up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.world.layout import STOP_M
from streamvis.source.synth.world.route import Motion, Route
from streamvis.source.synth.world.signals import Signals

STEP_S = 0.1
SETTLE_S = 12.0  # before time 0, so that queues are in order
_ACCELERATE, _BRAKE, _GAP_S, _GAP_M = 1.7, 2.0, 1.2, 2.0
_SIGHT_M = 60.0


@dataclass(frozen=True)
class Driver:
    route: Route
    start_m: float  # at the start of the settling
    speed: float  # wished for, m/s
    length: float
    width: float
    stops: tuple[tuple[float, str], ...]  # (distance of a stop line, movement of its signal)


def drive(drivers: Sequence[Driver], signals: Signals, duration_s: float) -> list[Motion]:
    """One Motion each, from -SETTLE_S to the end."""
    times = np.arange(-SETTLE_S, duration_s + 1.0, STEP_S)
    where = np.array([d.start_m for d in drivers])
    speed = np.array([0.8 * d.speed for d in drivers])
    wish = np.array([d.speed for d in drivers])
    half = np.array([d.length for d in drivers]) / 2
    wide = np.array([d.width for d in drivers])
    track = np.empty((len(times), len(drivers)))
    for step, t in enumerate(times):
        track[step] = where
        pose = np.array([d.route.at(s) for d, s in zip(drivers, where, strict=True)])
        gap, lead = _leaders(pose, half, wide, speed)
        gap_stop = _to_stop_line(drivers, where, half, speed, signals, float(t))
        lead = np.where(gap_stop < gap, 0.0, lead)
        gap = np.maximum(np.minimum(gap, gap_stop), 0.05)
        bend = np.array([abs(d.route.turn_at(s + 3)) for d, s in zip(drivers, where, strict=True)])
        target = np.minimum(wish, np.sqrt(2.2 / np.maximum(bend, 0.02)))
        want = _GAP_M + np.maximum(
            0, speed * _GAP_S + speed * (speed - lead) / (2 * np.sqrt(_ACCELERATE * _BRAKE))
        )
        push = _ACCELERATE * (1 - (speed / target) ** 4 - (want / gap) ** 2)
        faster = np.maximum(0.0, speed + np.clip(push, -6.0, _ACCELERATE) * STEP_S)
        where = where + 0.5 * (speed + faster) * STEP_S
        speed = faster
    return [Motion(d.route, times, track[:, k].copy()) for k, d in enumerate(drivers)]


def _leaders(
    pose: NDArray[np.float64], half: NDArray[np.float64], wide: NDArray[np.float64],
    speed: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """(free metres to the nearest one ahead in the own corridor, its speed along it)."""
    x, y, yaw = pose.T
    dx, dy = x[None] - x[:, None], y[None] - y[:, None]  # [who, whom]
    cos, sin = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    ahead, aside = dx * cos + dy * sin, -dx * sin + dy * cos
    same = np.cos(yaw[None] - yaw[:, None])
    corridor = 0.5 * (wide[None] + wide[:, None]) + 0.35
    is_leader = (ahead > 0.5) & (ahead < _SIGHT_M) & (np.abs(aside) < corridor) & (same > -0.3)
    gap = np.where(is_leader, ahead - half[None] - half[:, None], np.inf)
    nearest = gap.argmin(1)
    rows = np.arange(len(x))
    lead = np.maximum(0.0, speed[nearest] * same[rows, nearest])
    return gap[rows, nearest], lead


def _to_stop_line(
    drivers: Sequence[Driver], where: NDArray[np.float64], half: NDArray[np.float64],
    speed: NDArray[np.float64], signals: Signals, t: float,
) -> NDArray[np.float64]:  # fmt: skip
    """Free metres to a line that must not be crossed now."""
    gap = np.full(len(drivers), np.inf)
    lamps = {m: signals.lamp(m, t) for m in ("ahead", "back", "cross")}
    for k, d in enumerate(drivers):
        for line, movement in d.stops:
            free = line - where[k] - half[k]
            lamp = lamps[movement]
            cannot = lamp == "amber" and free < speed[k] ** 2 / (2 * 3.0)
            if free > -0.6 and lamp != "green" and not cannot:
                gap[k] = min(gap[k], max(free + _GAP_M - 0.6, 0.05))
    return gap


def stop_lines(route: Route, junctions: Sequence[float]) -> tuple[tuple[float, str], ...]:
    """Where a route meets the lines before junctions, found on its straight way in."""
    lines = []
    for x in junctions:
        near = np.hypot(route.point[:, 0] - x, route.point[:, 1])
        inside = np.flatnonzero(near < STOP_M)
        if not len(inside) or inside[0] == 0:
            continue
        first = int(inside[0])
        yaw = route.yaw[first]
        along = np.array([np.cos(yaw), np.sin(yaw)])
        away = float((np.array([x, 0.0]) - route.point[first]) @ along)
        movement = "cross" if abs(along[1]) > 0.7 else "ahead" if along[0] > 0 else "back"
        lines.append((float(route.distance[first]) + away - STOP_M, movement))
    return tuple(lines)
