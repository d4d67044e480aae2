"""Walking people, cyclists and motorcyclists: jointed bars posed by a phase.

Own frame: x ahead, y left, z up, the origin on the ground under the hips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.mesh import (
    Colour,
    Mesh,
    Surface,
    box,
    capsules,
    ellipsoid,
    merge,
    smooth,
)

CLOTHES: tuple[Colour, ...] = (
    (0.05, 0.06, 0.10), (0.30, 0.05, 0.05), (0.06, 0.16, 0.28), (0.52, 0.50, 0.46), (0.04, 0.04, 0.04),
    (0.36, 0.26, 0.10), (0.10, 0.22, 0.12), (0.62, 0.42, 0.10), (0.22, 0.10, 0.24), (0.40, 0.44, 0.50),
)  # fmt: skip
SKINS: tuple[Colour, ...] = (
    (0.56, 0.34, 0.24),
    (0.40, 0.22, 0.14),
    (0.22, 0.11, 0.07),
    (0.12, 0.06, 0.04),
)
HAIRS: tuple[Colour, ...] = (
    (0.02, 0.016, 0.014),
    (0.07, 0.04, 0.02),
    (0.24, 0.15, 0.06),
    (0.34, 0.33, 0.32),
)
STEEL = Surface((0.30, 0.31, 0.33), gloss=0.3)
RUBBER = Surface((0.02, 0.02, 0.02))


@dataclass(frozen=True)
class Person:
    """One person's looks; `walking` and `riding` pose them."""

    height: float  # m
    top: Surface
    legs: Surface
    skin: Surface
    hair: Surface
    has_bag: bool

    @property
    def stride_m(self) -> float:
        """Ground covered in one full cycle of both legs."""
        return 0.82 * self.height

    def walking(self, walked_m: float) -> Mesh:
        """Standing when `walked_m` never changes; else mid-step."""
        phase = 2 * np.pi * walked_m / self.stride_m
        swing = 0.46 * np.sin(phase)
        hip = np.array([0, 0, 0.92 - 0.02 * np.cos(2 * phase)])
        parts = [self._trunk(hip, 0.05)]
        for side, turn in ((1, swing), (-1, -swing)):
            lift = max(0.0, float(np.cos(phase) * side)) * 0.75 + 0.06
            parts.append(self._leg(hip, side, turn, lift))
            parts.append(self._arm(hip, side, -0.8 * turn, 0.35))
        return merge(parts).scaled(self.height / 1.74)

    def riding(self, pedalled: float) -> Mesh:
        """On a saddle 0.95 m up, hands ahead, feet on pedals turned by `pedalled` radians."""
        hip = np.array([-0.22, 0, 1.0])
        parts = [self._trunk(hip, 0.55)]
        for side in (1, -1):
            turn = pedalled + (0 if side > 0 else np.pi)
            foot = np.array([0.02 + 0.17 * np.cos(turn), side * 0.11, 0.3 + 0.17 * np.sin(turn)])
            top = hip + (0.05, side * 0.1, -0.02)
            knee = _joint(top, foot, 0.44, 0.44, np.array([1.0, 0, 0.4]))
            parts.append(
                capsules([top, knee], [knee, foot], [0.085, 0.06], [0.065, 0.045], self.legs)
            )
            parts.append(self._shoe(foot))
            shoulder = hip + (0.30, side * 0.19, 0.46)
            hand = np.array([0.42, side * 0.24, 1.08])
            elbow = _joint(shoulder, hand, 0.28, 0.28, np.array([0, side * 0.4, -1.0]))
            parts.append(
                capsules([shoulder, elbow], [elbow, hand], [0.05, 0.042], [0.042, 0.035], self.top)
            )
        return merge(parts)

    def _trunk(self, hip: NDArray[np.float64], lean: float) -> Mesh:
        up = np.array([np.sin(lean), 0, np.cos(lean)])
        chest, neck, head = hip + 0.33 * up, hip + 0.52 * up, hip + 0.68 * up
        sides = np.array([[0, 0.08, 0], [0, -0.08, 0]])
        parts = [
            capsules(hip + sides, chest + 1.25 * sides, 0.115, 0.125, self.top, 10),
            capsules([chest + 1.2 * sides[0]], [chest + 1.2 * sides[1]], 0.13, 0.13, self.top, 10),
            capsules(
                hip + 0.75 * sides - (0, 0, 0.04),
                hip + 0.75 * sides + (0, 0, 0.02),
                0.11,
                0.115,
                self.legs,
            ),
            capsules([neck - 0.06 * up], [head], 0.055, 0.055, self.skin),
            ellipsoid(head + (0.01, 0, 0.05), (0.095, 0.078, 0.125), self.skin),
            ellipsoid(head + (-0.018, 0, 0.085), (0.098, 0.085, 0.108), self.hair),
        ]
        if self.has_bag:
            back = hip + 0.28 * up - (0.2, 0, 0)
            parts.append(
                smooth(
                    box(
                        back - (0.08, 0.14, 0.2),
                        back + (0.07, 0.14, 0.2),
                        self.legs,
                        with_floor=True,
                    )
                )
            )
        return merge(parts)

    def _leg(self, hip: NDArray[np.float64], side: int, swing: float, bend: float) -> Mesh:
        top = hip + (0, side * 0.09, -0.02)
        knee = top + 0.44 * np.array([np.sin(swing), 0, -np.cos(swing)])
        ankle = knee + 0.42 * np.array([np.sin(swing - bend), 0, -np.cos(swing - bend)])
        limb = capsules([top, knee], [knee, ankle], [0.09, 0.065], [0.068, 0.05], self.legs)
        return merge([limb, self._shoe(ankle)])

    def _arm(self, hip: NDArray[np.float64], side: int, swing: float, bend: float) -> Mesh:
        shoulder = hip + (0.02, side * 0.205, 0.47)
        elbow = shoulder + 0.28 * np.array([np.sin(swing), side * 0.12, -np.cos(swing)])
        hand = elbow + 0.26 * np.array([np.sin(swing + bend), 0, -np.cos(swing + bend)])
        sleeve = capsules([shoulder, elbow], [elbow, hand], [0.056, 0.046], [0.046, 0.04], self.top)
        return merge([sleeve, capsules([hand], [hand + (0.02, 0, -0.08)], 0.04, 0.035, self.skin)])

    def _shoe(self, ankle: NDArray[np.float64]) -> Mesh:
        heel, toe = ankle - (0.03, 0, 0.03), ankle + (0.15, 0, -0.045)
        return capsules([heel], [toe], 0.048, 0.04, RUBBER)


