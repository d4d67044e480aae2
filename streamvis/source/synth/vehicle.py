"""Motor vehicles: lofted bodies, glass, wheels that roll, lamps.

Own frame: x ahead, y left, z up, the origin on the ground under the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.mesh import (
    Colour,
    Mesh,
    Surface,
    box,
    capsules,
    disc,
    merge,
    quads,
    smooth,
)

GLASS = Surface((0.018, 0.022, 0.026), gloss=0.85)
RUBBER = Surface((0.016, 0.016, 0.017), gloss=0.03)
TRIM = Surface((0.022, 0.022, 0.024), gloss=0.12)
RIM = Surface((0.42, 0.43, 0.45), gloss=0.35)
HEADLIGHT = Surface((0.85, 0.87, 0.9), gloss=0.5, glow=0.55)
TAIL_LAMP = Surface((0.55, 0.015, 0.012), gloss=0.3, glow=0.25)
BRAKE_LAMP = Surface((1.0, 0.06, 0.03), gloss=0.3, glow=2.4)
PLATE = Surface((0.75, 0.75, 0.7))

_NEUTRAL: tuple[Colour, ...] = (
    (0.44, 0.45, 0.46),
    (0.62, 0.62, 0.60),
    (0.035, 0.036, 0.04),
    (0.13, 0.14, 0.15),
    (0.28, 0.29, 0.31),
)
PAINTS: tuple[Colour, ...] = (
    *_NEUTRAL,
    *_NEUTRAL,  # most cars have no colour
    (0.035, 0.09, 0.26),
    (0.36, 0.025, 0.025),
    (0.05, 0.14, 0.10),
    (0.48, 0.34, 0.12),
    (0.10, 0.24, 0.40),
    (0.44, 0.40, 0.33),
    (0.48, 0.10, 0.03),
)


@dataclass(frozen=True)
class Shape:
    """A car's body in side view; metres."""

    length: float
    width: float
    height: float
    outline: tuple[tuple[float, float], ...]  # (x, z) of bonnet, shoulder line and boot, from ahead
    cabin: tuple[float, float, float, float]  # x of windscreen foot and top, rear glass top, foot
    belt: float  # z where the glass begins
    axles: tuple[float, float]  # x
    wheel_radius: float
    clearance: float = 0.24


# fmt: off
SHAPES: dict[str, Shape] = {
    "saloon": Shape(
        length=4.65, width=1.82, height=1.45,
        outline=((2.32, 0.58), (2.25, 0.72), (1.9, 0.82), (1.0, 0.94),
                 (0.0, 0.96), (-1.6, 1.0), (-2.15, 1.0), (-2.32, 0.8)),
        cabin=(1.05, 0.25, -0.95, -1.72), belt=0.95, axles=(1.38, -1.38), wheel_radius=0.33,
    ),
    "hatch": Shape(
        length=4.05, width=1.76, height=1.50,
        outline=((2.02, 0.6), (1.95, 0.76), (1.65, 0.86), (0.95, 0.98),
                 (0.0, 1.0), (-1.6, 1.04), (-1.95, 1.0), (-2.02, 0.75)),
        cabin=(1.1, 0.4, -1.45, -1.88), belt=0.99, axles=(1.25, -1.27), wheel_radius=0.31,
    ),
    "suv": Shape(
        length=4.6, width=1.9, height=1.70,
        outline=((2.3, 0.68), (2.24, 0.9), (1.9, 1.0), (1.05, 1.1),
                 (0.0, 1.12), (-1.9, 1.14), (-2.22, 1.1), (-2.3, 0.8)),
        cabin=(1.1, 0.45, -1.75, -2.15), belt=1.11, axles=(1.4, -1.36), wheel_radius=0.37,
        clearance=0.3,
    ),
    "van": Shape(
        length=5.1, width=1.98, height=2.05,
        outline=((2.55, 0.66), (2.48, 0.95), (2.2, 1.08), (1.7, 1.2),
                 (0.0, 1.22), (-2.2, 1.22), (-2.5, 1.2), (-2.55, 0.8)),
        cabin=(1.75, 1.0, -2.35, -2.5), belt=1.21, axles=(1.6, -1.6), wheel_radius=0.35,
        clearance=0.28,
    ),
}
# fmt: on


