"""What moves: straight paths with a speed profile, and the actors that follow them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth import person as people
from streamvis.source.synth.mesh import Mesh, Surface, merge
from streamvis.source.synth.person import Person
from streamvis.source.synth.vehicle import Vehicle


@dataclass(frozen=True)
class Speed:
    """Speed over time, straight between knots and constant outside them."""

    times_s: tuple[float, ...]
    speeds: tuple[float, ...]  # m/s

    @staticmethod
    def constant(speed: float) -> Speed:
        return Speed((0.0,), (speed,))

    def at(self, t: float) -> float:
        return float(np.interp(t, self.times_s, self.speeds))

    def is_braking(self, t: float) -> bool:
        return self.at(t + 0.1) < self.at(t) - 0.03

    def distance(self, t: float) -> float:
        """Metres since time 0 (negative before it): the exact integral."""
        inner = [k for k in self.times_s if min(0.0, t) < k < max(0.0, t)]
        knots = np.array(sorted([0.0, *inner, t]))
        area = np.trapezoid([self.at(k) for k in knots], knots)
        return float(area if t >= 0 else -area)


STANDING = Speed.constant(0.0)


@dataclass(frozen=True)
class Path:
    """A straight way over the ground."""

    x: float  # m, at time 0
    y: float
    yaw: float  # rad
    speed: Speed

    def at(self, t: float) -> tuple[float, float, float]:
        """(x, y, metres travelled)."""
        gone = self.speed.distance(t)
        x, y = self.x + np.cos(self.yaw) * gone, self.y + np.sin(self.yaw) * gone
        return float(x), float(y), gone


@dataclass(frozen=True)
class Body:
    """One labelled object at one instant."""

    track_id: int
    category: str
    mesh: Mesh
    centre: tuple[float, float, float]  # world, m
    outline: NDArray[np.float64]  # [N, 2] what it covers of the ground, world m


class Actor(Protocol):
    @property
    def path(self) -> Path: ...

    def bodies(self, t: float) -> list[Body]: ...


def _body(
    track_id: int, category: str, mesh: Mesh, place: tuple[float, float, float], height: float,
    outline: NDArray[np.float64], z: float = 0.0,
) -> Body:  # fmt: skip
    x, y, yaw = place
    turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
    return Body(
        track_id, category, mesh.placed(x, y, yaw, z).owned_by(track_id),
        (x, y, z + height / 2), outline @ turn + (x, y),
    )  # fmt: skip


def _patch(length: float, width: float) -> NDArray[np.float64]:
    return np.array([(length, width), (-length, width), (-length, -width), (length, -width)]) / 2


@dataclass(frozen=True)
class Driver:
    track_id: int
    vehicle: Vehicle
    path: Path

    def bodies(self, t: float) -> list[Body]:
        x, y, gone = self.path.at(t)
        mesh = self.vehicle.mesh(gone, self.path.speed.is_braking(t))
        v = self.vehicle
        return [_body(self.track_id, v.category, mesh, (x, y, self.path.yaw), v.height, v.outline)]


@dataclass(frozen=True)
class Walker:
    track_id: int
    person: Person
    path: Path
    z: float  # pavement or road

    def bodies(self, t: float) -> list[Body]:
        x, y, gone = self.path.at(t)
        mesh = self.person.walking(gone)
        place = (x, y, self.path.yaw)
        return [
            _body(
                self.track_id, "person", mesh, place, self.person.height, _patch(0.4, 0.4), self.z
            )
        ]


@dataclass(frozen=True)
class Rider:
    """Two objects: the machine has `track_id`, the person on it the next one."""

    track_id: int
    category: str  # bicycle or motorcycle
    person: Person
    paint: Surface
    path: Path

    def bodies(self, t: float) -> list[Body]:
        x, y, gone = self.path.at(t)
        place = (x, y, self.path.yaw)
        if self.category == "bicycle":
            machine, pedalled = people.bicycle(gone, self.paint), gone / 0.9
        else:
            machine, pedalled = people.motorcycle(self.paint), 0.0
        under = _patch(1.6, 0.3)
        return [
            _body(self.track_id, self.category, machine, place, 1.0, under),
            _body(self.track_id + 1, "person", self.person.riding(pedalled), place, 2.2, under),
        ]


def meshes(bodies: list[Body]) -> Mesh:
    return merge([b.mesh for b in bodies])
