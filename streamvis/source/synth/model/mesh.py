"""Triangle meshes as columns, and the few shapes everything on the street is made of.

Letters: V vertices, F faces, N shapes of one call. Own frames: x ahead, y left, z up, metres.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Colour = tuple[float, float, float]  # reflectance of red, green, blue, linear, 0 to 1


class Kind(IntEnum):
    """How the renderer reads a face's texture; the numbers are those of geometry.frag."""

    PLAIN = 0  # texture tints colour
    CUTOUT = 1  # alpha cuts holes: leaves, fences
    VEHICLE = 2  # alpha is the share of body paint; the next layer holds gloss and lamps
    ROAD = 3  # asphalt; wet when it rains
    MARK = 4  # worn paint over asphalt
    WINDOW = 5  # glass before a room that may be lit at night
    PAVING = 6  # slabs; wet when it rains


FAR_M = 38.0


@dataclass(frozen=True)
class Surface:
    """What a face looks like."""

    colour: Colour = (0.5, 0.5, 0.5)
    layer: int = 0  # of the scene's texture array; 0 is plain white
    gloss: float = 0.0  # 1 reflects as glass does
    glow: float = 0.0  # light of its own, times colour
    kind: Kind = Kind.PLAIN


@dataclass(frozen=True, eq=False)
class Mesh:
    position: Floats  # [V, 3] m
    normal: Floats  # [V, 3] unit
    uv: Floats  # [V, 2] texture repeats
    colour: Floats  # [V, 3] linear
    material: Floats  # [V, 4] layer, kind, gloss, glow
    faces: NDArray[np.int32]  # [F, 3]
    casts: bool = True  # throws a shadow
    is_fleeting: bool = False  # posed for one moment; nobody else draws it
    far: Mesh | None = None  # a coarser one that looks the same from FAR_M on

    def __len__(self) -> int:
        return len(self.faces)

    def placed(self, x: float, y: float, yaw: float = 0.0, z: float = 0.0) -> Mesh:
        """Turned left by `yaw` radians about z, then moved."""
        cos, sin = np.cos(yaw), np.sin(yaw)
        turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float32)
        position = self.position @ turn + np.array([x, y, z], np.float32)
        return replace(self, position=position, normal=self.normal @ turn)

    def scaled(self, size: float) -> Mesh:
        return replace(self, position=self.position * np.float32(size))

    @cached_property
    def has_holes(self) -> bool:
        return bool((self.material[:, 1] == Kind.CUTOUT).any())

    @cached_property
    def ball(self) -> tuple[NDArray[np.float64], float]:
        """Centre and radius of a sphere around it."""
        low, high = self.position.min(0), self.position.max(0)
        return np.asarray(low + high, float) / 2, float(np.linalg.norm(high - low) / 2)


def merge(meshes: Iterable[Mesh]) -> Mesh:
    parts = list(meshes) or [quads(np.zeros((0, 4, 3)), Surface())]
    start = np.cumsum([0] + [len(m.position) for m in parts[:-1]])
    return Mesh(
        np.concatenate([m.position for m in parts]),
        np.concatenate([m.normal for m in parts]),
        np.concatenate([m.uv for m in parts]),
        np.concatenate([m.colour for m in parts]),
        np.concatenate([m.material for m in parts]),
        np.concatenate([m.faces + s for m, s in zip(parts, start, strict=True)]).astype(np.int32),
    )


def build(
    position: ArrayLike,  # [V, 3]
    normal: ArrayLike,  # [V, 3]
    faces: ArrayLike,  # [F, 3]
    surface: Surface,
    uv: ArrayLike | None = None,  # [V, 2]
) -> Mesh:
    position = np.asarray(position, np.float32).reshape(-1, 3)
    count = len(position)
    material = (surface.layer, int(surface.kind), surface.gloss, surface.glow)
    return Mesh(
        position,
        np.asarray(normal, np.float32).reshape(-1, 3),
        np.zeros((count, 2), np.float32) if uv is None else np.asarray(uv, np.float32),
        np.tile(np.array(surface.colour, np.float32), (count, 1)),
        np.tile(np.array(material, np.float32), (count, 1)),
        np.asarray(faces, np.int32).reshape(-1, 3),
    )


def _unit(vector: NDArray[np.floating]) -> NDArray[np.floating]:
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.asarray(vector / np.maximum(length, 1e-9))


