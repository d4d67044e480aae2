"""The layout of one scene: a street with junctions, its scenery, its traffic, the rig's own drive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from streamvis.source.synth import scenery
from streamvis.source.synth.camera import RigPose
from streamvis.source.synth.mesh import Mesh, Surface, merge
from streamvis.source.synth.person import random_person
from streamvis.source.synth.scenery import (
    CORNER_M, CYCLE_M, HOUSE_Y, KERB_Y, KERB_Z, LANE_M, PARKING_M, SIDE_HALF_M, ZEBRA_M, Materials,
)  # fmt: skip
from streamvis.source.synth.traffic import Actor, Body, Driver, Path, Rider, Speed, Walker
from streamvis.source.synth.vehicle import PAINTS, Vehicle, random_vehicle

BEHIND_M, AHEAD_M = 110.0, 210.0  # street beyond the two ends of the drive
PARKING_Y = LANE_M + CYCLE_M + PARKING_M / 2 - 0.05
CYCLE_Y = LANE_M + CYCLE_M / 2
LANE_Y = LANE_M / 2
CARS = ("saloon", "hatch", "suv", "van")
CAR_WEIGHTS = (4.0, 4.0, 3.0, 1.2)
MOVING = (*CARS, "bus", "truck")
MOVING_WEIGHTS = (*CAR_WEIGHTS, 0.9, 1.3)


@dataclass(frozen=True)
class Drive:
    """The rig's way: along the right lane with a slight sway."""

    speed: Speed
    sway_m: float
    sway_phase: float

    def pose(self, t: float) -> RigPose:
        x = self.speed.distance(t)
        turns = 2 * np.pi * x / 55 + self.sway_phase
        slope = self.sway_m * 2 * np.pi / 55 * np.cos(turns)
        return RigPose(x, -LANE_Y + self.sway_m * np.sin(turns), float(np.arctan(slope)))


def random_drive(rng: np.random.Generator, duration_s: float) -> Drive:
    slow, fast = rng.uniform(2.5, 4.5), rng.uniform(7.5, 10.5)
    habits = ((slow, fast, fast), (fast, fast, slow), (fast, slow + 2, fast), (fast, fast, fast))
    speeds = tuple(float(v) for v in habits[rng.integers(len(habits))])
    times = (0.0, 0.45 * duration_s, 0.9 * duration_s)
    return Drive(Speed(times, speeds), float(rng.uniform(0.1, 0.3)), float(rng.uniform(0, 6.28)))


@dataclass(frozen=True)
class Town:
    drive: Drive
    ground: Mesh  # receives shadows but casts none
    scenery: Mesh  # unlabelled, standing
    fixtures: tuple[Body, ...]  # labelled, standing: parked vehicles, signals, signs
    actors: tuple[Actor, ...]
    reach: tuple[float, float]  # x of the street's two ends


