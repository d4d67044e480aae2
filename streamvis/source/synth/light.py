"""Sun, sky and shadows of one scene."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.mesh import POSITION, Floats, Mesh
from streamvis.source.synth.raster import fragments
from streamvis.source.synth.texture import value_noise

SHADOW_TEXEL_M = 0.08
_FAR_BELOW_M = 2000.0  # added to sun-ward heights, because the z-buffer wants positive nearness


@dataclass(frozen=True)
class Light:
    """Linear light; 1.0 is a white card in full sun."""

    to_sun: NDArray[np.float64]  # [3] unit
    sun: Floats  # [3] colour
    sky: Floats  # [3] ambient from above
    bounce: Floats  # [3] ambient from below
    haze: Floats  # [3]
    haze_m: float  # distance at which 63 % is haze
    panorama: Floats  # [256, 1024, 3] azimuth by elevation, 0 to 90 degrees upwards

    @staticmethod
    def random(rng: np.random.Generator) -> Light:
        elevation = np.radians(rng.uniform(34, 56))
        side = rng.choice([-1, 1])
        azimuth = side * np.radians(rng.uniform(40, 150))  # never straight along the street
        to_sun = np.array(
            [
                np.cos(elevation) * np.cos(azimuth),
                np.cos(elevation) * np.sin(azimuth),
                np.sin(elevation),
            ]
        )
        clear = rng.uniform(0.6, 1.0)
        warm = np.array([1.0, 0.93, 0.82], np.float32) ** rng.uniform(0.6, 1.8)
        cool = np.array([0.62, 0.78, 1.0], np.float32) ** clear
        haze = np.array([0.60, 0.72, 0.90], np.float32) * rng.uniform(0.85, 1.05)
        return Light(
            to_sun,
            (2.5 * clear * warm).astype(np.float32),
            (0.62 * (1.5 - 0.5 * clear) * cool).astype(np.float32),
            (0.22 * warm).astype(np.float32),
            haze,
            float(rng.uniform(450, 900)),
            _panorama(rng, to_sun, clear, haze),
        )

    def sky_towards(self, direction: Floats) -> Floats:
        """Sky colours [N, 3] for directions [N, 3] of any length; the horizon below it."""
        x, y, z = direction.T
        height, width = self.panorama.shape[:2]
        turn = np.arctan2(y, x) / (2 * np.pi) % 1.0
        rise = np.arctan2(z, np.hypot(x, y)) / (np.pi / 2)
        column = turn * width - 0.5
        row = np.clip((1 - rise) * height - 0.5, 0, height - 1)
        return _lookup(self.panorama, column, row)


def _lookup(image: Floats, column: Floats, row: Floats) -> Floats:
    """Bilinear values at N points; cv2.remap takes no side above 32767, hence the rows of 1024."""
    count = len(column)
    pad = -count % 1024
    x, y = (np.pad(a, (0, pad)).astype(np.float32).reshape(-1, 1024) for a in (column, row))
    if not count:
        return np.zeros((0, *image.shape[2:]), np.float32)
    found = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(found, np.float32).reshape(-1, *image.shape[2:])[:count]


def _panorama(
    rng: np.random.Generator, to_sun: NDArray[np.float64], clear: float, haze: Floats
) -> Floats:
    height, width = 256, 1024
    rise = (1 - (np.arange(height, dtype=np.float32) + 0.5) / height) * (np.pi / 2)
    turn = (np.arange(width, dtype=np.float32) + 0.5) / width * 2 * np.pi
    zenith = np.array([0.09, 0.25, 0.66], np.float32) * (0.6 + 0.4 * clear)
    blend = (np.sin(rise) ** 0.55)[:, None, None]
    sky = haze * (1 - blend) + zenith * blend
    # Clouds lie on a flat ceiling, so they shrink towards the horizon.
    far = 1 / np.maximum(np.sin(rise), 0.06)[:, None]
    u, v = far * np.cos(turn), far * np.sin(turn)
    noise = value_noise(rng, 512, 512, 6, 5)
    x, y = ((c * 34) % 512 for c in (u, v))
    cloud = cv2.remap(
        noise,
        x.astype(np.float32),
        y.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )
    cover = np.clip((cloud + 0.55 - 0.55 * clear) * 2.6, 0, 1) * np.clip(rise / 0.10, 0, 1)[:, None]
    lit = (1.15 - 0.35 * np.clip(cloud, 0, 1))[..., None] * np.array([1.0, 0.99, 0.97], np.float32)
    sky = sky * (1 - 0.92 * cover[..., None]) + 0.92 * cover[..., None] * lit
    direction = np.stack(
        [np.cos(rise)[:, None] * np.cos(turn), np.cos(rise)[:, None] * np.sin(turn),
         np.broadcast_to(np.sin(rise)[:, None], (height, width))], -1)  # fmt: skip
    towards = np.clip(direction @ to_sun, 0, 1)[..., None]
    glow = 0.35 * towards**24 + 2.0 * towards**900
    whole: Floats = (sky + glow * np.array([1.0, 0.9, 0.7])).astype(np.float32)
    return whole


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
