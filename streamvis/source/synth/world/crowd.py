"""Who moves through one town: the rig, traffic, cyclists, people."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from streamvis.source.synth.model.mesh import Surface
from streamvis.source.synth.model.person import random_person
from streamvis.source.synth.model.vehicle import PAINTS, Vehicle, random_traffic
from streamvis.source.synth.world.actors import Actor, Car, Rider, Walker
from streamvis.source.synth.world.driving import SETTLE_S, Driver, drive, stop_lines
from streamvis.source.synth.world.layout import (
    CROSS_LENGTH_M,
    CYCLE_Y,
    HOUSE_Y,
    KERB_Y,
    LANE_Y,
    ZEBRA_FROM_M,
    ZEBRA_TO_M,
    Plan,
)
from streamvis.source.synth.world.route import Motion, Route
from streamvis.source.synth.world.signals import Signals

RIG_LENGTH_M, RIG_WIDTH_M = 9.0, 1.85  # as long as the distance it keeps makes it


class Crowd:
    """Gathers one town's actors; each method adds one kind."""

    def __init__(
        self, rng: np.random.Generator, plan: Plan, signals: Signals, ids: Iterator[int],
        duration_s: float, *, has_lights: bool, has_rig: bool,
    ) -> None:  # fmt: skip
        self.rng, self.plan, self.signals, self.ids = rng, plan, signals, ids
        self.duration_s, self.has_lights, self.has_rig = duration_s, has_lights, has_rig
        self.walkers: list[Actor] = []
        self._drivers: list[Driver] = []
        self._rolling: list[Vehicle | str] = []  # a vehicle, or what a rider sits on

    def gather(self) -> tuple[tuple[Actor, ...], Motion | None]:
        """(everyone else, the rig's own way)."""
        rig = self._rig_driver() if self.has_rig else None
        for route in self._main_lanes():
            self._fill(route, 6.0, 11.5)
        for route in self._cross_lanes():
            self._fill(route, 7.0, 9.5, sparse=2.2)
        self._cyclists()
        everyone = [*self._drivers, *([rig] if rig else [])]
        if rig:
            keep = [self._has_room(d, rig) for d in self._drivers]
            self._rolling = [v for v, k in zip(self._rolling, keep, strict=True) if k]
            everyone = [d for d, k in zip(self._drivers, keep, strict=True) if k] + [rig]
        motions = drive(everyone, self.signals, self.duration_s)
        actors = [self._actor(v, m) for v, m in zip(self._rolling, motions, strict=False)]
        self._pavements()
        for x in self._near_junctions():
            self._crossings(x)
        return (*actors, *self.walkers), (motions[-1] if rig else None)

    def _actor(self, rolling: Vehicle | str, motion: Motion) -> Actor:
        if isinstance(rolling, Vehicle):
            return Car(next(self.ids), rolling, motion, has_lights=self.has_lights)
        paint = Surface(PAINTS[self.rng.integers(len(PAINTS))], gloss=0.3)
        track_id, _ = next(self.ids), next(self.ids)
        return Rider(track_id, rolling, random_person(self.rng, rides=True), paint, motion)

    def _rig_driver(self) -> Driver:
        plan, y = self.plan, -LANE_Y
        gate = plan.junctions[plan.gate]
        if plan.turn == "straight":
            route = Route.through([(plan.low, y), (plan.high, y)])
        else:
            side = 1 if plan.turn == "left" else -1
            lane = gate + LANE_Y if side > 0 else gate - LANE_Y
            radius = 10.0 if side > 0 else 6.5
            route = Route.through(
                [(plan.low, y), (lane, y), (lane, side * (CROSS_LENGTH_M - 8))], radius
            )
        start = gate - 64.0 - plan.low
        return Driver(
            route,
            start,
            float(self.rng.uniform(8.0, 10.5)),
            RIG_LENGTH_M,
            RIG_WIDTH_M,
            stop_lines(route, plan.junctions),
        )

    @staticmethod
    def _has_room(driver: Driver, rig: Driver) -> bool:
        x, y, _ = driver.route.at(driver.start_m)
        rx, ry, _ = rig.route.at(rig.start_m)
        return bool(abs(y - ry) > 1.8 or abs(x - rx) > 0.5 * (driver.length + rig.length) + 5)

    def _main_lanes(self) -> list[Route]:
        low, high = self.plan.low, self.plan.high
        return [
            Route.through([(low, -LANE_Y), (high, -LANE_Y)]),
            Route.through([(high, LANE_Y), (low, LANE_Y)]),
        ]

    def _cross_lanes(self) -> list[Route]:
        far, routes = CROSS_LENGTH_M - 6, []
        for x in self.plan.junctions:
            routes.append(Route.through([(x + LANE_Y, -far), (x + LANE_Y, far)]))
            routes.append(Route.through([(x - LANE_Y, far), (x - LANE_Y, -far)]))
        return routes

    def _fill(self, route: Route, slow: float, fast: float, sparse: float = 1.0) -> None:
        """Vehicles along a lane; faster ones do not overtake, so all wish for about the same."""
        rng, gone = self.rng, 2.0
        wish = float(rng.uniform(slow + 1.5, fast - 0.5))
        while gone < route.length_m - 4:
            vehicle = random_traffic(rng)
            gone += vehicle.length / 2 + float(rng.uniform(6, 34)) * sparse / self.plan.density
            x, y, _ = route.at(gone)
            if min(abs(x - j) + (0 if abs(y) < HOUSE_Y else 99) for j in self.plan.junctions) < 12:
                gone += 14
                continue
            speed = wish * float(rng.uniform(0.92, 1.08))
            self._add(vehicle, route, gone, speed, vehicle.length, vehicle.width)
            gone += vehicle.length / 2

    def _add(
        self,
        rolling: Vehicle | str,
        route: Route,
        start: float,
        speed: float,
        length: float,
        width: float,
    ) -> None:
        lines = stop_lines(route, self.plan.junctions)
        self._drivers.append(Driver(route, start, speed, length, width, lines))
        self._rolling.append(rolling)

    def _cyclists(self) -> None:
        low, high, rng = self.plan.low, self.plan.high, self.rng
        for route in (
            Route.through([(low, -CYCLE_Y), (high, -CYCLE_Y)]),
            Route.through([(high, CYCLE_Y), (low, CYCLE_Y)]),
        ):
            gone = float(rng.uniform(5, 30))
            while gone < route.length_m:
                kind = "motorcycle" if rng.random() < 0.25 else "bicycle"
                self._add(kind, route, gone, float(rng.uniform(3.8, 5.6)), 1.8, 0.5)
                gone += float(rng.uniform(12, 44)) / self.plan.density

    def _near_junctions(self) -> list[float]:
        gate = self.plan.gate
        return list(self.plan.junctions[max(0, gate - 1) : gate + 3])

    def _pavements(self) -> None:
        rng, plan = self.rng, self.plan
        for x0, x1 in plan.blocks:
            for side in (-1, 1):
                for x in np.arange(x0, x1, 6.5 / plan.density):
                    self._walk_along(
                        x + rng.uniform(-2, 2), side * rng.uniform(KERB_Y + 1.5, HOUSE_Y - 0.6), 0.0
                    )
        for junction in self._near_junctions():
            for side in (-1, 1):
                for y in np.arange(HOUSE_Y + 3, 60, 11 / plan.density):
                    for sign in (-1, 1):
                        x = junction + side * rng.uniform(KERB_Y + 1.5, HOUSE_Y - 0.6)
                        self._walk_along(x, sign * y, np.pi / 2)

    def _walk_along(self, x: float, y: float, yaw: float) -> None:
        """To and fro on one block is not needed: nobody is watched for that long."""
        rng = self.rng
        heading = yaw + float(rng.choice([0.0, np.pi]))
        ahead = (x + 30 * np.cos(heading), y + 30 * np.sin(heading))
        speed = float(rng.uniform(0.9, 1.7)) if rng.random() < 0.86 else 0.0
        motion = Motion.steady(Route.through([(x, y), ahead]), 0.0, speed)
        self.walkers.append(Walker(next(self.ids), random_person(rng), motion))

    def _crossings(self, x: float) -> None:
        """People who wait at the kerbs of a junction and cross when it is their turn."""
        rng = self.rng
        for quarter in range(4):
            for _ in range(int(rng.integers(2, 6))):
                self._cross(x, quarter * np.pi / 2, float(rng.choice([-1, 1])))

    def _cross(self, x: float, arm: float, side: float) -> None:
        rng = self.rng
        at = float(rng.uniform(ZEBRA_FROM_M + 0.4, ZEBRA_TO_M - 0.4))
        kerb = KERB_Y + float(rng.uniform(0.35, 0.9))
        local = [(at, side * (HOUSE_Y + 6)), (at, -side * (HOUSE_Y + 6))]
        cos, sin = np.cos(arm), np.sin(arm)
        route = Route.through([(x + cos * u - sin * v, sin * u + cos * v) for u, v in local])
        to_kerb, over = HOUSE_Y + 6 - kerb, 2 * kerb
        speed = float(rng.uniform(1.1, 1.6))
        first = self.signals.next_green("people", -SETTLE_S)
        cycles = int((self.duration_s + SETTLE_S) / self.signals.cycle_s) + 2
        start = (
            first
            + float(rng.integers(cycles)) * self.signals.cycle_s
            + float(rng.uniform(0.2, 3.0))
        )
        arrives = start - float(rng.uniform(1.0, 14.0))
        times = np.array(
            [
                arrives - to_kerb / speed - 1e-3,
                arrives,
                start,
                start + over / speed,
                start + (over + to_kerb) / speed,
            ]
        )
        gone = np.array([0.0, to_kerb, to_kerb, to_kerb + over, 2 * to_kerb + over])
        on_road = (to_kerb + kerb - KERB_Y, to_kerb + kerb + KERB_Y)
        self.walkers.append(
            Walker(next(self.ids), random_person(rng), Motion(route, times, gone), on_road)
        )
