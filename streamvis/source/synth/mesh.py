"""Triangle meshes as columns, and the few shapes everything on the street is made of.

Letters: T triangles, N shapes of one call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamvis.source.synth.camera import Camera

Floats = NDArray[np.float32]
Colour = tuple[float, float, float]  # reflectance of red, green, blue, linear, 0 to 1

# Columns of Mesh.vertex.
POSITION, UV, NORMAL = slice(0, 3), slice(3, 5), slice(5, 8)


@dataclass(frozen=True)
class Surface:
    """What a face looks like."""

    colour: Colour = (0.5, 0.5, 0.5)
    texture: int = 0  # a number in the scene's Atlas; 0 is plain white
    gloss: float = 0.0  # 1 reflects the sky as glass does
    glow: float = 0.0  # light of its own, times colour


@dataclass(frozen=True)
class Mesh:
    vertex: Floats  # [T, 3, 8] position (m), uv (m on the texture), unit normal
    colour: Floats  # [T, 3] linear
    material: Floats  # [T, 3] texture number, gloss, glow
    owner: NDArray[np.int32]  # [T] track id of the object; 0 is scenery

    def __len__(self) -> int:
        return len(self.owner)

    def __getitem__(self, rows: NDArray[np.intp]) -> Mesh:
        return Mesh(self.vertex[rows], self.colour[rows], self.material[rows], self.owner[rows])

    def placed(self, x: float, y: float, yaw: float = 0.0, z: float = 0.0) -> Mesh:
        """Turned left by `yaw` radians about z, then moved."""
        cos, sin = np.cos(yaw), np.sin(yaw)
        turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float32)
        vertex = self.vertex.copy()
        vertex[..., POSITION] = vertex[..., POSITION] @ turn + np.array([x, y, z], np.float32)
        vertex[..., NORMAL] = vertex[..., NORMAL] @ turn
        return replace(self, vertex=vertex)

    def scaled(self, size: float) -> Mesh:
        vertex = self.vertex.copy()
        vertex[..., POSITION] *= size
        return replace(self, vertex=vertex)

    def owned_by(self, track_id: int) -> Mesh:
        return replace(self, owner=np.full(len(self), track_id, np.int32))


CLUSTER_M = 12.0


class Clusters:
    """A standing mesh sorted into cells of the ground, so that most of it is skipped at once."""

    def __init__(self, mesh: Mesh) -> None:
        cell = np.floor(mesh.vertex[..., :2].mean(1) / CLUSTER_M).astype(np.int64)
        key = cell[:, 0] * 100_000 + cell[:, 1]
        order = np.argsort(key, kind="stable")
        self._mesh = mesh[order]
        _, start = np.unique(key[order], return_index=True)
        self._rows = np.split(np.arange(len(mesh)), start[1:])
        ball = [_ball(self._mesh.vertex[rows, :, POSITION]) for rows in self._rows]
        self._centre = np.array([centre for centre, _ in ball])
        self._radius = np.array([radius for _, radius in ball])

    def seen_by(self, camera: Camera) -> Mesh:
        """The cells that reach into a camera's view."""
        shown = np.flatnonzero(camera.may_see(self._centre, self._radius))
        return self._mesh[np.concatenate([self._rows[k] for k in shown])]


def _ball(points: Floats) -> tuple[Floats, float]:
    low, high = points.min((0, 1)), points.max((0, 1))
    return (low + high) / 2, float(np.linalg.norm(high - low) / 2)


def merge(meshes: Iterable[Mesh]) -> Mesh:
    parts = list(meshes) or [quads(np.zeros((0, 4, 3)), Surface())]
    return Mesh(
        np.concatenate([m.vertex for m in parts]),
        np.concatenate([m.colour for m in parts]),
        np.concatenate([m.material for m in parts]),
        np.concatenate([m.owner for m in parts]),
    )


def triangles(
    position: NDArray[np.floating],  # [T, 3, 3]
    surface: Surface,
    uv: NDArray[np.floating] | None = None,  # [T, 3, 2]
    normal: NDArray[np.floating] | None = None,  # [T, 3, 3]; None = flat
) -> Mesh:
    count = len(position)
    vertex = np.zeros((count, 3, 8), np.float32)
    vertex[..., POSITION] = position
    vertex[..., NORMAL] = flat_normals(position)[:, None] if normal is None else normal
    if uv is not None:
        vertex[..., UV] = uv
    material = np.array([surface.texture, surface.gloss, surface.glow], np.float32)
    return Mesh(
        vertex,
        np.tile(np.array(surface.colour, np.float32), (count, 1)),
        np.tile(material, (count, 1)),
        np.zeros(count, np.int32),
    )


def flat_normals(position: NDArray[np.floating]) -> NDArray[np.floating]:
    """[T, 3, 3] -> unit normals [T, 3], right-handed in the order of the corners."""
    edge = position[:, 1:] - position[:, :1]
    normal = _cross(edge[:, 0], edge[:, 1])
    return np.asarray(normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9))


