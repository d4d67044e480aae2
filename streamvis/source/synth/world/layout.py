"""The measures of every street, and what one seed decides about the town's plan.

The main street runs along x from `low` to `high`; cross streets run along y through the junctions.
All streets have the same section: lane, cycle lane, parking, kerb, pavement. Traffic keeps right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LANE_M, CYCLE_M, PARKING_M, PAVEMENT_M = 3.3, 1.5, 2.2, 4.2
KERB_Y = LANE_M + CYCLE_M + PARKING_M  # m from the middle of the street
HOUSE_Y = KERB_Y + PAVEMENT_M
KERB_Z = 0.13
LANE_Y = LANE_M / 2
CYCLE_Y = LANE_M + CYCLE_M / 2
PARKING_Y = LANE_M + CYCLE_M + PARKING_M / 2 - 0.05
ZEBRA_FROM_M, ZEBRA_TO_M = KERB_Y + 0.7, KERB_Y + 3.9  # from the junction's middle
STOP_M = KERB_Y + 4.9  # where front bumpers wait
CROSS_LENGTH_M = 120.0
BEHIND_M, AHEAD_M = 120.0, 230.0  # street beyond the ends of the drive


@dataclass(frozen=True)
class Plan:
    junctions: tuple[float, ...]  # x
    low: float
    high: float
    gate: int  # the first junction ahead of the start
    turn: str  # what the rig does there: straight, left or right
    density: float  # 0 to 1, of parked cars, traffic and people
    car_park: tuple[float, float]  # x of its ends, on the left side
    phase_s: float  # into the signals' cycle, which begins with the rig's green, at time 0

    @property
    def blocks(self) -> list[tuple[float, float]]:
        """Stretches of the main street between the corners of junctions."""
        corners = [x + s * HOUSE_Y for x in self.junctions for s in (-1, 1)]
        edges = [self.low, *corners, self.high]
        return list(zip(edges[::2], edges[1::2], strict=True))


def random_plan(rng: np.random.Generator, duration_s: float) -> Plan:
    low, high = -BEHIND_M, AHEAD_M + 8.0 * duration_s
    apart, gate_x = float(rng.uniform(88, 112)), float(rng.uniform(30, 46))
    first = gate_x - apart * int((gate_x - low - 40) / apart)
    junctions = np.arange(first, high - 40, apart)
    gate = int(np.argmin(np.abs(junctions - gate_x)))
    turn = str(rng.choice(["straight", "straight", "left", "right"]))
    middle = gate_x + apart / 2
    # Mostly the rig's light has just turned green, or will: a drive that only stands is dull.
    phase_s = float(rng.uniform(-3, 7) if rng.random() < 0.75 else rng.uniform(7, 30))
    return Plan(
        tuple(junctions.tolist()), low, high, gate, turn, float(rng.uniform(0.55, 1.0)),
        (middle - 18, middle + 18), phase_s,
    )  # fmt: skip
