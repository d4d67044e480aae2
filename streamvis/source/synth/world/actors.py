"""What moves, and what it looks like at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from streamvis.source.synth.light import Lamp as Light
from streamvis.source.synth.light import Triple
from streamvis.source.synth.model import person as people
from streamvis.source.synth.model.mesh import Mesh, Surface
from streamvis.source.synth.model.person import Person
from streamvis.source.synth.model.vehicle import Lamp, Vehicle
from streamvis.source.synth.render.things import Thing, placement
from streamvis.source.synth.world.layout import KERB_Z
from streamvis.source.synth.world.route import Motion, Route

BLINK_S = 0.7


@dataclass(frozen=True)
class Body:
    """One labelled object at one instant."""

    track_id: int
    category: str
    centre: Triple  # world, m
    velocity: Triple  # m/s
    yaw: float
    spin: float  # rad/s


class Actor(Protocol):
    motion: Motion

    def bodies(self, t: float) -> list[Body]: ...

    def things(self, t: float) -> list[Thing]: ...

    def lights(self, t: float) -> list[Light]: ...


def _spin(motion: Motion, t: float) -> float:
    return (motion.at(t + 0.05)[2] - motion.at(t - 0.05)[2]) / 0.1


@dataclass
class Car:
    """A motor vehicle; parked ones stand still with their lamps off."""

    track_id: int
    vehicle: Vehicle
    motion: Motion
    is_parked: bool = False
    has_lights: bool = False

    def bodies(self, t: float) -> list[Body]:
        x, y, yaw = self.motion.at(t)
        centre = (x, y, self.vehicle.height / 2)
        velocity = self.motion.velocity(t)
        return [
            Body(self.track_id, self.vehicle.category, centre, velocity, yaw, _spin(self.motion, t))
        ]

    def things(self, t: float) -> list[Thing]:
        at, gone = self.motion.at(t), self.motion.gone(t)
        return self.vehicle.things(
            self.track_id, at, self.motion.velocity(t), gone, int(self._lamps(t))
        )

    def lights(self, t: float) -> list[Light]:
        if not self.has_lights or self.is_parked:
            return []
        x, y, yaw = self.motion.at(t)
        place = placement(x, y, yaw)
        nose, tail = self.vehicle.length / 2, -self.vehicle.length / 2
        beam = place @ (nose + 0.1, 0.0, 0.75, 1.0)
        glow = place @ (tail - 0.6, 0.0, 0.8, 1.0)
        ahead = place[:, :3] @ (1.0, 0.0, -0.10)
        return [
            Light(_triple(beam), 34.0, (5.0, 4.7, 4.0), _triple(ahead), 0.86),
            Light(_triple(glow), 4.5, (0.9, 0.03, 0.02)),
        ]

    def _lamps(self, t: float) -> Lamp:
        lamps = Lamp(0)
        if self.is_parked:
            return lamps
        if self.has_lights:
            lamps |= Lamp.LOW_BEAM
        if self.motion.is_braking(t):
            lamps |= Lamp.BRAKE
        bend = self.motion.route.turn_at(self.motion.gone(t) + 8.0)
        if abs(bend) > 0.03 and (t + 0.37 * self.track_id) % BLINK_S < BLINK_S / 2:
            lamps |= Lamp.LEFT if bend > 0 else Lamp.RIGHT
        return lamps


@dataclass
class Walker:
    track_id: int
    person: Person
    motion: Motion
    road: tuple[float, float] = (1e9, 1e9)  # metres of the way between which it is on the road

    def bodies(self, t: float) -> list[Body]:
        x, y, yaw = self.motion.at(t)
        middle = (x, y, self._z(t) + self.person.height / 2)
        return [Body(self.track_id, "person", middle, self.motion.velocity(t), yaw, 0.0)]

    def things(self, t: float) -> list[Thing]:
        x, y, yaw = self.motion.at(t)
        mesh = (
            self.person.walking(self.motion.gone(t))
            if self.motion.speed(t) > 0.05
            else self._stands
        )
        return [
            Thing(
                mesh,
                placement(x, y, yaw, self._z(t)),
                self.track_id,
                velocity=self.motion.velocity(t),
            )
        ]

    def lights(self, t: float) -> list[Light]:  # noqa: ARG002
        return []

    @cached_property
    def _stands(self) -> Mesh:
        return self.person.standing()

    def _z(self, t: float) -> float:
        return 0.0 if self.road[0] < self.motion.gone(t) < self.road[1] else KERB_Z


@dataclass
class Rider:
    """Two objects: the machine has `track_id`, the person on it the next one."""

    track_id: int
    category: str  # bicycle or motorcycle
    person: Person
    paint: Surface
    motion: Motion

    def bodies(self, t: float) -> list[Body]:
        x, y, yaw = self.motion.at(t)
        velocity, spin = self.motion.velocity(t), _spin(self.motion, t)
        return [
            Body(self.track_id, self.category, (x, y, 0.5), velocity, yaw, spin),
            Body(self.track_id + 1, "person", (x, y, 1.1), velocity, yaw, spin),
        ]

    def things(self, t: float) -> list[Thing]:
        at, gone, velocity = (
            placement(*self.motion.at(t)),
            self.motion.gone(t),
            self.motion.velocity(t),
        )
        if self.category == "bicycle":
            machine, pedalled = people.bicycle(gone, self.paint), gone / 0.9
        else:
            machine, pedalled = self._machine, 0.0
        rider = self.person.riding(pedalled)
        return [
            Thing(machine, at, self.track_id, velocity=velocity),
            Thing(rider, at, self.track_id + 1, velocity=velocity),
        ]

    def lights(self, t: float) -> list[Light]:  # noqa: ARG002
        return []

    @cached_property
    def _machine(self) -> Mesh:
        return people.motorcycle(self.paint)


def standing(x: float, y: float, yaw: float) -> Motion:
    """A motion that goes nowhere."""
    route = Route.through([(x, y), (x + np.cos(yaw), y + np.sin(yaw))])
    return Motion.steady(route, 0.0, 0.0)


def _triple(values: object) -> Triple:
    x, y, z = (float(v) for v in values)  # type: ignore[attr-defined]
    return x, y, z
