"""Walking people, cyclists and motorcyclists: jointed bars posed by a phase.

Own frame: x ahead, y left, z up, the origin on the ground under the hips.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.mesh import (
    Bar,
    Colour,
    Mesh,
    Surface,
    bars,
    box,
    capsules,
    ellipsoid,
    merge,
    smooth,
)

TOPS: tuple[Colour, ...] = (
    (0.05, 0.06, 0.10), (0.34, 0.05, 0.05), (0.06, 0.16, 0.30), (0.60, 0.58, 0.54),
    (0.03, 0.03, 0.03), (0.30, 0.22, 0.12), (0.08, 0.20, 0.13), (0.62, 0.40, 0.08),
    (0.20, 0.08, 0.20), (0.34, 0.40, 0.48),
)  # fmt: skip
TROUSERS: tuple[Colour, ...] = (
    (0.03, 0.05, 0.11), (0.06, 0.10, 0.19), (0.022, 0.022, 0.024), (0.10, 0.10, 0.105),
    (0.26, 0.21, 0.14), (0.05, 0.045, 0.04),
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
    bag: Surface
    has_bag: bool

    @property
    def stride_m(self) -> float:
        """Ground covered in one full cycle of both legs."""
        return 0.82 * self.height

    def walking(self, walked_m: float) -> Mesh:
        """Mid-step; the legs swing with the way walked."""
        phase = 2 * np.pi * walked_m / self.stride_m
        swing = 0.46 * np.sin(phase)
        hip = np.array([0, 0, 0.92 - 0.02 * np.cos(2 * phase)])
        parts = self._trunk(hip, 0.05)
        for side, turn in ((1, swing), (-1, -swing)):
            lift = max(0.0, float(np.cos(phase) * side)) * 0.75 + 0.06
            parts += self._leg(hip, side, turn, lift)
            parts += self._arm(hip, side, -0.8 * turn, 0.35)
        return bars(parts).scaled(self.height / 1.74)

    def riding(self, pedalled: float) -> Mesh:
        """On a saddle 0.95 m up, hands ahead, feet on pedals turned by `pedalled` radians."""
        hip = np.array([-0.22, 0, 1.0])
        parts = self._trunk(hip, 0.55)
        for side in (1, -1):
            turn = pedalled + (0 if side > 0 else np.pi)
            foot = np.array([0.02 + 0.17 * np.cos(turn), side * 0.11, 0.3 + 0.17 * np.sin(turn)])
            top = hip + _xyz(0.05, side * 0.1, -0.02)
            knee = _joint(top, foot, 0.44, 0.44, np.array([1.0, 0, 0.4]))
            parts += [
                Bar(top, knee, 0.085, 0.065, self.legs),
                Bar(knee, foot, 0.06, 0.045, self.legs),
            ]
            parts.append(self._shoe(foot))
            shoulder = hip + _xyz(0.26, side * 0.19, 0.42)
            hand = np.array([0.40, side * 0.25, 1.08])
            elbow = _joint(shoulder, hand, 0.28, 0.28, np.array([-0.3, side * 0.25, -1.0]))
            parts += [
                Bar(shoulder, elbow, 0.055, 0.045, self.top),
                Bar(elbow, hand, 0.045, 0.038, self.top),
                Bar(hand, hand + _xyz(0.05, 0, 0), 0.042, 0.04, self.skin),
            ]
        return bars(parts)

    def _trunk(self, hip: NDArray[np.float64], lean: float) -> list[Bar]:
        up = np.array([np.sin(lean), 0, np.cos(lean)])
        chest, neck, head = hip + 0.33 * up, hip + 0.52 * up, hip + 0.665 * up
        left = np.array([0, 0.08, 0])
        parts = [
            Bar(chest + 1.2 * left, chest - 1.2 * left, 0.13, 0.13, self.top),
            Bar(neck - 0.06 * up, head, 0.055, 0.055, self.skin),
            Bar(head + _xyz(0.012, 0, 0.01), head + _xyz(0.008, 0, 0.07), 0.072, 0.084, self.skin),
            Bar(head + _xyz(-0.03, 0, 0.04), head + _xyz(-0.014, 0, 0.085), 0.08, 0.087, self.hair),
        ]
        for side in (1, -1):
            parts.append(Bar(hip + side * left, chest + 1.25 * side * left, 0.115, 0.125, self.top))
            low, high = (hip + 0.75 * side * left + (0, 0, z) for z in (-0.04, 0.02))
            parts.append(Bar(low, high, 0.11, 0.115, self.legs))
            if self.has_bag:
                back = hip - _xyz(0.19, 0, 0) + side * left
                parts.append(Bar(back + 0.12 * up, back + 0.42 * up, 0.1, 0.085, self.bag))
        return parts

    def _leg(self, hip: NDArray[np.float64], side: int, swing: float, bend: float) -> list[Bar]:
        top = hip + _xyz(0, side * 0.09, -0.02)
        knee = top + 0.44 * np.array([np.sin(swing), 0, -np.cos(swing)])
        ankle = knee + 0.42 * np.array([np.sin(swing - bend), 0, -np.cos(swing - bend)])
        return [
            Bar(top, knee, 0.09, 0.068, self.legs),
            Bar(knee, ankle, 0.065, 0.05, self.legs),
            self._shoe(ankle),
        ]

    def _arm(self, hip: NDArray[np.float64], side: int, swing: float, bend: float) -> list[Bar]:
        shoulder = hip + _xyz(0.02, side * 0.205, 0.47)
        elbow = shoulder + 0.28 * np.array([np.sin(swing), side * 0.12, -np.cos(swing)])
        hand = elbow + 0.26 * np.array([np.sin(swing + bend), 0, -np.cos(swing + bend)])
        return [
            Bar(shoulder, elbow, 0.056, 0.046, self.top),
            Bar(elbow, hand, 0.046, 0.04, self.top),
            Bar(hand, hand + _xyz(0.02, 0, -0.08), 0.04, 0.035, self.skin),
        ]

    def _shoe(self, ankle: NDArray[np.float64]) -> Bar:
        return Bar(ankle - _xyz(0.03, 0, 0.03), ankle + _xyz(0.15, 0, -0.045), 0.048, 0.04, RUBBER)


def _xyz(x: float, y: float, z: float) -> NDArray[np.float64]:
    return np.array((x, y, z))


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
    def pick(tones: tuple[Colour, ...]) -> Surface:
        return Surface(tones[rng.integers(len(tones))])

    return Person(
        height=float(rng.uniform(1.55, 1.90)),
        top=pick(TOPS),
        legs=pick(TROUSERS),
        skin=pick(SKINS),
        hair=pick(HAIRS),
        bag=pick(TOPS),
        has_bag=bool(rng.random() < 0.35),
    )


def _ring(x: float, z: float, radius: float, thick: float, surface: Surface) -> list[Bar]:
    angle = np.linspace(0, 2 * np.pi, 19)
    rim = np.stack([x + radius * np.sin(angle), np.zeros(19), z + radius * np.cos(angle)], -1)
    return [Bar(a, b, thick, thick, surface) for a, b in pairwise(rim)]


def bicycle(rolled_m: float, paint: Surface) -> Mesh:
    """A diamond frame; the wheels' spokes turn."""
    radius = 0.34
    saddle, crank, head, grip = (-0.24, 0, 0.92), (0.02, 0, 0.3), (0.40, 0, 0.86), (0.40, 0, 1.06)
    top, ahead, behind = (-0.2, 0, 0.82), (0.54, 0, radius), (-0.52, 0, radius)
    frame = (
        (saddle, crank),
        (crank, head),
        (head, top),
        (behind, crank),
        (behind, top),
        (head, ahead),
        (head, grip),
    )
    parts = [Bar(a, b, 0.022, 0.022, paint) for a, b in frame]
    parts.append(Bar((0.40, -0.27, 1.06), (0.40, 0.27, 1.06), 0.018, 0.018, STEEL))
    parts.append(Bar((-0.34, 0, 0.95), (-0.14, 0, 0.95), 0.06, 0.035, RUBBER))
    for hub in (ahead, behind):
        parts += _ring(hub[0], radius, radius - 0.02, 0.024, RUBBER)
        for angle in rolled_m / radius + np.arange(0, np.pi, np.pi / 5):
            out = 0.95 * radius * np.array([np.sin(angle), 0, np.cos(angle)])
            parts.append(Bar(hub - out, hub + out, 0.004, 0.004, STEEL))
    return bars(parts, sides=5)


