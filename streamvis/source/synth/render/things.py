"""What stands where, in the form that the renderer draws: one row a thing, grouped by mesh.

Letters: N things of one mesh.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.model.mesh import FAR_M, Colour, Floats, Mesh

# Columns of a row; the vertex shaders read them in this order.
MATRIX, VELOCITY, PAINT, OWNER = slice(0, 12), slice(12, 15), slice(15, 19), 19
ROW_FLOATS = 20


@dataclass(frozen=True)
class Thing:
    mesh: Mesh  # in its own frame; shared meshes are drawn together
    matrix: NDArray[np.float64]  # [3, 4] own frame -> world
    track_id: int = 0  # 0 is scenery
    paint: Colour = (1.0, 1.0, 1.0)
    lamps: int = 0  # bits of Lamp
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)  # m/s, blurs

    def row(self) -> Floats:
        row = np.empty(ROW_FLOATS, np.float32)
        row[MATRIX] = self.matrix.reshape(-1)
        row[VELOCITY], row[PAINT], row[OWNER] = (
            self.velocity,
            (*self.paint, self.lamps),
            self.track_id,
        )
        return row


def placement(
    x: float, y: float, yaw: float = 0.0, z: float = 0.0, size: float = 1.0
) -> NDArray[np.float64]:
    """[3, 4] turned left by `yaw` radians about z, scaled, moved."""
    cos, sin = size * np.cos(yaw), size * np.sin(yaw)
    return np.array([(cos, -sin, 0, x), (sin, cos, 0, y), (0, 0, size, z)])


@dataclass(frozen=True)
class Group:
    """All things of one mesh."""

    mesh: Mesh
    rows: Floats  # [N, ROW_FLOATS]
    centre: NDArray[np.float64] = field(init=False, repr=False)  # [N, 3] world
    radius: NDArray[np.float64] = field(init=False, repr=False)  # [N]

    def __post_init__(self) -> None:
        middle, radius = self.mesh.ball
        matrix = self.rows[:, MATRIX].reshape(-1, 3, 4).astype(float)
        size = np.linalg.norm(matrix[:, :, 0], axis=1)
        object.__setattr__(self, "centre", matrix @ np.append(middle, 1.0))
        object.__setattr__(self, "radius", radius * size)

    def __getitem__(self, keep: NDArray[np.bool_]) -> Group:
        return replace(self, rows=self.rows[keep])

    def by_distance(self, eye: NDArray[np.float64]) -> list[Group]:
        """The near ones, and the far ones as their coarser mesh."""
        if self.mesh.far is None:
            return [self]
        is_far = np.linalg.norm(self.centre - eye, axis=1) > FAR_M
        return [self[~is_far], Group(self.mesh.far, self.rows[is_far])]


def group(things: Iterable[Thing]) -> list[Group]:
    rows: dict[int, list[Floats]] = {}
    meshes: dict[int, Mesh] = {}
    for thing in things:
        meshes[id(thing.mesh)] = thing.mesh
        rows.setdefault(id(thing.mesh), []).append(thing.row())
    return [Group(meshes[key], np.stack(found)) for key, found in rows.items()]
