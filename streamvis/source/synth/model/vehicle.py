"""Motor vehicles: bodies lofted through their measures, wheels that roll, lamps that work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntFlag
from functools import cache

import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.model.body import BODY, Body
from streamvis.source.synth.model.mesh import (
    Bar,
    Colour,
    Kind,
    Mesh,
    Surface,
    bars,
    box,
    cross,
    disc,
    merge,
    quads,
)
from streamvis.source.synth.paint.layers import LAYER, NUM_WHEELS
from streamvis.source.synth.render.things import Thing, placement

RUBBER = Surface((0.018, 0.018, 0.019), gloss=0.04)
DARK = Surface((0.012, 0.012, 0.013))
CHROME = Surface((0.35, 0.36, 0.38), gloss=0.5)

_NEUTRAL: tuple[Colour, ...] = (
    (0.44, 0.45, 0.46),
    (0.70, 0.70, 0.68),
    (0.018, 0.018, 0.020),
    (0.10, 0.105, 0.11),
    (0.26, 0.27, 0.29),
    (0.62, 0.63, 0.64),
    (0.045, 0.05, 0.058),
)
PAINTS: tuple[Colour, ...] = (
    *_NEUTRAL,
    *_NEUTRAL,  # most cars have no colour
    (0.022, 0.06, 0.20),
    (0.34, 0.016, 0.018),
    (0.03, 0.09, 0.06),
    (0.38, 0.30, 0.20),
    (0.06, 0.18, 0.34),
    (0.16, 0.12, 0.10),
    (0.42, 0.09, 0.02),
    (0.10, 0.02, 0.03),
)
LIVERIES: tuple[Colour, ...] = (
    (0.46, 0.02, 0.02),
    (0.04, 0.20, 0.42),
    (0.60, 0.46, 0.05),
    (0.05, 0.28, 0.14),
    (0.62, 0.62, 0.60),
)


class Lamp(IntFlag):
    """The bits that geometry.frag reads."""

    LOW_BEAM = 1
    BRAKE = 2
    LEFT = 4
    RIGHT = 8


@dataclass(frozen=True)
class Vehicle:
    """One vehicle's looks."""

    body: Body
    mesh: Mesh
    length: float
    wheels: tuple[tuple[float, int], ...]  # (x, side) of each
    paint: Colour
    wheel_layer: int

    @property
    def category(self) -> str:
        return self.body.category

    @property
    def width(self) -> float:
        return self.body.width

    @property
    def height(self) -> float:
        return float(self.mesh.position[:, 2].max())

    def things(
        self,
        track_id: int,
        at: tuple[float, float, float],
        velocity: tuple[float, float, float],
        rolled_m: float,
        lamps: int,
    ) -> list[Thing]:
        """Body and wheels at (x, y, yaw)."""
        place = placement(*at)
        things = [Thing(self.mesh, place, track_id, self.paint, lamps, velocity)]
        radius = self.body.wheel_radius
        wheel = wheel_mesh(radius, self.wheel_layer)
        for x, side in self.wheels:
            spin = rolled_m / radius * side
            things.append(
                Thing(
                    wheel,
                    _wheel_place(place, x, side * (self.width / 2 - 0.02), radius, spin, side),
                    track_id,
                    velocity=velocity,
                )
            )
        return things


def _wheel_place(
    place: NDArray[np.float64], x: float, y: float, radius: float, spin: float, side: int
) -> NDArray[np.float64]:
    """Its own frame has the axle along y, the face at y = 0 looking to +y."""
    cos, sin = np.cos(spin), np.sin(spin)
    turn = np.array([(cos, 0, sin), (0, 1, 0), (-sin, 0, cos)])
    if side < 0:
        turn = np.diag([-1.0, -1.0, 1.0]) @ turn
    whole = np.eye(4)
    whole[:3, :3], whole[:3, 3] = turn, (x, y, radius)
    return place @ whole


def random_car(rng: np.random.Generator) -> Vehicle:
    return _random_of(
        rng, {"saloon": 4.0, "estate": 2, "hatch": 4.0, "suv": 3.5, "van": 1.3, "pickup": 0.8}
    )


def random_traffic(rng: np.random.Generator) -> Vehicle:
    """Buses and lorries among the cars."""
    weights = {
        "saloon": 4.0,
        "estate": 2,
        "hatch": 4.0,
        "suv": 3.0,
        "van": 1.3,
        "pickup": 1,
        "bus": 1.3,
        "lorry": 1.5,
    }
    return _random_of(rng, weights)


