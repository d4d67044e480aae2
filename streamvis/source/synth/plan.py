"""What a seed decides first: where the street's junctions lie and how the rig drives along it.

Directions along the street are +1 (the rig's, on the right, y < 0) and -1 (oncoming, y > 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamvis.source.synth.camera import RigPose
from streamvis.source.synth.scenery import CORNER_M, CYCLE_M, LANE_M, PARKING_M, ZEBRA_M
from streamvis.source.synth.traffic import Speed

BEHIND_M, AHEAD_M = 110.0, 210.0  # street beyond the two ends of the drive
LANE_Y = LANE_M / 2
CYCLE_Y = LANE_M + CYCLE_M / 2
PARKING_Y = LANE_M + CYCLE_M + PARKING_M / 2 - 0.05
RIG_NOSE_M = 2.2
SWAY_LENGTH_M = 55.0


@dataclass(frozen=True)
class Drive:
    """The rig's way: along the right lane with a slight sway."""

    speed: Speed
    sway_m: float
    sway_phase: float  # rad

    def pose(self, t: float) -> RigPose:
        x = self.speed.distance(t)
        turns = 2 * np.pi * x / SWAY_LENGTH_M + self.sway_phase
        slope = self.sway_m * 2 * np.pi / SWAY_LENGTH_M * np.cos(turns)
        return RigPose(x, -LANE_Y + self.sway_m * np.sin(turns), float(np.arctan(slope)))


@dataclass(frozen=True)
class Plan:
    drive: Drive
    duration_s: float
    must_stop: bool  # the gate is red for the rig: it stops, people and side traffic cross
    gate: float  # x of the first junction ahead of the start, or where the rig stops
    junctions: tuple[float, ...]  # x, the gate among them
    low: float  # x of the street's ends
    high: float
    density: float  # 0 to 1, of parked cars, traffic and people

    @property
    def blocks(self) -> list[tuple[float, float]]:
        """Stretches of street between the corners of junctions."""
        corners = [x + s * CORNER_M for x in self.junctions for s in (-1, 1)]
        edges = [self.low, *corners, self.high]
        return list(zip(edges[::2], edges[1::2], strict=True))


def random_plan(rng: np.random.Generator, duration_s: float) -> Plan:
    must_stop = bool(rng.random() < 0.4)
    drive = _random_drive(rng, duration_s, must_stop)
    length = drive.speed.distance(duration_s)
    low, high = -BEHIND_M, length + AHEAD_M
    apart = float(rng.uniform(72, 92))
    gate = float(rng.uniform(26, 40))
    if must_stop:
        gate = length + RIG_NOSE_M + 1.2 + ZEBRA_M + CORNER_M
    first = gate - apart * int((gate - low - 30) / apart)
    junctions = np.arange(first, high - 30, apart)
    return Plan(
        drive, duration_s, must_stop, gate, tuple(junctions.tolist()), low, high,
        float(rng.uniform(0.6, 1.0)),
    )  # fmt: skip


def _random_drive(rng: np.random.Generator, duration_s: float, must_stop: bool) -> Drive:
    slow, fast = rng.uniform(2.5, 4.5), rng.uniform(7.5, 10.5)
    habits = ((slow, fast, fast), (fast, fast, slow), (fast, slow + 2, fast), (fast, fast, fast))
    habit = (fast, 0.0, 0.0) if must_stop else habits[rng.integers(len(habits))]
    times = (0.0, 0.5 * duration_s, 0.9 * duration_s)
    speed = Speed(times, tuple(float(v) for v in habit))
    return Drive(speed, float(rng.uniform(0.1, 0.3)), float(rng.uniform(0, 2 * np.pi)))
