"""What stands on one street: ground, houses, trees, signals, signs and parked vehicles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from streamvis.source.synth import scenery
from streamvis.source.synth.mesh import Mesh, Surface, merge
from streamvis.source.synth.plan import PARKING_Y, Plan
from streamvis.source.synth.scenery import (
    CORNER_M,
    HOUSE_Y,
    KERB_Y,
    KERB_Z,
    SIDE_HALF_M,
    ZEBRA_M,
    Materials,
)
from streamvis.source.synth.texture import SIGNS
from streamvis.source.synth.traffic import STANDING, Body, Driver, Path
from streamvis.source.synth.vehicle import random_car


@dataclass(frozen=True)
class Town:
    ground: Mesh  # receives shadows but casts none
    scenery: Mesh  # unlabelled
    fixtures: tuple[Body, ...]  # labelled: parked vehicles, signals, signs


class TownBuilder:
    """Lays out one town; each method adds one kind of thing."""

    def __init__(
        self, rng: np.random.Generator, materials: Materials, plan: Plan, ids: Iterator[int]
    ) -> None:
        self.rng, self.materials, self.plan, self.ids = rng, materials, plan, ids
        self.ground: list[Mesh] = [scenery.earth(plan.low, plan.high)]
        self.solid: list[Mesh] = []
        self.fixtures: list[Body] = []

    def build(self) -> Town:
        for x0, x1 in self.plan.blocks:
            self.block(x0, x1)
        for x in self.plan.junctions:
            self.side_street(x)
            self.signals(x)
        self.closing_houses(self.plan.low - 20, 1)
        self.closing_houses(self.plan.high + 20, -1)
        return Town(merge(self.ground), merge(self.solid), tuple(self.fixtures))

    def block(self, x0: float, x1: float) -> None:
        self.ground.append(scenery.zebra(x0))
        self.ground.append(scenery.zebra(x1 - ZEBRA_M))
        self.ground.append(scenery.carriageway(x0 + ZEBRA_M, x1 - ZEBRA_M))
        for side in (-1, 1):
            self.ground.append(scenery.sidewalk(x0, x1, side))
            row = scenery.terrace(self.rng, self.materials, x1 - x0)
            start, turn = (x0, 0.0) if side > 0 else (x1, np.pi)
            self.solid.append(row.placed(start, side * HOUSE_Y, turn))
            self.furniture(x0, x1, side)
            self.parked(x0 + ZEBRA_M + 2, x1 - ZEBRA_M - 2, side)

    def furniture(self, x0: float, x1: float, side: int) -> None:
        rng, y = self.rng, side * (KERB_Y + 0.75)
        facing = 0.0 if side > 0 else np.pi
        slots = np.arange(x0 + 7, x1 - 6, rng.uniform(8.0, 10.5))
        for k, x in enumerate(slots):
            if k % 3 == 1:
                self.solid.append(scenery.street_lamp().placed(x, y, facing, KERB_Z))
            elif rng.random() < 0.85:
                size = float(rng.uniform(0.85, 1.15))
                turn = float(rng.uniform(0, 2 * np.pi))
                self.solid.append(scenery.tree(rng).scaled(size).placed(x, y, turn, KERB_Z))
            if rng.random() < 0.3:
                self.solid.append(scenery.bin_().placed(x + 2.1, y, 0, KERB_Z))
        for x in slots[:-1] + np.diff(slots) / 2:
            if rng.random() < 0.28:
                kind = SIGNS[rng.integers(len(SIGNS))]
                self.sign(kind, float(x), y, 0.0 if side < 0 else np.pi)

    def sign(self, kind: str, x: float, y: float, yaw: float) -> None:
        height = 2.45
        self.solid.append(scenery.pole(height + 0.3).placed(x, y, 0, KERB_Z))
        plate = scenery.sign_plate(kind).placed(-0.07, 0)
        self.fixture("traffic_sign", plate, x, y, yaw, KERB_Z + height)

    def fixture(self, category: str, mesh: Mesh, x: float, y: float, yaw: float, z: float) -> None:
        """A standing object whose own frame has its origin in its middle."""
        track_id = next(self.ids)
        body = mesh.placed(x, y, yaw, z).owned_by(track_id)
        self.fixtures.append(Body(track_id, category, body, (x, y, z), np.zeros((0, 2))))

    def parked(self, x0: float, x1: float, side: int) -> None:
        rng, x, yaw = self.rng, x0, 0.0 if side < 0 else np.pi
        while True:
            vehicle = random_car(rng)
            x += vehicle.length + rng.uniform(0.7, 1.6)
            if x > x1:
                return
            if rng.random() < 0.8 * self.plan.density:
                at = Path(x - vehicle.length / 2, side * PARKING_Y, yaw, STANDING)
                self.fixtures += Driver(next(self.ids), vehicle, at).bodies(0.0)

    def side_street(self, x: float) -> None:
        """Ground, and houses that look into it; the corners belong to the main street."""
        self.ground.append(scenery.junction(x))
        for side in (-1, 1):
            for edge, turn in ((-CORNER_M, 1), (CORNER_M, -1)):
                row = scenery.terrace(self.rng, self.materials, 60.0)
                start = side * (HOUSE_Y + scenery.HOUSE_DEPTH_M)
                if side * turn < 0:  # the row grows towards the street
                    start += side * 60.0
                self.solid.append(row.placed(x + edge, start, turn * np.pi / 2))

    def signals(self, x: float) -> None:
        is_closed = self.plan.must_stop and x == self.plan.gate
        main, cross = ("red", "green") if is_closed else ("green", "red")
        for toward in (-1, 1):  # -1: for traffic that drives along +x
            yaw = 0.0 if toward < 0 else np.pi
            for y in (KERB_Y + 0.5, -KERB_Y - 0.5):
                self.signal(main, x + toward * (CORNER_M - 0.6), y, yaw)
            at = x - toward * (SIDE_HALF_M + 0.6), toward * (KERB_Y + 1.2)
            self.signal(cross, *at, -toward * np.pi / 2)

    def signal(self, lamp: str, x: float, y: float, yaw: float) -> None:
        self.solid.append(scenery.pole(3.3).placed(x, y, 0, KERB_Z))
        head = scenery.signal_head(lamp).placed(-0.2, 0)
        self.fixture("traffic_light", head, x, y, yaw, KERB_Z + 2.85)

    def closing_houses(self, x: float, towards: int) -> None:
        """The view ends at the fronts of a street across."""
        row = scenery.terrace(self.rng, self.materials, 120.0)
        self.solid.append(row.placed(x, -60.0 * towards, towards * np.pi / 2))
        edges = sorted((x, x + 20.0 * towards))
        tarmac = Surface((1, 1, 1), scenery.TARMAC)
        self.ground.append(scenery.floor(edges[0], edges[1], -60.0, 60.0, 0.0, tarmac))
