"""Who moves on one street: traffic in both directions, cyclists, people, side traffic."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from streamvis.source.synth.mesh import Surface
from streamvis.source.synth.person import random_person
from streamvis.source.synth.plan import CYCLE_Y, LANE_Y, Plan
from streamvis.source.synth.scenery import CORNER_M, HOUSE_Y, KERB_Y, KERB_Z, SIDE_HALF_M, ZEBRA_M
from streamvis.source.synth.traffic import STANDING, Actor, Driver, Path, Rider, Speed, Walker
from streamvis.source.synth.vehicle import PAINTS, Vehicle, random_car, random_traffic


class Crowd:
    """Gathers one street's actors; each method adds one kind."""

    def __init__(self, rng: np.random.Generator, plan: Plan, ids: Iterator[int]) -> None:
        self.rng, self.plan, self.ids = rng, plan, ids
        self.actors: list[Actor] = []

    def gather(self) -> tuple[Actor, ...]:
        self.own_lane()
        self.oncoming()
        self.cyclists()
        self.motorcyclists()
        self.side_traffic()
        self.pavements()
        if self.plan.must_stop:
            self.people_on_the_zebra()
        return tuple(self.actors)

    def own_lane(self) -> None:
        """Vehicles ahead and behind keep the rig's speed; beyond a red gate they drive on."""
        rng, own = self.rng, self.plan.drive.speed
        ahead, speed = (self.plan.gate, Speed.constant(8.0)) if self.plan.must_stop else (0.0, own)
        for _ in range(3):
            vehicle = random_traffic(rng)
            ahead += rng.uniform(13, 22) + vehicle.length
            self.drive(vehicle, ahead, -LANE_Y, 0.0, speed)
        behind = 0.0
        for _ in range(2):
            vehicle = random_traffic(rng)
            behind -= rng.uniform(9, 16) + vehicle.length
            self.drive(vehicle, behind, -LANE_Y, 0.0, own)

    def oncoming(self) -> None:
        rng, plan = self.rng, self.plan
        speed = Speed.constant(float(rng.uniform(6.5, 9.5)))
        end = plan.high + (0.0 if plan.must_stop else speed.distance(plan.duration_s))
        stop_line = plan.gate + CORNER_M + ZEBRA_M + 0.8
        x, is_queueing = -30.0, False
        while x < end:
            vehicle = random_traffic(rng)
            x += vehicle.length + (1.8 if is_queueing else rng.uniform(7, 30) / plan.density)
            if plan.must_stop and not is_queueing and x > plan.gate - CORNER_M:
                x, is_queueing = stop_line + vehicle.length, True
            middle = x - vehicle.length / 2
            self.drive(vehicle, middle, LANE_Y, np.pi, STANDING if is_queueing else speed)

    def cyclists(self) -> None:
        rng, plan = self.rng, self.plan
        before = float(rng.uniform(1, 9))
        if plan.must_stop:  # rides along and stops at the line, ahead of the rig
            self.ride("bicycle", 2.6, -CYCLE_Y, 0.0, plan.drive.speed)
            before = plan.gate + CORNER_M
        for x in np.arange(before, plan.high - 20, 26.0):
            self.ride("bicycle", x, -CYCLE_Y, 0.0, Speed.constant(float(rng.uniform(3.8, 5.5))))
        last = plan.gate - CORNER_M if plan.must_stop else plan.high
        for x in np.arange(rng.uniform(4, 16), last, 38.0):
            self.ride("bicycle", x, CYCLE_Y, np.pi, Speed.constant(float(rng.uniform(3.8, 5.5))))

    def motorcyclists(self) -> None:
        """One follows in the cycle lane, one comes the other way."""
        self.ride("motorcycle", self.rng.uniform(-24, -12), -CYCLE_Y, 0.0, self.plan.drive.speed)
        ahead = self.plan.gate + (60 if self.plan.must_stop else 20)
        self.ride("motorcycle", ahead, CYCLE_Y, np.pi, Speed.constant(7.0))

    def side_traffic(self) -> None:
        """Waits at its red light; where the rig must stop, it sets off one after another."""
        for junction in self.plan.junctions:
            goes = self.plan.must_stop and junction == self.plan.gate
            for side in (-1, 1):
                x, y = junction + side * SIDE_HALF_M / 2, side * (HOUSE_Y + 0.3)
                for k in range(self.rng.integers(1 if goes else 0, 3)):
                    vehicle = random_car(self.rng)
                    start = (0.25 + 0.12 * k) * self.plan.duration_s
                    speed = Speed((start, start + 3.0), (0.0, 7.5)) if goes else STANDING
                    y += side * vehicle.length / 2
                    self.drive(vehicle, x, y, -side * np.pi / 2, speed)
                    y += side * (vehicle.length / 2 + 1.8)

    def pavements(self) -> None:
        rng, plan = self.rng, self.plan
        for side in (-1, 1):
            for x in np.arange(plan.low + 40, plan.high - 60, 5.2 / plan.density):
                y = side * rng.uniform(KERB_Y + 1.5, HOUSE_Y - 0.6)
                yaw, speed = float(rng.choice([0.0, np.pi])), float(rng.uniform(0.9, 1.7))
                if not (plan.must_stop and abs(x - plan.gate) < CORNER_M + 8):
                    self.walk(x + rng.uniform(-2, 2), y, yaw, speed, KERB_Z)

    def people_on_the_zebra(self) -> None:
        """They cross before the rig while it stands; two wait for their turn at the kerb."""
        rng = self.rng
        middle = self.plan.gate - CORNER_M - ZEBRA_M / 2
        halted = 0.5 * self.plan.duration_s
        for k in range(6):
            side = 1 if k % 2 else -1
            x, speed = middle + rng.uniform(-1.5, 1.5), float(rng.uniform(1.0, 1.5))
            # In the lane's middle somewhere around the moment the rig has come to a stand.
            reach = side * speed * (halted + rng.uniform(-0.1, 0.5) * self.plan.duration_s)
            self.walk(x, -LANE_Y + reach, -side * np.pi / 2, speed, 0.0)
        for side in (-1, 1):
            x = middle + float(rng.uniform(-1.2, 1.2))
            self.walk(x, side * (KERB_Y + 0.6), -side * np.pi / 2, 0.0, KERB_Z)

    def drive(self, vehicle: Vehicle, x: float, y: float, yaw: float, speed: Speed) -> None:
        self.actors.append(Driver(next(self.ids), vehicle, Path(float(x), float(y), yaw, speed)))

    def ride(self, category: str, x: float, y: float, yaw: float, speed: Speed) -> None:
        """The machine takes one id, the person on it the next."""
        paint = Surface(PAINTS[self.rng.integers(len(PAINTS))], gloss=0.3)
        track_id, _ = next(self.ids), next(self.ids)
        path = Path(float(x), y, yaw, speed)
        self.actors.append(Rider(track_id, category, random_person(self.rng), paint, path))

    def walk(self, x: float, y: float, yaw: float, speed: float, z: float) -> None:
        path = Path(float(x), float(y), yaw, Speed.constant(speed))
        self.actors.append(Walker(next(self.ids), random_person(self.rng), path, z))