def _random_of(rng: np.random.Generator, weights: dict[str, float]) -> Vehicle:
    share = np.array(list(weights.values()))
    kind = list(weights)[rng.choice(len(share), p=share / share.sum())]
    paints = LIVERIES if kind == "bus" else PAINTS
    paint = paints[rng.integers(len(paints))]
    if kind in ("van", "lorry") and rng.random() < 0.55:
        paint = (0.72, 0.72, 0.70)
    body, layer = BODY[kind], LAYER[f"wheel_{rng.integers(NUM_WHEELS)}"]
    if kind == "lorry":
        tones = ((0.70, 0.70, 0.68), (0.55, 0.58, 0.62), (0.42, 0.36, 0.26), (0.12, 0.22, 0.38))
        mesh = lorry_mesh(tones[rng.integers(len(tones))])
        wheels = tuple((x, s) for x in (2.75, -1.55) for s in (-1, 1))
        return Vehicle(body, mesh, 7.4, wheels, paint, LAYER["wheel_2"])
    if kind in ("bus", "van"):
        layer = LAYER["wheel_2"]
    wheels = tuple((x, s) for x in body.axles for s in (-1, 1))
    return Vehicle(body, body_mesh(kind), body.length, wheels, paint, layer)


# Points of half a section from under the sill to the roof's middle: share of the way up from sill
# to shoulder, or from shoulder to roof; share of the width.
_LOW = ((0.0, 0.80), (0.0, 0.955), (0.10, 0.985), (0.40, 1.0), (0.75, 0.998), (1.0, 0.972))
_HIGH = (0.06, 0.5, 0.86)


@cache
def body_mesh(kind: str) -> Mesh:
    body = BODY[kind]
    near = [_skin(body, 1.0), *_underside(body), *_mirrors(body)]
    far = [_skin(body, 0.34), _underside(body)[0]]
    return replace(_with_bed(kind, near), far=_with_bed(kind, far))


def _with_bed(kind: str, parts: list[Mesh]) -> Mesh:
    if kind == "pickup":
        bed = Surface((0.03, 0.03, 0.032))
        parts.append(
            quads(
                [
                    [
                        (-2.55, -0.72, 1.105),
                        (-0.95, -0.72, 1.105),
                        (-0.95, 0.72, 1.105),
                        (-2.55, 0.72, 1.105),
                    ]
                ],
                bed,
            )
        )
    return merge(parts)


@cache
def lorry_mesh(tone: Colour) -> Mesh:
    """A cab with a box behind it."""
    cab = body_mesh("lorry")
    assert cab.far is not None
    return replace(_lorry(cab, tone), far=_lorry(cab.far, tone))


def _lorry(cab: Mesh, tone: Colour) -> Mesh:
    panel = Surface(tone, LAYER["panel"], gloss=0.1)
    return merge(
        [
            cab.placed(2.65, 0),
            box((-3.7, -1.22, 1.02), (1.45, 1.22, 3.35), panel, with_floor=True, repeat_m=2.4),
            box((-3.7, -0.5, 0.55), (2.2, 0.5, 1.02), DARK, with_floor=True),
            box((-3.74, -1.2, 0.50), (-3.6, 1.2, 0.66), DARK, with_floor=True),
            *(_lamp_box(-3.75, s * 0.95, 0.86) for s in (-1, 1)),
            *(
                box((-1.0, s * 1.12 - 0.03, 0.5), (1.2, s * 1.12 + 0.03, 0.98), CHROME)
                for s in (-1, 1)
            ),
        ]
    )


def _lamp_box(x: float, y: float, z: float) -> Mesh:
    return box(
        (x, y - 0.15, z),
        (x + 0.08, y + 0.15, z + 0.13),
        Surface((0.5, 0.015, 0.012), gloss=0.3, glow=0.6),
        with_floor=True,
    )


def _stations(body: Body, detail: float) -> NDArray[np.float64]:
    half = body.length / 2
    count = int(np.clip(body.length * 8, 20, 46) * detail)
    near_ends = np.array([-half + 0.03, half - 0.03, -half + 0.09, half - 0.09])
    xs: list[NDArray[np.floating]] = [np.linspace(-half, half, count), near_ends]
    for axle in body.axles:
        mouth = body.arch_radius
        xs.append(axle + mouth * np.cos(np.linspace(0.02, np.pi - 0.02, 11 if detail == 1 else 5)))
        xs.append(axle + mouth * np.array([-1.002, 1.002]))
    every = np.unique(np.round(np.concatenate(xs), 4))
    return np.asarray(every[np.append(True, np.diff(every) > 1e-3)])