@dataclass(frozen=True)
class Vehicle:
    """One vehicle's looks; `mesh` poses its moving parts."""

    category: str
    length: float  # m
    width: float
    height: float
    body: Mesh
    brakes: Mesh  # lamps when braking
    axles: tuple[float, ...]  # x
    wheel_radius: float

    def mesh(self, rolled_m: float, is_braking: bool) -> Mesh:
        angle = rolled_m / self.wheel_radius
        wheels = [
            _wheel(x, side, self.width / 2, self.wheel_radius, angle)
            for x in self.axles
            for side in (-1, 1)
        ]
        return merge([self.body, *wheels, *([self.brakes] if is_braking else [])])

    @cached_property
    def outline(self) -> NDArray[np.float64]:
        """[4, 2] its shadow on the ground at noon."""
        x, y = self.length / 2, self.width / 2
        return np.array([(x, y), (-x, y), (-x, -y), (x, -y)])


def random_car(rng: np.random.Generator) -> Vehicle:
    return _random_of(rng, {"saloon": 4.0, "hatch": 4.0, "suv": 3.0, "van": 1.2})


def random_traffic(rng: np.random.Generator) -> Vehicle:
    """Buses and trucks among the cars."""
    weights = {"saloon": 4.0, "hatch": 4.0, "suv": 3.0, "van": 1.2, "bus": 1.2, "truck": 1.6}
    return _random_of(rng, weights)


def _random_of(rng: np.random.Generator, weights: dict[str, float]) -> Vehicle:
    share = np.array(list(weights.values()))
    kind = list(weights)[rng.choice(len(share), p=share / share.sum())]
    paint = Surface(PAINTS[rng.integers(len(PAINTS))], gloss=float(rng.uniform(0.3, 0.5)))
    if kind == "bus":
        return _bus(rng)
    if kind == "truck":
        return _truck(rng, paint)
    return _car(SHAPES[kind], paint)


def _loft(
    stations: Sequence[tuple[float, float, float, float]],  # x, half width, z below, z above
    surface: Surface,
    shoulder: float = 0.06,
) -> Mesh:
    """A closed hull through rounded sections, from ahead to behind."""
    rings = []
    for x, w, low, top in stations:
        waist = low + 0.45 * (top - low)
        half = [
            (0.92 * w, low),
            (w, low + 0.3 * (waist - low)),
            (w, waist),
            (0.975 * w, top - shoulder),
            (0.9 * w, top),
            (0.45 * w, top + 0.3 * shoulder),
        ]
        section = half + [(-y, z) for y, z in reversed(half)]
        rings.append([(x, y, z) for y, z in section])
    ring = np.array(rings)  # [S, 12, 3]
    around = np.concatenate([ring, ring[:, :1]], 1)
    skin = np.stack([around[:-1, :-1], around[1:, :-1], around[1:, 1:], around[:-1, 1:]], 2)
    caps = [_fan(ring[0], surface), _fan(ring[-1][::-1], surface)]
    return merge([quads(skin.reshape(-1, 4, 3), surface), *caps])


