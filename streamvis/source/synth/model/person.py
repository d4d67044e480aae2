"""Walking people, cyclists and motorcyclists: jointed bars posed by a phase.

Own frame: x ahead, y left, z up, the origin on the ground under the hips.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.model.mesh import (
    Bar,
    Colour,
    Mesh,
    Surface,
    bars,
    box,
    ellipsoid,
    merge,
    tube,
)
from streamvis.source.synth.paint.layers import LAYER

TOPS: tuple[Colour, ...] = (
    (0.03, 0.04, 0.07),
    (0.28, 0.03, 0.03),
    (0.05, 0.12, 0.26),
    (0.55, 0.53, 0.49),
    (0.018, 0.018, 0.02),
    (0.26, 0.18, 0.09),
    (0.05, 0.15, 0.09),
    (0.52, 0.32, 0.05),
    (0.15, 0.05, 0.15),
    (0.26, 0.32, 0.40),
    (0.10, 0.10, 0.11),
    (0.62, 0.20, 0.10),
    (0.05, 0.26, 0.30),
)
TROUSERS: tuple[Colour, ...] = (
    (0.025, 0.04, 0.09),
    (0.05, 0.085, 0.17),
    (0.016, 0.016, 0.018),
    (0.08, 0.08, 0.085),
    (0.24, 0.19, 0.12),
    (0.04, 0.035, 0.03),
    (0.14, 0.18, 0.26),
)
SKINS: tuple[Colour, ...] = (
    (0.58, 0.34, 0.24),
    (0.44, 0.25, 0.16),
    (0.26, 0.13, 0.08),
    (0.12, 0.06, 0.04),
)
HAIRS: tuple[Colour, ...] = (
    (0.014, 0.011, 0.010),
    (0.05, 0.028, 0.014),
    (0.26, 0.16, 0.06),
    (0.30, 0.29, 0.28),
)
STEEL = Surface((0.30, 0.31, 0.33), gloss=0.3)
RUBBER = Surface((0.02, 0.02, 0.02))

# Rings of a trunk from the crotch to the neck: metres above the hip joint, half width, half depth.
_TRUNK = (
    (-0.10, 0.130, 0.095),
    (-0.02, 0.172, 0.118),
    (0.06, 0.165, 0.112),
    (0.16, 0.150, 0.105),
    (0.28, 0.168, 0.118),
    (0.40, 0.192, 0.122),
    (0.475, 0.185, 0.105),
    (0.52, 0.120, 0.080),
    (0.55, 0.062, 0.062),
)
# A coat hangs straighter and falls to the knee.
_COAT = (
    (-0.42, 0.215, 0.165),
    (-0.25, 0.205, 0.155),
    *((z, 1.10 * w, 1.14 * d) for z, w, d in _TRUNK[1:]),
)


@dataclass(frozen=True)
class Person:
    """One person's looks; `walking` and `riding` pose them."""

    height: float  # m
    top: Surface
    legs: Surface
    skin: Surface
    hair: Surface
    bag: Surface
    shoe: Surface
    has_bag: bool
    has_coat: bool
    has_long_hair: bool
    has_helmet: bool = False

    @property
    def stride_m(self) -> float:
        """Ground covered in one full cycle of both legs."""
        return 0.82 * self.height

    def walking(self, walked_m: float) -> Mesh:
        """Mid-step; the legs swing with the way walked."""
        phase = 2 * np.pi * walked_m / self.stride_m
        swing = 0.46 * np.sin(phase)
        hip = np.array([0, 0, 0.92 - 0.02 * np.cos(2 * phase)])
        parts = self._head(hip, 0.05)
        for side, turn in ((1, swing), (-1, -swing)):
            lift = max(0.0, float(np.cos(phase) * side)) * 0.75 + 0.06
            parts += self._leg(hip, side, turn, lift)
            parts += self._arm(hip, side, -0.8 * turn, 0.35)
        body = merge([bars(parts, 7), self._torso(hip, 0.05)])
        return replace(body.scaled(self.height / 1.76), is_fleeting=True)

    def riding(self, pedalled: float) -> Mesh:
        """On a saddle 0.95 m up, hands ahead, feet on pedals turned by `pedalled` radians."""
        hip = np.array([-0.22, 0, 1.0])
        parts = self._head(hip, 0.55)
        for side in (1, -1):
            turn = pedalled + (0 if side > 0 else np.pi)
            foot = np.array([0.02 + 0.17 * np.cos(turn), side * 0.11, 0.3 + 0.17 * np.sin(turn)])
            top = hip + _xyz(0.05, side * 0.1, -0.02)
            knee = _joint(top, foot, 0.44, 0.44, np.array([1.0, 0, 0.4]))
            parts += [
                Bar(top, knee, 0.085, 0.065, self.legs),
                Bar(knee, foot, 0.06, 0.045, self.legs),
            ]
            parts.append(self._foot(foot))
            shoulder = hip + _xyz(0.26, side * 0.19, 0.42)
            hand = np.array([0.40, side * 0.25, 1.08])
            elbow = _joint(shoulder, hand, 0.28, 0.28, np.array([-0.3, side * 0.25, -1.0]))
            parts += [
                Bar(shoulder, elbow, 0.055, 0.045, self.top),
                Bar(elbow, hand, 0.045, 0.038, self.top),
                Bar(hand, hand + _xyz(0.05, 0, 0), 0.042, 0.04, self.skin),
            ]
        return replace(merge([bars(parts, 7), self._torso(hip, 0.55)]), is_fleeting=True)

    def standing(self) -> Mesh:
        """Both feet together, arms down."""
        return self.walking(0.0)

    def _torso(self, hip: NDArray[np.float64], lean: float) -> Mesh:
        up, ahead = _xyz(np.sin(lean), 0, np.cos(lean)), _xyz(np.cos(lean), 0, -np.sin(lean))
        turn = np.linspace(0, 2 * np.pi, 10, endpoint=False)[:, None]
        rings = [
            hip + up * z + np.cos(turn) * d * ahead + np.sin(turn) * w * _xyz(0, 1, 0)
            for z, w, d in (_COAT if self.has_coat and lean < 0.3 else _TRUNK)
        ]
        mesh = tube(np.array(rings), self.top)
        if self.has_coat:
            return mesh
        is_low = ((mesh.position - hip) @ up) < 0.03
        mesh.colour[is_low] = self.legs.colour
        return mesh

    def _head(self, hip: NDArray[np.float64], lean: float) -> list[Bar]:
        up = _xyz(np.sin(lean), 0, np.cos(lean))
        neck, head = hip + 0.52 * up, hip + 0.665 * up
        parts = [
            Bar(neck - 0.04 * up, head, 0.056, 0.055, self.skin),
            Bar(
                head + _xyz(0.018, 0, -0.005), head + _xyz(0.010, 0, 0.075), 0.070, 0.085, self.skin
            ),
            Bar(head + _xyz(0.085, 0, 0.035), head + _xyz(0.10, 0, 0.015), 0.014, 0.018, self.skin),
        ]
        hair = self.hair
        if self.has_helmet:
            hair = Surface(self.bag.colour, gloss=0.3)
            parts.append(
                Bar(head + _xyz(-0.03, 0, 0.10), head + _xyz(0.05, 0, 0.10), 0.105, 0.095, hair)
            )
        else:
            parts.append(
                Bar(head + _xyz(-0.030, 0, 0.03), head + _xyz(-0.012, 0, 0.095), 0.084, 0.089, hair)
            )
        if self.has_long_hair:
            parts.append(
                Bar(head + _xyz(-0.05, 0, 0.04), head + _xyz(-0.07, 0, -0.15), 0.075, 0.06, hair)
            )
        for side in (1, -1) if self.has_bag else ():
            back = hip - _xyz(0.20, 0, 0) + side * _xyz(0, 0.055, 0)
            parts.append(Bar(back + 0.15 * up, back + 0.42 * up, 0.105, 0.095, self.bag))
        return parts

    def _leg(self, hip: NDArray[np.float64], side: int, swing: float, bend: float) -> list[Bar]:
        top = hip + _xyz(0, side * 0.09, -0.02)
        knee = top + 0.44 * np.array([np.sin(swing), 0, -np.cos(swing)])
        ankle = knee + 0.42 * np.array([np.sin(swing - bend), 0, -np.cos(swing - bend)])
        return [
            Bar(top, knee, 0.09, 0.068, self.legs),
            Bar(knee, ankle, 0.065, 0.05, self.legs),
            self._foot(ankle),
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

    def _foot(self, ankle: NDArray[np.float64]) -> Bar:
        return Bar(
            ankle - _xyz(0.03, 0, 0.03), ankle + _xyz(0.15, 0, -0.045), 0.048, 0.042, self.shoe
        )


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


def random_person(rng: np.random.Generator, *, rides: bool = False) -> Person:
    def pick(tones: tuple[Colour, ...], layer: str = "white") -> Surface:
        return Surface(tones[rng.integers(len(tones))], LAYER[layer])

    tone = float(rng.choice([0.02, 0.02, 0.10, 0.6]))
    return Person(
        height=float(rng.uniform(1.55, 1.90)),
        top=pick(TOPS),
        legs=pick(TROUSERS),
        skin=pick(SKINS),
        hair=pick(HAIRS),
        bag=pick(TOPS),
        shoe=Surface((tone, 0.95 * tone, 0.9 * tone)),
        has_bag=bool(rng.random() < 0.3),
        has_coat=bool(rng.random() < 0.3),
        has_long_hair=bool(rng.random() < 0.4),
        has_helmet=rides and bool(rng.random() < 0.7),
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
    return replace(bars(parts, sides=5), is_fleeting=True)


def motorcycle(paint: Surface) -> Mesh:
    """A standard motorcycle with its engine between fat wheels."""
    parts = _ring(0.70, 0.31, 0.24, 0.07, RUBBER) + _ring(-0.66, 0.31, 0.24, 0.08, RUBBER)
    parts += [
        Bar((0.70, s * 0.09, 0.31), (0.44, s * 0.09, 1.02), 0.03, 0.03, STEEL) for s in (-1, 1)
    ]
    parts += [
        Bar((-0.66, s * 0.10, 0.31), (-0.1, s * 0.12, 0.42), 0.035, 0.03, STEEL) for s in (-1, 1)
    ]
    parts.append(Bar((-0.72, -0.16, 0.36), (0.1, -0.15, 0.34), 0.05, 0.035, STEEL))
    parts.append(Bar((-0.70, 0, 0.86), (-0.08, 0, 0.82), 0.10, 0.13, RUBBER))
    parts.append(Bar((0.40, -0.36, 1.08), (0.40, 0.36, 1.08), 0.02, 0.02, RUBBER))
    lamp = Surface((0.9, 0.9, 0.85), gloss=0.5, glow=2.5)
    return merge(
        [
            bars(parts, 7),
            ellipsoid((0.06, 0, 0.50), (0.30, 0.17, 0.22), STEEL, 10),
            ellipsoid((0.18, 0, 0.88), (0.32, 0.18, 0.17), paint),
            box((-0.88, -0.08, 0.62), (-0.55, 0.08, 0.74), paint),
            ellipsoid((0.56, 0, 0.94), (0.08, 0.10, 0.10), lamp),
            ellipsoid((-0.88, 0, 0.78), (0.04, 0.08, 0.05), Surface((0.8, 0.03, 0.02), glow=0.8)),
        ]
    )