def motorcycle(paint: Surface) -> Mesh:
    """A standard motorcycle with its engine between fat wheels."""
    return merge(
        [
            bars(_ring(0.70, 0.31, 0.24, 0.07, RUBBER) + _ring(-0.66, 0.31, 0.24, 0.08, RUBBER), 6),
            smooth(box((-0.25, -0.16, 0.28), (0.35, 0.16, 0.68), STEEL, with_floor=True)),
            ellipsoid((0.16, 0, 0.86), (0.32, 0.17, 0.16), paint),
            capsules([(-0.62, 0, 0.84)], [(-0.08, 0, 0.82)], 0.11, 0.13, RUBBER, 8),
            capsules(
                [(0.70, s * 0.09, 0.31) for s in (-1, 1)],
                [(0.44, s * 0.09, 1.02) for s in (-1, 1)],
                0.03,
                0.03,
                STEEL,
                6,
            ),
            capsules([(0.40, -0.34, 1.06)], [(0.40, 0.34, 1.06)], 0.02, 0.02, RUBBER, 6),
            ellipsoid(
                (0.56, 0, 0.92), (0.09, 0.1, 0.1), Surface((0.9, 0.9, 0.85), gloss=0.5, glow=0.5)
            ),
            ellipsoid((-0.86, 0, 0.78), (0.05, 0.08, 0.05), Surface((0.8, 0.03, 0.02), glow=0.5)),
        ]
    )