def _joint(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    la: float,
    lb: float,
    towards: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Where the knee of a limb from a to b with these bone lengths is, bent `towards`."""
    span = b - a
    reach = min(float(np.linalg.norm(span)), 0.999 * (la + lb))
    along = span / np.linalg.norm(span)
    share = (la**2 - lb**2 + reach**2) / (2 * reach)
    out = towards - (towards @ along) * along
    return np.asarray(
        a + along * share + out / np.linalg.norm(out) * np.sqrt(max(la**2 - share**2, 0))
    )


def random_person(rng: np.random.Generator) -> Person:
    def pick(tones: tuple[Colour, ...], gloss: float = 0.0) -> Surface:
        return Surface(tones[rng.integers(len(tones))], gloss=gloss)

    return Person(
        float(rng.uniform(1.55, 1.90)), pick(CLOTHES), pick(CLOTHES), pick(SKINS), pick(HAIRS),
        bool(rng.random() < 0.35),
    )  # fmt: skip


def _ring(x: float, z: float, radius: float, thick: float, surface: Surface) -> Mesh:
    angle = np.linspace(0, 2 * np.pi, 21)
    rim = np.stack([x + radius * np.sin(angle), np.zeros(21), z + radius * np.cos(angle)], -1)
    return capsules(rim[:-1], rim[1:], thick, thick, surface, 5)


def bicycle(rolled_m: float, paint: Surface) -> Mesh:
    """A diamond frame; the wheels' spokes turn."""
    radius, front, rear = 0.34, 0.54, -0.52
    saddle, crank, head = (-0.24, 0, 0.92), (0.02, 0, 0.3), (0.40, 0, 0.86)
    hub_f, hub_r = (front, 0, radius), (rear, 0, radius)
    bars = [(saddle, crank), (crank, head), (head, (-0.2, 0, 0.82)), (hub_r, crank), (hub_r, (-0.2, 0, 0.82)),
            (head, hub_f), (head, (0.40, 0, 1.06))]  # fmt: skip
    start, end = zip(*bars, strict=True)
    angle = rolled_m / radius + np.arange(0, np.pi, np.pi / 5)
    out = radius * np.stack([np.sin(angle), 0 * angle, np.cos(angle)], -1)
    spokes = [
        capsules(np.array(h) - out, np.array(h) + out, 0.004, 0.004, STEEL, 4)
        for h in (hub_f, hub_r)
    ]
    return merge([
        _ring(front, radius, radius - 0.02, 0.024, RUBBER),
        _ring(rear, radius, radius - 0.02, 0.024, RUBBER),
        capsules(start, end, 0.022, 0.022, paint, 6),
        capsules([(0.40, -0.27, 1.06)], [(0.40, 0.27, 1.06)], 0.018, 0.018, STEEL, 6),
        capsules([(-0.34, 0, 0.95)], [(-0.14, 0, 0.95)], 0.06, 0.035, RUBBER, 6),
        *spokes,
    ])  # fmt: skip


def motorcycle(paint: Surface) -> Mesh:
    """A standard motorcycle with its engine between fat wheels."""
    return merge([
        _ring(0.70, 0.31, 0.24, 0.07, RUBBER),
        _ring(-0.66, 0.31, 0.24, 0.08, RUBBER),
        smooth(box((-0.25, -0.16, 0.28), (0.35, 0.16, 0.68), STEEL, with_floor=True)),
        ellipsoid((0.16, 0, 0.86), (0.32, 0.17, 0.16), paint),
        capsules([(-0.62, 0, 0.84)], [(-0.08, 0, 0.82)], 0.11, 0.13, RUBBER, 8),
        capsules([(0.70, s * 0.09, 0.31) for s in (-1, 1)], [(0.44, s * 0.09, 1.02) for s in (-1, 1)],
                 0.03, 0.03, STEEL, 6),
        capsules([(0.40, -0.34, 1.06)], [(0.40, 0.34, 1.06)], 0.02, 0.02, RUBBER, 6),
        ellipsoid((0.56, 0, 0.92), (0.09, 0.1, 0.1), Surface((0.9, 0.9, 0.85), gloss=0.5, glow=0.5)),
        ellipsoid((-0.86, 0, 0.78), (0.05, 0.08, 0.05), Surface((0.8, 0.03, 0.02), glow=0.5)),
    ])  # fmt: skip