def cross(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """numpy's own spends most of its time on checks when the arrays are small."""
    ax, ay, az = (a[..., k] for k in range(3))
    bx, by, bz = (b[..., k] for k in range(3))
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)


def quads(
    corners: ArrayLike,  # [N, 4, 3] around the edge
    surface: Surface,
    uv: ArrayLike | None = None,  # [N, 4, 2]
    normal: ArrayLike | None = None,  # [N, 4, 3]; None = flat
) -> Mesh:
    corner = np.asarray(corners, np.float32).reshape(-1, 4, 3)
    if normal is None:
        flat = _unit(cross(corner[:, 2] - corner[:, 0], corner[:, 3] - corner[:, 1]))
        normal = np.repeat(flat[:, None], 4, 1)
    first = 4 * np.arange(len(corner))[:, None, None]
    faces = first + np.array([[0, 1, 2], [0, 2, 3]])
    flat_uv = None if uv is None else np.asarray(uv, np.float32).reshape(-1, 2)
    return build(corner, np.asarray(normal), faces, surface, flat_uv)


def floor(
    x0: float, x1: float, y0: float, y1: float, z: float, surface: Surface, repeat_m: float = 1.0
) -> Mesh:
    """A level rectangle; uv counts `repeat_m` from its own lower left corner."""
    corners = [(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)]
    u, v = (x1 - x0) / repeat_m, (y1 - y0) / repeat_m
    return quads([corners], surface, [[(0, 0), (u, 0), (u, v), (0, v)]])


def box(
    low: Sequence[float],
    high: Sequence[float],
    surface: Surface,
    *,
    with_floor: bool = False,
    repeat_m: float = 1.0,
) -> Mesh:
    """An upright box between two opposite corners; the floor is rarely seen."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    a, b, c, d = (x0, y0), (x1, y0), (x1, y1), (x0, y1)
    lx, ly, lz = ((p - q) / repeat_m for p, q in zip(high, low, strict=True))

    def wall(p: tuple[float, float], q: tuple[float, float]) -> list[tuple[float, ...]]:
        return [(*p, z0), (*q, z0), (*q, z1), (*p, z1)]

    def sheet(u: float, v: float) -> list[tuple[float, float]]:
        return [(0, 0), (u, 0), (u, v), (0, v)]

    roof: list[tuple[float, ...]] = [(*p, z1) for p in (a, b, c, d)]
    faces = [wall(a, b), wall(b, c), wall(c, d), wall(d, a), roof]
    uv = [sheet(lx, lz), sheet(ly, lz), sheet(lx, lz), sheet(ly, lz), sheet(lx, ly)]
    if with_floor:
        faces.append([(*p, z0) for p in (d, c, b, a)])
        uv.append(sheet(lx, ly))
    return quads(faces, surface, uv)


def grid(
    points: NDArray[np.floating],  # [A, B, 3]
    surface: Surface,
    uv: NDArray[np.floating] | None = None,  # [A, B, 2]
    crease_deg: float | None = None,
) -> Mesh:
    """The skin over a sheet of points, smooth; flat across edges sharper than the crease."""
    points = np.asarray(points, float)
    a, b = points.shape[:2]
    corner = np.arange(a * b).reshape(a, b)
    around = [corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]]
    cells = np.stack(around, -1).reshape(-1, 4)
    flat = points.reshape(-1, 3)
    face = cross(flat[cells[:, 2]] - flat[cells[:, 0]], flat[cells[:, 3]] - flat[cells[:, 1]])
    total = np.zeros_like(flat)
    for k in range(4):
        np.add.at(total, cells[:, k], face)
    sheet = None if uv is None else np.asarray(uv).reshape(-1, 2)
    if crease_deg is None:
        faces = cells[:, [[0, 1, 2], [0, 2, 3]]]
        return build(flat, _unit(total), faces, surface, sheet)
    own = np.repeat(_unit(face)[:, None], 4, 1)
    smooth = _unit(total)[cells]
    bent = (own * smooth).sum(-1, keepdims=True) < np.cos(np.radians(crease_deg))
    normal = np.where(bent, own, smooth)
    return quads(flat[cells], surface, None if sheet is None else sheet[cells], normal)


def disc(
    centre: Sequence[float], radius: float, surface: Surface, sides: int = 20, start: float = 0.0
) -> Mesh:
    """A flat round plate that faces left (+y); its texture fills the circle's square."""
    angle = start + np.linspace(0, 2 * np.pi, sides, endpoint=False)
    rim = np.stack([np.sin(angle), np.zeros(sides), np.cos(angle)], -1)
    points = np.concatenate([[np.zeros(3)], rim]) * radius + np.array(centre)
    uv = 0.5 + 0.5 * np.concatenate([[(0, 0)], rim[:, [0, 2]]])
    k = np.arange(sides)
    faces = np.stack([np.zeros(sides), 1 + k, 1 + (k + 1) % sides], -1)
    return build(points, np.tile((0.0, 1.0, 0.0), (sides + 1, 1)), faces, surface, uv)


