"""A z-buffer in numpy: triangles to rows, rows to pixels, the nearest wins.

No loop runs per triangle. Letters: T triangles, R rows of triangles, F fragments, K values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.camera import Camera
from streamvis.source.synth.mesh import POSITION, Floats, Mesh

NEAR_M = 0.15


@dataclass(frozen=True)
class Fragments:
    """Every pixel of every triangle, hidden or not."""

    pixel: NDArray[np.int32]  # [F] row * width + column
    triangle: NDArray[np.int32]  # [F]
    nearness: Floats  # [F] larger is nearer, > 0


@dataclass(frozen=True)
class ScreenTriangles:
    """Triangles of a mesh that may be in the picture, cut at the near plane."""

    screen: NDArray[np.float64]  # [T, 3, 2] px
    depth: NDArray[np.float64]  # [T, 3] m along the optical axis
    vertex: Floats  # [T, 3, 8] as Mesh.vertex
    source: NDArray[np.intp]  # [T] row in the mesh


def project(mesh: Mesh, camera: Camera) -> ScreenTriangles:
    optical = camera.to_optical(mesh.vertex[..., POSITION])
    source = np.flatnonzero(_may_be_seen(optical, camera))
    vertex, depth = mesh.vertex[source], optical[source, :, 2]
    vertex, kept = _cut_near(vertex, depth)
    source = source[kept]
    optical = camera.to_optical(vertex[..., POSITION])
    return ScreenTriangles(camera.project(optical), optical[..., 2], vertex, source)


def _may_be_seen(optical: NDArray[np.float64], camera: Camera) -> NDArray[np.bool_]:
    """[T] False for triangles wholly outside one plane of the view."""
    x, y, z = np.moveaxis(optical, -1, 0)
    wide, high = (half / camera.focal_px for half in camera.centre_px)
    seen = (z > NEAR_M).any(1)
    for side, reach in ((x, wide), (y, high)):
        seen &= (side < z * reach).any(1) & (side > -z * reach).any(1)
    return np.asarray(seen, np.bool_)


def _cut_near(vertex: Floats, depth: NDArray[np.float64]) -> tuple[Floats, NDArray[np.intp]]:
    """Replace triangles that cross the near plane by the one or two in front of it."""
    in_front = depth > NEAR_M
    count = in_front.sum(1)
    whole = np.flatnonzero(count == 3)
    vertices, rows = [vertex[whole]], [whole]
    for inside in (1, 2):
        crossing = np.flatnonzero(count == inside)
        # Turn each so that its odd corner out comes first.
        odd = np.argmax(in_front[crossing] == (inside == 1), axis=1)
        order = (odd[:, None] + np.arange(3)) % 3
        v = np.take_along_axis(vertex[crossing], order[..., None], 1)
        d = np.take_along_axis(depth[crossing], order, 1)
        share = (d[:, :1] - NEAR_M * 1.001) / (d[:, :1] - d[:, 1:])  # [T, 2] from odd to the others
        cut = v[:, :1] + share[..., None] * (v[:, 1:] - v[:, :1])
        pieces = (
            [np.stack([v[:, 0], cut[:, 0], cut[:, 1]], 1)]
            if inside == 1
            else [
                np.stack([cut[:, 0], v[:, 1], v[:, 2]], 1),
                np.stack([cut[:, 0], v[:, 2], cut[:, 1]], 1),
            ]
        )
        vertices += [p.astype(np.float32) for p in pieces]
        rows += [crossing] * len(pieces)
    return np.concatenate(vertices), np.concatenate(rows)


def planes(screen: NDArray[np.float64], values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Corners [T, 3, 2] and values there [T, 3, K] -> [T, 3, K]: value = p0 * x + p1 * y + p2."""
    x, y = screen[..., 0], screen[..., 1]
    nx, ny, px, py = (np.roll(a, s, 1) for s in (-1, -2) for a in (x, y))
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    area = np.where(np.abs(area) < 1e-6, 1e-6, area)[:, None]
    weight = np.stack([ny - py, px - nx, nx * py - px * ny], 1) / area[:, None]  # [T, 3, corner]
    return np.asarray(weight @ values)


def fragments(
    screen: NDArray[np.float64], nearness: NDArray[np.floating], width: int, height: int
) -> Fragments:
    """Corners [T, 3, 2] and a value affine on the screen at them [T, 3] -> covered pixels."""
    triangle, y = _rows(screen, height)
    left, right = _spans(screen, triangle, y + 0.5, width)
    keep = right > left
    triangle, y, left, right = triangle[keep], y[keep], left[keep], right[keep]
    slope, down, base = planes(screen, nearness[..., None])[triangle, :, 0].T
    first = slope * (left + 0.5) + down * (y + 0.5) + base

    count = right - left
    row = np.repeat(np.arange(len(count), dtype=np.int32), count)
    start = (np.cumsum(count) - count).astype(np.int32)
    along = np.arange(len(row), dtype=np.int32) - start[row]
    near = first.astype(np.float32)[row] + slope.astype(np.float32)[row] * along.astype(np.float32)
    pixel = (y * width + left).astype(np.int32)[row] + along
    return Fragments(pixel, triangle.astype(np.int32)[row], np.maximum(near, np.float32(1e-9)))


def _rows(screen: NDArray[np.float64], height: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(triangle [R], y [R]) of every pixel row whose centre a triangle crosses."""
    low, high = screen[..., 1].min(1), screen[..., 1].max(1)
    first = np.clip(np.ceil(low - 0.5), 0, height).astype(np.intp)
    last = np.clip(np.ceil(high - 0.5), 0, height).astype(np.intp)
    count = np.maximum(last - first, 0)
    triangle = np.repeat(np.arange(len(count)), count)
    y = np.arange(len(triangle)) - np.repeat(np.cumsum(count) - count, count) + first[triangle]
    return triangle, y


def _spans(
    screen: NDArray[np.float64],
    triangle: NDArray[np.intp],
    y: NDArray[np.floating],
    width: int,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First column, and one past the last, whose centres lie inside on each row [R]."""
    left, right = np.full(len(y), np.inf), np.full(len(y), -np.inf)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        (xa, ya), (xb, yb) = screen[triangle, a].T, screen[triangle, b].T
        crosses = (ya <= y) != (yb <= y)
        x = xa + (y - ya) * (xb - xa) / np.where(crosses, yb - ya, 1.0)
        left = np.where(crosses, np.minimum(left, x), left)
        right = np.where(crosses, np.maximum(right, x), right)
    empty = right < left
    first = np.clip(np.ceil(np.where(empty, 0, left) - 0.5), 0, width).astype(np.intp)
    last = np.clip(np.ceil(np.where(empty, 0, right) - 0.5), 0, width).astype(np.intp)
    return first, last


def nearest(found: Fragments, num_pixels: int) -> tuple[NDArray[np.int32], Floats]:
    """(triangle [num_pixels], nearness [num_pixels]) in front; -1 and 0 where there is none."""
    # One integer that orders by nearness, then carries the triangle: positive floats order as
    # their bits do.
    key = np.empty((len(found.pixel), 2), "<u4")
    key[:, 0], key[:, 1] = found.triangle + 1, found.nearness.view(np.uint32)
    best = np.zeros(num_pixels, "<u8")
    np.maximum.at(best, found.pixel, key.view("<u8")[:, 0])
    triangle = (best & np.uint64(0xFFFFFFFF)).astype(np.int32) - 1
    return triangle, (best >> np.uint64(32)).astype(np.uint32).view(np.float32)