def _sections(body: Body, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """[S, P, 3] points over each station, from the right sill over the roof to the left."""
    top, shoulder, bottom = body.top(x), body.shoulder(x), body.bottom(x)
    wide = body.half_width(x)
    rise = np.clip((top - shoulder) / (body.height - shoulder.max() + 1e-6), 0, 1)
    roof = wide * (0.95 + (body.tumble - 0.95) * rise)
    edge = np.minimum(0.06 + 0.03 * rise, 0.6 * (top - shoulder))
    half: list[tuple[NDArray[np.floating], NDArray[np.floating]]] = [
        (share * wide, bottom + up * (shoulder - bottom)) for up, share in _LOW
    ]
    for up in _HIGH:
        half.append(
            (
                0.955 * wide + (roof - 0.955 * wide) * up**1.25,
                shoulder + up * (top - edge - shoulder),
            )
        )
    half += [
        (roof * 0.955, top - 0.45 * edge),
        (roof * 0.86, top - 0.14 * edge),
        (roof * 0.5, top),
        (roof * 0.0, top + 0.012),
    ]
    left = np.stack([np.stack([x, y, z], -1) for y, z in half], 1)
    right = left[:, -2::-1] * np.array([1.0, -1.0, 1.0])
    return np.concatenate([left, right], 1)


def _skin(body: Body, detail: float) -> Mesh:
    x = _stations(body, detail)
    points = _sections(body, x)
    ends = [_end(points[0], -1), _end(points[-1], 1)]
    points = np.concatenate([ends[0][None], points, ends[1][None]])
    count = points.shape[1]
    corner = np.arange(points.shape[0] * count).reshape(-1, count)
    cells = np.stack([corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]], -1)
    flat = points.reshape(-1, 3)
    face = cross(
        flat[cells[..., 2]] - flat[cells[..., 0]], flat[cells[..., 3]] - flat[cells[..., 1]]
    )
    face /= np.maximum(np.linalg.norm(face, axis=-1, keepdims=True), 1e-9)
    total = np.zeros_like(flat)
    for k in range(4):
        np.add.at(total, cells[..., k], face)
    total /= np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-9)
    smooth, own = total[cells], np.repeat(face[..., None, :], 4, -2)
    bent = (own * smooth).sum(-1, keepdims=True) < np.cos(np.radians(38))
    normal = np.where(bent, own, smooth)
    uv = _unwrap(body, flat[cells], face)
    surface = Surface((1, 1, 1), LAYER[body.name], kind=Kind.VEHICLE)
    return quads(
        flat[cells].reshape(-1, 4, 3), surface, uv.reshape(-1, 4, 2), normal.reshape(-1, 4, 3)
    )


