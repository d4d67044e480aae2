"""Sun and sky of one scene."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.mesh import Floats
from streamvis.source.synth.texture import value_noise


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