class Bar(NamedTuple):
    """One round bar with domed ends: limbs, poles, frames, trunks."""

    start: ArrayLike  # [3]
    end: ArrayLike  # [3]
    start_radius: float
    end_radius: float
    surface: Surface


_DOMES = ((0, -0.96), (0, -0.65), (0, 0.0), (1, 0.0), (1, 0.65), (1, 0.96))  # which end, lift


def bars(items: Sequence[Bar], sides: int = 8) -> Mesh:
    """Bars of different surfaces at the price of one call: posing a person is all calls."""
    ends = np.array([(np.asarray(b.start), np.asarray(b.end)) for b in items], float)
    radii = np.array([(b.start_radius, b.end_radius) for b in items])
    axis = _unit(ends[:, 1] - ends[:, 0])
    helper = np.where(np.abs(axis[:, 2:]) > 0.9, [1.0, 0, 0], [0, 0, 1.0])
    side = _unit(cross(axis, helper))
    other = cross(axis, side)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)[:, None]
    around = side[:, None] * np.cos(turn) + other[:, None] * np.sin(turn)  # [N, sides, 3]
    rings, normals = [], []
    for end, lift in _DOMES:
        out = around * np.sqrt(1 - lift**2) + (axis * lift)[:, None]
        rings.append(ends[:, end, None] + radii[:, end, None, None] * out)
        normals.append(out)
    count = len(_DOMES) * sides
    position = np.stack(rings, 1).reshape(-1, 3)  # [N, rings, sides, 3]
    faces = (np.arange(len(items)) * count)[:, None, None] + _ring_faces(len(_DOMES), sides)
    mesh = build(position, np.stack(normals, 1), faces, Surface())
    colour = np.array([b.surface.colour for b in items], np.float32)
    material = [(s.layer, int(s.kind), s.gloss, s.glow) for s in (b.surface for b in items)]
    return replace(
        mesh,
        colour=np.repeat(colour, count, 0),
        material=np.repeat(np.array(material, np.float32), count, 0),
    )


def _ring_faces(rings: int, sides: int) -> NDArray[np.intp]:
    """[F, 3] the skin between neighbouring rings of points."""
    k = np.arange(sides)
    low = np.arange(rings - 1)[:, None] * sides
    a, b = low + k, low + (k + 1) % sides
    c, d = b + sides, a + sides
    return np.stack([a, b, c, a, c, d], -1).reshape(-1, 3)


def tube(
    rings: NDArray[np.floating], surface: Surface, *, closed: bool = True
) -> Mesh:  # [R, S, 3]
    """A smooth skin around rings of points, with flat caps."""
    rings = np.asarray(rings, float)
    around = np.concatenate([rings, rings[:, :1]], 1)
    skin = grid(around, surface)
    if not closed:
        return skin
    caps = []
    for ring in (rings[0], rings[-1][::-1]):
        points = np.concatenate([[ring.mean(0)], ring])
        k = np.arange(len(ring))
        faces = np.stack([np.zeros(len(ring)), 1 + k, 1 + (k + 1) % len(ring)], -1)
        normal = _unit(cross(ring[1] - ring[0], ring[2] - ring[1]))
        caps.append(build(points, np.tile(normal, (len(points), 1)), faces, surface))
    return merge([skin, *caps])


def ellipsoid(
    centre: Sequence[float], radii: Sequence[float], surface: Surface, sides: int = 12
) -> Mesh:
    lift = np.linspace(-np.pi / 2, np.pi / 2, sides // 2 + 1)
    turn = np.linspace(0, 2 * np.pi, sides + 1)
    level, rise = np.cos(lift)[:, None], np.sin(lift)[:, None] * np.ones(len(turn))
    unit = np.stack([level * np.cos(turn), level * np.sin(turn), rise], -1)
    points = np.array(centre) + unit * np.array(radii)
    mesh = grid(points, surface)
    return replace(mesh, normal=_unit(unit / np.array(radii)).reshape(-1, 3).astype(np.float32))