def _end(section: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Nose or tail: the last section drawn in to its middle."""
    middle = np.array([section[0, 0] + side * 0.012, 0.0, section[:, 2].mean()])
    flat = section.copy()
    flat[:, 1] *= 0.0
    flat[:, 0] = middle[0]
    return flat


# Where a body's views lie in its layer: left, low, width, height, in shares.
SIDE_VIEW, FRONT_VIEW, REAR_VIEW = (0.0, 0.5, 1.0, 0.5), (0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 0.5, 0.5)
VIEW_MARGIN_M = 0.06
PLAIN_PAINT_UV = (0.5, 0.996)  # a corner of the side view that is never but paint


def view_uv(
    body: Body,
    view: tuple[float, float, float, float],
    across: NDArray[np.floating],
    z: NDArray[np.floating],
) -> NDArray[np.floating]:
    """[..., 2]: metres along x or y, and above the ground, to the layer."""
    left, low, wide, high = view
    span = (body.length if view == SIDE_VIEW else body.width) + 2 * VIEW_MARGIN_M
    u = left + wide * (across / span + 0.5)
    v = low + high * 0.97 * z / (body.height + VIEW_MARGIN_M)
    return np.stack([u, v], -1)


def _unwrap(
    body: Body, corner: NDArray[np.float64], face: NDArray[np.floating]
) -> NDArray[np.floating]:
    """uv [A, B, 4, 2] of cells [A, B, 4, 3] with normals [A, B, 3]."""
    x, y, z = np.moveaxis(corner, -1, 0)
    side = view_uv(body, SIDE_VIEW, x, z)
    front, rear = view_uv(body, FRONT_VIEW, y, z), view_uv(body, REAR_VIEW, -y, z)
    middle = x.mean(-1)
    is_top = np.zeros(middle.shape, bool)
    first = len(_LOW) + len(_HIGH) - 1
    is_top[:, first : is_top.shape[1] - first] = True
    # Painted from ahead: nose, windscreen; from behind: tail, rear glass; the other top is plain.
    is_cap = np.zeros(middle.shape, bool)
    is_cap[0] = is_cap[-1] = True
    foot, head = body.windscreen[0] + 0.08, body.windscreen[1] - 0.08
    on_screen = is_top & (middle < foot) & (middle > head)
    uv = side
    plain = is_top & ~on_screen
    uv = np.where(plain[..., None, None], np.array(PLAIN_PAINT_UV), uv)
    uv = np.where(on_screen[..., None, None], front, uv)
    if body.rear_glass is not None:
        low, high = body.rear_glass[0] - 0.06, body.rear_glass[1] + 0.08
        behind = is_top & (middle > low) & (middle < high)
        uv = np.where(behind[..., None, None], rear, uv)
    near_nose = is_cap | ((np.abs(face[..., 0]) > 0.8) & (np.abs(middle) > body.length / 2 - 0.2))
    uv = np.where((near_nose & (middle > 0))[..., None, None], front, uv)
    return np.asarray(np.where((near_nose & (middle < 0))[..., None, None], rear, uv))


def _underside(body: Body) -> list[Mesh]:
    half, w = body.length / 2, body.width / 2
    low = body.clearance
    parts = [
        box(
            (-half * 0.88, -w * 0.80, low - 0.03),
            (half * 0.88, w * 0.80, low + 0.12),
            DARK,
            with_floor=True,
        )
    ]
    for axle in body.axles:
        r = body.arch_radius
        parts.append(
            box((axle - r, -w * 0.78, low), (axle + r, w * 0.78, body.wheel_radius + r), DARK)
        )
        parts += [_lining(axle, s, w, body) for s in (-1, 1)]
    return parts


def _lining(axle: float, side: int, w: float, body: Body) -> Mesh:
    """The dark inside of a wheel's mouth."""
    angle = np.linspace(-0.15, np.pi + 0.15, 12)
    rim = np.stack(
        [
            axle + body.arch_radius * np.cos(angle),
            body.wheel_radius + body.arch_radius * np.sin(angle),
        ],
        -1,
    )
    outer, inner = (np.insert(rim, 1, side * y, axis=1) for y in (w * 0.975, w * 0.70))
    return quads(np.stack([outer[:-1], outer[1:], inner[1:], inner[:-1]], 1), DARK)


def _mirrors(body: Body) -> list[Mesh]:
    if body.name in ("bus", "lorry"):
        x, z, y = body.windscreen[0] - 0.05, 2.05, body.width / 2 + 0.14
        arm = [
            Bar((x - 0.1, s * (y - 0.2), z + 0.1), (x + 0.06, s * y, z), 0.02, 0.02, DARK)
            for s in (-1, 1)
        ]
        heads = [
            Bar((x + 0.06, s * y, z - 0.16), (x + 0.06, s * y, z + 0.12), 0.075, 0.075, DARK)
            for s in (-1, 1)
        ]
        return [bars(arm + heads, 7)]
    x, z = (
        body.windscreen[0] - 0.42,
        float(body.shoulder(np.array([body.windscreen[0] - 0.4]))[0]) + 0.07,
    )
    y = body.width / 2
    shells = []
    for s in (-1, 1):
        shell = build_ball((x, s * (y + 0.06), z), (0.07, 0.12, 0.075))
        shells.append(shell)
    return shells


def build_ball(centre: Sequence[float], radii: Sequence[float]) -> Mesh:
    from streamvis.source.synth.model.mesh import ellipsoid

    surface = Surface((1, 1, 1), LAYER["saloon"], kind=Kind.VEHICLE)
    mesh = ellipsoid(centre, radii, surface, 8)
    mesh.uv[:] = PLAIN_PAINT_UV
    return mesh


@cache
def wheel_mesh(radius: float, layer: int) -> Mesh:
    """Axle along y, the face at y = 0 looking to +y."""
    return replace(_wheel(radius, layer, 20), far=_wheel(radius, layer, 9))


def _wheel(radius: float, layer: int, sides: int, width: float = 0.22) -> Mesh:
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    profile = ((0.0, 0.88), (0.012, 0.95), (-0.035, 1.0), (-width, 1.0))
    rings = np.stack(
        [
            np.stack(
                [r * radius * np.sin(angle), np.full(sides + 1, y), r * radius * np.cos(angle)], -1
            )
            for y, r in profile
        ]
    )
    skin = np.stack([rings[:-1, :-1], rings[:-1, 1:], rings[1:, 1:], rings[1:, :-1]], 2).reshape(
        -1, 4, 3
    )
    face = disc((0, -0.002, 0), radius * 0.9, Surface((1, 1, 1), layer, gloss=0.25), sides)
    hidden = disc((0, -width, 0), radius, DARK, sides // 2)
    return merge([quads(skin, RUBBER), face, hidden])