def _cross(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """numpy's own spends most of its time on checks when the arrays are small."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)


def quads(
    corners: ArrayLike,  # [N, 4, 3] around the edge
    surface: Surface,
    uv: ArrayLike | None = None,  # [N, 4, 2]
    normal: NDArray[np.floating] | None = None,  # [N, 4, 3]
) -> Mesh:
    def split(values: ArrayLike) -> NDArray[np.floating]:
        values = np.asarray(values, np.float32)
        return np.stack([values[:, [0, 1, 2]], values[:, [0, 2, 3]]], 1).reshape(
            -1, 3, values.shape[-1]
        )

    return triangles(
        split(corners),
        surface,
        None if uv is None else split(uv),
        None if normal is None else split(normal),
    )


def box(
    low: Sequence[float], high: Sequence[float], surface: Surface, *, with_floor: bool = False
) -> Mesh:
    """An upright box between two opposite corners; the floor is rarely seen."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    a, b, c, d = (x0, y0), (x1, y0), (x1, y1), (x0, y1)

    def wall(p: tuple[float, float], q: tuple[float, float]) -> list[tuple[float, ...]]:
        return [(*p, z0), (*q, z0), (*q, z1), (*p, z1)]

    roof: list[tuple[float, ...]] = [(*p, z1) for p in (a, b, c, d)]
    faces = [wall(a, b), wall(b, c), wall(c, d), wall(d, a), roof]
    if with_floor:
        faces.append([(*p, z0) for p in (d, c, b, a)])
    return quads(faces, surface)


def disc(
    centre: Sequence[float], radius: float, surface: Surface, sides: int = 20, start: float = 0.0
) -> Mesh:
    """A flat round plate that faces left (+y)."""
    angle = start + np.linspace(0, 2 * np.pi, sides + 1)
    rim = np.array(centre) + radius * np.stack(
        [np.sin(angle), np.zeros_like(angle), np.cos(angle)], -1
    )
    fan = np.stack([np.broadcast_to(np.array(centre, float), rim[1:].shape), rim[:-1], rim[1:]], 1)
    return triangles(fan, surface)


def capsules(
    start: ArrayLike,  # [N, 3]
    end: ArrayLike,  # [N, 3]
    start_radius: ArrayLike,  # [N] or one for all
    end_radius: ArrayLike,
    surface: Surface,
    sides: int = 8,
) -> Mesh:
    """Round bars with domed ends: limbs, poles, frames, trunks."""
    a, b = np.asarray(start, float), np.asarray(end, float)
    ra, rb = (np.broadcast_to(np.asarray(r, float), len(a)) for r in (start_radius, end_radius))
    axis = b - a
    axis /= np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-9)
    helper = np.where(np.abs(axis[:, 2:]) > 0.9, [1.0, 0, 0], [0, 0, 1.0])
    side = _cross(axis, helper)
    side /= np.linalg.norm(side, axis=-1, keepdims=True)
    other = _cross(axis, side)
    turn = np.linspace(0, 2 * np.pi, sides + 1)
    around = (
        side[:, None] * np.cos(turn)[:, None] + other[:, None] * np.sin(turn)[:, None]
    )  # [N, sides + 1, 3]
    rings, normals = [], []
    for base, radius, lift in (
        (a, ra, -0.97),
        (a, ra, -0.7),
        (a, ra, 0.0),
        (b, rb, 0.0),
        (b, rb, 0.7),
        (b, rb, 0.97),
    ):
        out = around * np.sqrt(1 - lift**2) + (axis * lift)[:, None]
        rings.append(base[:, None] + radius[:, None, None] * out)
        normals.append(out)
    return _tube(np.stack(rings, 1), np.stack(normals, 1), surface)


class Bar(NamedTuple):
    """One capsule of a body that is built from many."""

    start: ArrayLike  # [3]
    end: ArrayLike  # [3]
    start_radius: float
    end_radius: float
    surface: Surface


def bars(items: Sequence[Bar], sides: int = 8) -> Mesh:
    """Capsules of different surfaces at the price of one call: posing a person is all calls."""
    start, end, start_radius, end_radius, surfaces = zip(*items, strict=True)
    mesh = capsules(start, end, start_radius, end_radius, Surface(), sides)
    each = len(mesh) // len(items)
    colour = np.array([s.colour for s in surfaces], np.float32)
    material = np.array([(s.texture, s.gloss, s.glow) for s in surfaces], np.float32)
    return replace(mesh, colour=np.repeat(colour, each, 0), material=np.repeat(material, each, 0))


def _tube(ring: NDArray[np.float64], normal: NDArray[np.float64], surface: Surface) -> Mesh:
    """[N, rings, sides + 1, 3] points and normals -> the skin between neighbours."""

    def cells(grid: NDArray[np.float64]) -> NDArray[np.float64]:
        corner = [grid[:, :-1, :-1], grid[:, :-1, 1:], grid[:, 1:, 1:], grid[:, 1:, :-1]]
        return np.stack(corner, -2).reshape(-1, 4, 3)

    return quads(cells(ring), surface, normal=cells(normal))


def ellipsoid(
    centre: Sequence[float], radii: Sequence[float], surface: Surface, sides: int = 12
) -> Mesh:
    lift = np.linspace(-np.pi / 2, np.pi / 2, sides // 2 + 1)
    turn = np.linspace(0, 2 * np.pi, sides + 1)
    unit = np.stack(
        [
            np.cos(lift)[:, None] * np.cos(turn),
            np.cos(lift)[:, None] * np.sin(turn),
            np.broadcast_to(np.sin(lift)[:, None], (len(lift), len(turn))),
        ],
        -1,
    )
    normal = unit / np.array(radii)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    return _tube((np.array(centre) + unit * np.array(radii))[None], normal[None], surface)


def smooth(mesh: Mesh, crease_deg: float = 40.0) -> Mesh:
    """Shade across edges that bend less than the crease angle."""
    corner = mesh.vertex[..., POSITION].reshape(-1, 3)
    face = np.repeat(flat_normals(mesh.vertex[..., POSITION]), 3, axis=0)
    _, group = np.unique(np.round(corner, 4), axis=0, return_inverse=True)
    normal = np.zeros_like(face)
    limit = np.cos(np.radians(crease_deg))
    for members in np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1]):
        near = face[members] @ face[members].T > limit
        normal[members] = near @ face[members]
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    vertex = mesh.vertex.copy()
    vertex[..., NORMAL] = normal.reshape(-1, 3, 3)
    return replace(mesh, vertex=vertex)
