"""What keeps light off a street: shadows of the sun, and darkness where things touch the ground."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.light import Light
from streamvis.source.synth.mesh import POSITION, Floats, Mesh
from streamvis.source.synth.raster import fragments

SHADOW_TEXEL_M = 0.08
_FAR_BELOW_M = 2000.0  # added to sun-ward heights, because the z-buffer wants positive nearness


class ShadowMap:
    """How high above each sun ray's foot the first thing in its way is."""

    def __init__(self, light: Light, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
        """`low` and `high` are opposite corners of the world box that may receive shadows."""
        right = np.cross(light.to_sun, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        self._axes = np.stack([right, np.cross(right, light.to_sun), light.to_sun])  # world -> sun
        corner = (
            np.stack(np.meshgrid(*zip(low, high, strict=True)), -1).reshape(-1, 3) @ self._axes.T
        )
        self._origin = corner.min(0)[:2]
        self._size = tuple(np.ceil((corner.max(0)[:2] - self._origin) / SHADOW_TEXEL_M).astype(int))
        self._static = np.zeros(self._size[::-1], np.float32)

    def add_static(self, mesh: Mesh) -> None:
        self._static = self.with_moving(mesh)

    def with_moving(self, mesh: Mesh) -> Floats:
        """[rows, columns] heights of the scenery and of this mesh."""
        width, height = self._size
        sun = mesh.vertex[..., POSITION].astype(np.float64) @ self._axes.T
        screen = (sun[..., :2] - self._origin) / SHADOW_TEXEL_M
        outside = (screen < 0).all(1).any(1) | (screen > (width, height)).all(1).any(1)
        found = fragments(
            screen[~outside], sun[~outside][..., 2] + _FAR_BELOW_M, int(width), int(height)
        )
        heights = self._static.copy()
        np.maximum.at(heights.reshape(-1), found.pixel, found.nearness)
        return heights

    def lit(self, heights: Floats, points: Floats, facing: Floats) -> Floats:
        """Share of the sun [H, W] that reaches world points [H, W, 3] whose surfaces meet it at
        the cosine `facing`."""
        sun = points @ self._axes.T.astype(np.float32)
        column, row = ((sun[..., i] - self._origin[i]) / SHADOW_TEXEL_M - 0.5 for i in (0, 1))
        # A surface at a slant changes height within a texel, and must not shade itself.
        slack = np.float32(0.05) + SHADOW_TEXEL_M * np.minimum(1 / np.maximum(facing, 0.05) - 1, 6)
        own = (sun[..., 2] + np.float32(_FAR_BELOW_M) + slack).astype(np.float32)
        total = np.zeros(own.shape, np.float32)
        for dx, dy in ((-0.9, -0.4), (0.4, -0.9), (0.9, 0.4), (-0.4, 0.9)):
            near = cv2.remap(
                heights, (column + dx).astype(np.float32), (row + dy).astype(np.float32),
                cv2.INTER_NEAREST, borderValue=0.0,
            )  # fmt: skip
            total += near <= own
        return total / np.float32(4)


class Contact:
    """Ground that objects keep from the open sky: soft darkness under and around them."""

    CELL_M = 0.1
    REACH_M = 0.35

    def __init__(
        self, footprints: list[NDArray[np.float64]], centre: tuple[float, float], radius_m: float
    ) -> None:
        """`footprints` are convex outlines [N, 2] in world metres."""
        self._origin = np.array(centre, np.float32) - np.float32(radius_m)
        size = int(2 * radius_m / self.CELL_M)
        cover = np.zeros((size, size), np.float32)
        for outline in footprints:
            cells = np.rint((outline - self._origin) / self.CELL_M * 16).astype(np.int32)
            cv2.fillConvexPoly(cover, cells, 1.0, shift=4)
        self._cover = cv2.GaussianBlur(cover, (0, 0), self.REACH_M / self.CELL_M)

    def openness(self, point: Floats) -> Floats:
        """Share of ambient light [H, W] at world points [H, W, 3]."""
        cell = (point[..., :2] - self._origin) / np.float32(self.CELL_M) - np.float32(0.5)
        cover = cv2.remap(
            self._cover, cell[..., 0], cell[..., 1], cv2.INTER_LINEAR, borderValue=0.0
        )
        low = np.clip(1 - point[..., 2] / np.float32(0.5), 0, 1)
        open_share: Floats = 1 - np.float32(0.85) * cover * low
        return open_share


@dataclass(frozen=True)
class Sunlight:
    """What falls on one moment's street, and what keeps it off."""

    light: Light
    shadow: ShadowMap
    heights: Floats  # of the shadow map, with the moment's moving things
    contact: Contact

    def share(self, point: Floats, normal: Floats) -> tuple[Floats, Floats]:
        """(how squarely, how freely) the sun meets world points [H, W, 3], each [H, W]."""
        squarely = np.clip(normal @ self.light.to_sun.astype(np.float32), 0, 1)
        lifted = point + normal * np.float32(0.08)
        return squarely, self.shadow.lit(self.heights, lifted, squarely)

    def ambient(self, point: Floats, normal: Floats) -> Floats:
        """Light [H, W, 3] from the sky above and the ground below."""
        up = (0.5 + 0.5 * normal[..., 2])[..., None]
        light = self.light.bounce * (1 - up) + self.light.sky * up
        return light * self.contact.openness(point)[..., None]