class Builder:
    """Lays out one town; each method adds one kind of thing."""

    def __init__(self, rng: np.random.Generator, materials: Materials, duration_s: float) -> None:
        self.rng, self.materials, self.duration_s = rng, materials, duration_s
        self.drive = random_drive(rng, duration_s)
        self.length_m = self.drive.speed.distance(duration_s)
        self.low, self.high = -BEHIND_M, self.length_m + AHEAD_M
        first, apart = rng.uniform(26, 40), rng.uniform(72, 92)
        count = int((self.high - 30 - first) / apart) + 1
        self.junctions = [first - apart, *(first + k * apart for k in range(count))]
        self.density = float(rng.uniform(0.6, 1.0))
        self.ground: list[Mesh] = [scenery.earth(self.low, self.high)]
        self.solid: list[Mesh] = []
        self.fixtures: list[Body] = []
        self.actors: list[Actor] = []
        self._next_id = 1

    def build(self) -> Town:
        for x0, x1 in self.blocks():
            self.block(x0, x1)
        for x in self.junctions:
            self.junction(x)
        self.closing_houses()
        self.own_lane()
        self.oncoming()
        self.riders()
        self.walkers()
        return Town(
            self.drive, merge(self.ground), merge(self.solid), tuple(self.fixtures),
            tuple(self.actors), (self.low, self.high),
        )  # fmt: skip

    def blocks(self) -> Iterator[tuple[float, float]]:
        """Stretches of street between the corners of junctions."""
        edges = [self.low, *(x + s * CORNER_M for x in self.junctions for s in (-1, 1)), self.high]
        return zip(edges[::2], edges[1::2], strict=True)

    def new_id(self, count: int = 1) -> int:
        self._next_id += count
        return self._next_id - count

    def block(self, x0: float, x1: float) -> None:
        self.ground.append(scenery.zebra(x0))
        self.ground.append(scenery.zebra(x1 - ZEBRA_M))
        self.ground.append(scenery.carriageway(x0 + ZEBRA_M, x1 - ZEBRA_M))
        for side in (-1, 1):
            self.ground.append(scenery.sidewalk(x0, x1, side))
            row = scenery.terrace(self.rng, self.materials, x1 - x0)
            self.solid.append(
                row.placed(x0, HOUSE_Y) if side > 0 else row.placed(x1, -HOUSE_Y, np.pi)
            )
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
                turn = float(rng.uniform(0, 6.28))
                self.solid.append(scenery.tree(rng).scaled(size).placed(x, y, turn, KERB_Z))
            if rng.random() < 0.3:
                self.solid.append(scenery.bin_().placed(x + 2.1, y, 0, KERB_Z))
        for x in slots[:-1] + np.diff(slots) / 2:
            if rng.random() < 0.28:
                kind = ("speed", "parking", "no_entry", "crossing")[rng.integers(4)]
                self.sign(kind, float(x), y, 0.0 if side < 0 else np.pi)

    def sign(self, kind: str, x: float, y: float, yaw: float) -> None:
        height = 2.45
        self.solid.append(scenery.pole(height + 0.3).placed(x, y, 0, KERB_Z))
        plate = scenery.sign_plate(kind).placed(-0.07, 0)
        self.fixture("traffic_sign", plate, x, y, yaw, KERB_Z + height)

    def fixture(self, category: str, mesh: Mesh, x: float, y: float, yaw: float, z: float) -> None:
        """A standing object whose own frame has its origin in its middle."""
        track_id = self.new_id()
        body = mesh.placed(x, y, yaw, z).owned_by(track_id)
        self.fixtures.append(Body(track_id, category, body, (x, y, z), np.zeros((0, 2))))

    def parked(self, x0: float, x1: float, side: int) -> None:
        rng, x = self.rng, x0
        while True:
            vehicle = random_vehicle(rng, CARS, CAR_WEIGHTS)
            x += vehicle.length + rng.uniform(0.7, 1.6)
            if x > x1:
                return
            if rng.random() > 0.8 * self.density:
                continue
            at = Path(
                x - vehicle.length / 2,
                side * PARKING_Y,
                0.0 if side < 0 else np.pi,
                Speed.constant(0),
            )
            self.fixtures += Driver(self.new_id(), vehicle, at).bodies(0.0)

    def junction(self, x: float) -> None:
        rng = self.rng
        self.ground.append(scenery.junction(x))
        for side in (-1, 1):
            for edge, turn in ((x - CORNER_M, -np.pi / 2), (x + CORNER_M, np.pi / 2)):
                row = scenery.terrace(rng, self.materials, 60.0)
                # Fronts look into the side street; the corner itself belongs to the main street.
                start = side * (HOUSE_Y + 12)
                away = start if side * turn > 0 else start + side * 60
                self.solid.append(row.placed(edge, away, float(turn) if turn > 0 else float(turn)))
        for toward in (-1, 1):  # -1: for traffic that drives along +x
            yaw = 0.0 if toward < 0 else np.pi
            stop = x + toward * (CORNER_M - 0.6)
            for y in (toward * (KERB_Y + 0.5), -toward * (KERB_Y + 0.5)):
                self.signal("green", stop, y, yaw)
            cross_yaw = np.pi / 2 if toward < 0 else -np.pi / 2
            self.signal("red", x - toward * (SIDE_HALF_M + 0.6), toward * (KERB_Y + 1.2), cross_yaw)
            self.waiting(x - toward * SIDE_HALF_M / 2, toward, float(cross_yaw))

    def signal(self, lamp: str, x: float, y: float, yaw: float) -> None:
        self.solid.append(scenery.pole(3.3).placed(x, y, 0, KERB_Z))
        head = scenery.signal_head(lamp).placed(-0.2, 0)
        self.fixture("traffic_light", head, x, y, yaw, KERB_Z + 2.85)

    def waiting(self, x: float, side: int, yaw: float) -> None:
        """Cross traffic held by its red light."""
        y = side * (HOUSE_Y + 0.3)
        for _ in range(self.rng.integers(0, 3)):
            vehicle = random_vehicle(self.rng, MOVING[:4], MOVING_WEIGHTS[:4])
            y += side * vehicle.length / 2
            self.fixtures += Driver(
                self.new_id(), vehicle, Path(x, y, yaw, Speed.constant(0))
            ).bodies(0.0)
            y += side * (vehicle.length / 2 + 1.6)

    def closing_houses(self) -> None:
        """The view ends at the fronts of a street across."""
        for x, turn in ((self.low - 20, np.pi / 2), (self.high + 20, -np.pi / 2)):
            row = scenery.terrace(self.rng, self.materials, 120.0)
            self.solid.append(row.placed(x, -60 if turn > 0 else 60, float(turn)))
            self.ground.append(scenery.floor(min(x, x - 20 * np.sign(x)), max(x, x - 20 * np.sign(x)), -60, 60, 0.0,
                                             Surface((1, 1, 1), scenery.TARMAC)))  # fmt: skip

    def add_driver(self, vehicle: Vehicle, x: float, y: float, yaw: float, speed: Speed) -> None:
        self.actors.append(Driver(self.new_id(), vehicle, Path(x, y, yaw, speed)))

    def own_lane(self) -> None:
        """Vehicles before and behind the rig keep its speed."""
        x = 0.0
        for _ in range(3):
            vehicle = random_vehicle(self.rng, MOVING, MOVING_WEIGHTS)
            x += self.rng.uniform(13, 22) + vehicle.length
            self.add_driver(vehicle, x, -LANE_Y, 0.0, self.drive.speed)
        x = 0.0
        for _ in range(2):
            vehicle = random_vehicle(self.rng, MOVING, MOVING_WEIGHTS)
            x -= self.rng.uniform(9, 16) + vehicle.length
            self.add_driver(vehicle, x, -LANE_Y, 0.0, self.drive.speed)

    def oncoming(self) -> None:
        speed = Speed.constant(float(self.rng.uniform(6.5, 9.5)))
        x = -30.0
        while x < self.high + speed.distance(self.duration_s):
            vehicle = random_vehicle(self.rng, MOVING, MOVING_WEIGHTS)
            x += vehicle.length + self.rng.uniform(7, 30) / self.density
            self.add_driver(vehicle, x, LANE_Y, np.pi, speed)

    def riders(self) -> None:
        for x in np.arange(6.0, self.high - 20, 26.0) + self.rng.uniform(-5, 8):
            self.rider("bicycle", float(x), -CYCLE_Y, 0.0, self.rng.uniform(3.8, 5.5))
        for x in np.arange(8.0, self.high, 38.0) + self.rng.uniform(-4, 8):
            self.rider("bicycle", float(x), CYCLE_Y, np.pi, self.rng.uniform(3.8, 5.5))
        self.rider("motorcycle", float(self.rng.uniform(-30, -18)), -CYCLE_Y, 0.0, 9.0)
        self.rider("motorcycle", float(self.rng.uniform(50, 90)), CYCLE_Y, np.pi, 8.0)

    def rider(self, category: str, x: float, y: float, yaw: float, speed: float) -> None:
        paint = Surface(PAINTS[self.rng.integers(len(PAINTS))], gloss=0.3)
        path = Path(x, y, yaw, Speed.constant(float(speed)))
        self.actors.append(Rider(self.new_id(2), category, random_person(self.rng), paint, path))

    def walkers(self) -> None:
        rng = self.rng
        spacing = 5.2 / self.density
        for side in (-1, 1):
            for x in np.arange(self.low + 40, self.high - 60, spacing):
                y = side * rng.uniform(KERB_Y + 1.5, HOUSE_Y - 0.6)
                yaw = float(rng.choice([0.0, np.pi]))
                self.walker(float(x + rng.uniform(-2, 2)), y, yaw, rng.uniform(0.9, 1.7), KERB_Z)
        last_car_ahead = self.length_m + 95
        for x in (j - CORNER_M - ZEBRA_M / 2 for j in self.junctions):
            if x > last_car_ahead:
                for side in (-1, 1):
                    self.walker(
                        float(x + rng.uniform(-1, 1)), side * 5.0, -side * np.pi / 2, 1.2, 0.0
                    )

    def walker(self, x: float, y: float, yaw: float, speed: float, z: float) -> None:
        path = Path(x, y, yaw, Speed.constant(float(speed)))
        self.actors.append(Walker(self.new_id(), random_person(self.rng), path, z))