def _fan(ring: NDArray[np.float64], surface: Surface) -> Mesh:
    """Close a 12-sided ring with five flat strips."""
    n = len(ring)
    strips = [[ring[i], ring[i + 1], ring[n - 2 - i], ring[n - 1 - i]] for i in range(n // 2 - 1)]
    return quads(np.array(strips), surface)


def _mirrored(corners: Sequence[Sequence[float]], surface: Surface) -> Mesh:
    """A face on the left side and its twin on the right."""
    left = np.array(corners, float)
    return quads(np.stack([left, left[::-1] * (1, -1, 1)]), surface)


def _car(shape: Shape, paint: Surface) -> Vehicle:
    w, nose, cabin = shape.width / 2, shape.length / 2, _Cabin(shape)
    stations = []
    for x, top in shape.outline:
        taper = 1 - 0.16 * max(0.0, (abs(x) - 0.82 * nose) / (0.18 * nose)) ** 2
        low = shape.clearance + (0.16 if abs(x) > 0.97 * nose else 0.0)
        stations.append((x, w * taper, low, top))
    parts = [
        smooth(_loft(stations, paint), 50),
        *cabin.glass(),
        *cabin.roof(paint),
        *cabin.pillars(paint),
        *cabin.mirrors(paint),
        *_car_ends(shape),
        *(_arch(x, w, shape.wheel_radius) for x in shape.axles),
        box(
            (-nose * 0.8, -w * 0.85, shape.clearance - 0.08),
            (nose * 0.8, w * 0.85, shape.clearance + 0.1),
            TRIM,
        ),
        *_door_lines(shape, w),
    ]
    brakes = _lamps(-nose - 0.012, w, shape.outline[-2][1] - 0.1, 0.34, 0.16, BRAKE_LAMP)
    return Vehicle(
        "car",
        shape.length,
        shape.width,
        shape.height,
        merge(parts),
        brakes,
        shape.axles,
        shape.wheel_radius,
    )


@dataclass(frozen=True)
class _Cabin:
    """The sloping frame above the belt line that glass and pillars share."""

    shape: Shape

    def at(self, x: float, share: float, out: float = 0.0) -> tuple[float, float, float]:
        """A point on the left side, `share` of the way up and `out` metres off the glass."""
        base, roof = 0.9 * self.shape.width / 2, 0.70 * self.shape.width / 2
        low, high = self.shape.belt - 0.02, self.shape.height - 0.05
        return x, base + (roof - base) * share + out, low + (high - low) * share

    def glass(self) -> list[Mesh]:
        foot, top, rear_top, rear_foot = self.shape.cabin
        a, b, c, d = self.at(foot, 0), self.at(top, 1), self.at(rear_top, 1), self.at(rear_foot, 0)
        ends = [[p, (p[0], -p[1], p[2]), (q[0], -q[1], q[2]), q] for p, q in ((a, b), (d, c))]
        return [_mirrored([a, b, c, d], GLASS), *(quads([end], GLASS) for end in ends)]

    def roof(self, paint: Surface) -> list[Mesh]:
        """Two strips a side, the outer one bent down."""
        _, top, rear_top, _ = self.shape.cabin
        half, z = 0.70 * self.shape.width / 2, self.shape.height - 0.05
        lines = [(half, z), (0.8 * half, z + 0.045), (0.0, z + 0.06)]
        strips = [
            [(top, *p), (rear_top, *p), (rear_top, *q), (top, *q)] for p, q in pairwise(lines)
        ]
        return [_mirrored(strip, paint) for strip in strips]

    def pillars(self, paint: Surface) -> list[Mesh]:
        foot, top, rear_top, rear_foot = self.shape.cabin
        middle = (top + rear_top) / 2 - 0.05
        posts = ((foot, top, 0.09), (middle, middle, 0.10), (rear_foot, rear_top, -0.22))
        faces = [
            [self.at(x0, 0, 0.006), self.at(x1, 1, 0.006),
             self.at(x1 - thick, 1, 0.006), self.at(x0 - thick, 0, 0.006)]
            for x0, x1, thick in posts
        ]  # fmt: skip
        front, rear = top + 0.08 * (foot - top), rear_top - 0.08 * (rear_top - rear_foot)
        rail = [
            self.at(x, up, 0.008) for x, up in ((top, 1), (rear_top, 1), (rear, 0.9), (front, 0.9))
        ]
        return [_mirrored(face, paint) for face in (*faces, rail)]

    def mirrors(self, paint: Surface) -> list[Mesh]:
        x, y, z = self.shape.cabin[0] - 0.35, self.shape.width / 2 + 0.03, self.shape.belt - 0.02
        return [
            box(
                (x - 0.07, side * y - 0.09, z + 0.03),
                (x + 0.05, side * y + 0.09, z + 0.14),
                paint,
                with_floor=True,
            )
            for side in (-1, 1)
        ]


def _lamps(x: float, w: float, z: float, width: float, height: float, surface: Surface) -> Mesh:
    """A pair on the nose (x > 0) or the tail, bent a little round the corner."""
    inner, outer, back = 0.88 * w - width, 0.88 * w, 0.1 * np.sign(x)
    face = [
        (x, inner, z - height),
        (x - back, outer, z - height),
        (x - back, outer, z),
        (x, inner, z),
    ]
    return _mirrored(face, surface)


def _car_ends(shape: Shape) -> list[Mesh]:
    w, nose = shape.width / 2, shape.length / 2
    z = shape.outline[1][1]
    front, tail = nose + 0.012, -nose - 0.01

    def plate(x: float, half: float, low: float, high: float, surface: Surface) -> Mesh:
        return quads(
            [[(x, -half, low), (x, half, low), (x, half, high), (x, -half, high)]], surface
        )

    return [
        _lamps(front, w, z - 0.02, 0.36, 0.15, HEADLIGHT),
        _lamps(tail, w, shape.outline[-2][1] - 0.1, 0.34, 0.16, TAIL_LAMP),
        plate(front, 0.4 * w, z - 0.2, z - 0.05, TRIM),
        plate(front, 0.7 * w, shape.clearance + 0.02, shape.clearance + 0.2, TRIM),
        plate(front + 0.01, 0.26, z - 0.33, z - 0.22, PLATE),
        plate(tail, 0.72 * w, shape.clearance + 0.02, shape.clearance + 0.18, TRIM),
        plate(tail - 0.01, 0.26, shape.belt - 0.36, shape.belt - 0.25, PLATE),
    ]


def _door_lines(shape: Shape, w: float) -> list[Mesh]:
    """Dark gaps between doors, and their handles."""
    lines = []
    for x in (0.78 * shape.cabin[0], -0.12, -1.0):
        y, low, high = w + 0.004, shape.clearance + 0.12, shape.belt - 0.1
        lines.append(
            _mirrored([(x, y, low), (x + 0.025, y, low), (x + 0.025, y, high), (x, y, high)], TRIM)
        )
    for x in (0.02, -0.85):
        z, y = shape.belt - 0.17, w + 0.006
        lines.append(
            _mirrored([(x, y, z), (x + 0.18, y, z), (x + 0.18, y, z + 0.03), (x, y, z + 0.03)], RIM)
        )
    return lines


def _arch(x: float, w: float, radius: float) -> Mesh:
    """The dark mouth that a wheel sits in."""
    return merge([disc((x, y, radius), radius * 1.17, TRIM) for y in (w + 0.003, -w - 0.003)])


def _wheel(x: float, side: int, w: float, radius: float, angle: float) -> Mesh:
    inner, outer = side * (w - 0.2), side * (w + 0.012)
    turn = angle + np.linspace(0, 2 * np.pi, 21)
    rim = np.stack([np.sin(turn), np.cos(turn)], -1) * radius
    ring = np.stack([np.full(21, x) + rim[:, 0], np.zeros(21), radius + rim[:, 1]], -1)
    near, far = (ring + np.array((0, y, 0)) for y in (outer, inner))
    tread = quads(np.stack([near[:-1], near[1:], far[1:], far[:-1]], 1), RUBBER)
    face = outer + side * 0.002
    spokes = []
    for k in range(5):
        a = angle + k * 2 * np.pi / 5
        along, across = np.array([np.sin(a), 0, np.cos(a)]), np.array([np.cos(a), 0, -np.sin(a)])
        hub = np.array([x, face + side * 0.008, radius])
        spokes.append(
            [
                hub + 0.05 * across,
                hub + 0.62 * radius * along + 0.035 * across,
                hub + 0.62 * radius * along - 0.035 * across,
                hub - 0.05 * across,
            ]
        )
    return merge(
        [
            tread,
            disc((x, face, radius), radius, RUBBER, start=angle),
            disc(
                (x, face + side * 0.004, radius),
                radius * 0.66,
                Surface((0.09, 0.09, 0.1), gloss=0.2),
                start=angle,
            ),
            quads(np.array(spokes), RIM),
        ]
    )


def _slab(
    length: float, w: float, low: float, high: float, surface: Surface, x: float = 0.0
) -> Mesh:
    """A long body with rounded edges."""
    nose = length / 2
    ends = ((nose, 0.94), (nose - 0.12, 1.0), (-nose + 0.12, 1.0), (-nose, 0.95))
    return smooth(_loft([(x + e, w * s, low, high) for e, s in ends], surface, 0.14), 35)


def _side_glass(x0: float, x1: float, w: float, low: float, high: float) -> Mesh:
    y = w + 0.012
    return _mirrored(
        [(x0, y, low), (x1, y, low), (x1, y - 0.01, high), (x0, y - 0.01, high)], GLASS
    )


def _screen(x: float, w: float, low: float, high: float, surface: Surface = GLASS) -> Mesh:
    return quads([[(x, -w, low), (x, w, low), (x, w, high), (x, -w, high)]], surface)


def _bus(rng: np.random.Generator) -> Vehicle:
    length, w, height = 11.0, 1.27, 3.1
    liveries: tuple[Colour, ...] = (
        (0.5, 0.03, 0.03),
        (0.04, 0.2, 0.42),
        (0.62, 0.5, 0.08),
        (0.06, 0.3, 0.16),
    )
    paint = Surface(liveries[rng.integers(len(liveries))], gloss=0.25)
    nose = length / 2
    windows = [
        _side_glass(x, x + 1.38, w, 1.35, 2.45) for x in np.arange(-nose + 0.5, nose - 1.6, 1.5)
    ]
    parts = [
        _slab(length, w, 0.32, height, paint),
        _mirrored(
            [
                (-nose + 0.3, w + 0.008, 0.95),
                (nose - 0.3, w + 0.008, 0.95),
                (nose - 0.3, w + 0.008, 1.1),
                (-nose + 0.3, w + 0.008, 1.1),
            ],
            PLATE,
        ),
        *windows,
        _screen(nose + 0.015, w * 0.86, 1.05, 2.55),
        _screen(nose + 0.02, w * 0.6, 2.62, 2.9, Surface((0.9, 0.55, 0.1), glow=0.8)),
        _screen(-nose - 0.015, w * 0.8, 1.7, 2.5),
        _lamps(nose + 0.02, w, 0.85, 0.3, 0.16, HEADLIGHT),
        _lamps(-nose - 0.02, w, 1.2, 0.22, 0.3, TAIL_LAMP),
        *(_arch(x, w, 0.48) for x in (2.9, -2.9)),
    ]
    brakes = _lamps(-nose - 0.03, w, 1.2, 0.22, 0.3, BRAKE_LAMP)
    return Vehicle("bus", length, 2 * w, height, merge(parts), brakes, (2.9, -2.9), 0.48)


def _truck(rng: np.random.Generator, paint: Surface) -> Vehicle:
    length, w, height = 7.6, 1.2, 3.3
    tones: tuple[Colour, ...] = (
        (0.72, 0.72, 0.7),
        (0.6, 0.62, 0.66),
        (0.45, 0.4, 0.3),
        (0.15, 0.25, 0.4),
    )
    box_paint = Surface(tones[rng.integers(len(tones))], gloss=0.08)
    nose = length / 2
    parts = [
        _slab(1.9, w * 0.95, 0.45, 2.45, paint, nose - 0.95),
        _slab(length - 2.15, w, 0.95, height, box_paint, -1.08),
        box((-nose + 0.2, -0.5, 0.5), (nose - 1, 0.5, 0.95), TRIM),
        _side_glass(nose - 1.25, nose - 0.35, w * 0.95, 1.45, 2.15),
        _screen(nose + 0.015, w * 0.8, 1.4, 2.2),
        _screen(nose + 0.012, w * 0.55, 0.75, 1.1, TRIM),
        _lamps(nose + 0.02, w, 0.85, 0.28, 0.16, HEADLIGHT),
        _lamps(-nose - 0.02, w, 0.9, 0.2, 0.14, TAIL_LAMP),
        _screen(-nose - 0.012, 0.02, 1.0, 3.2, TRIM),
        capsules(
            [(nose - 0.3, s * (w + 0.12), 1.9) for s in (-1, 1)],
            [(nose - 0.3, s * (w + 0.12), 1.5) for s in (-1, 1)],
            0.07,
            0.07,
            TRIM,
        ),
        *(_arch(x, w, 0.45) for x in (nose - 1.1, -nose + 1.6)),
    ]
    brakes = _lamps(-nose - 0.03, w, 0.9, 0.2, 0.14, BRAKE_LAMP)
    return Vehicle(
        "truck", length, 2 * w, height, merge(parts), brakes, (nose - 1.1, -nose + 1.6), 0.45
    )
