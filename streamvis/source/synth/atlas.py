"""All textures of a scene in one picture with its smaller copies: one lookup paints a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.mesh import Floats

LEVELS = 6
ALIGN = 1 << (LEVELS - 1)  # a texture never shares a texel with its neighbour, at any level
WIDTH = 4096


@dataclass(frozen=True)
class Texture:
    """One repeating picture."""

    image: NDArray[np.uint8]  # [H, W, 4] sRGB and gloss; row 0 is the largest v
    size_m: tuple[float, float]  # what it covers before it repeats: along u, along v


@dataclass(frozen=True)
class Atlas:
    pixels: NDArray[np.uint8]  # [H, WIDTH, 4], the levels below each other
    level_row: Floats  # [LEVELS] first row of each level
    place: Floats  # [N, 4] left, top, width, height in texels of level 0
    size_m: Floats  # [N, 2]

    @staticmethod
    def pack(textures: Sequence[Texture]) -> Atlas:
        """Shelf by shelf, in the order given; sides must be multiples of ALIGN."""
        place, left, top, shelf = [], 0, 0, 0
        for texture in textures:
            height, width = texture.image.shape[:2]
            if width % ALIGN or height % ALIGN:
                raise ValueError(
                    f"texture sides must be multiples of {ALIGN}, got {width}×{height}"
                )
            if left + width > WIDTH:
                left, top, shelf = 0, top + shelf, 0
            place.append((left, top, width, height))
            left, shelf = left + width, max(shelf, height)
        pixels = np.zeros((top + shelf, WIDTH, 4), np.uint8)
        for (x, y, w, h), texture in zip(place, textures, strict=True):
            pixels[y : y + h, x : x + w] = texture.image
        levels = [pixels]
        for _ in range(LEVELS - 1):
            half = cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            levels.append(np.asarray(half, np.uint8))
        rows = np.cumsum([0] + [len(p) for p in levels[:-1]])
        stacked = np.zeros((sum(map(len, levels)), WIDTH, 4), np.uint8)
        for row, level in zip(rows, levels, strict=True):
            stacked[row : row + len(level), : level.shape[1]] = level
        return Atlas(
            stacked,
            rows.astype(np.float32),
            np.array(place, np.float32),
            np.array([t.size_m for t in textures], np.float32),
        )

    def sample(
        self, number: NDArray[np.intp], u: Floats, v: Floats, footprint_m: Floats
    ) -> NDArray[np.uint8]:
        """Texels [H, W, 4] for texture numbers, coordinates in metres and pixel sizes in metres."""
        left, top, width, height = np.moveaxis(self.place[number], -1, 0)
        size_u, size_v = np.moveaxis(self.size_m[number], -1, 0)
        level = np.log2(np.maximum(footprint_m * width / size_u, 1e-6))
        level = np.clip(np.rint(level), 0, LEVELS - 1)
        shrink = np.exp2(-level)
        x = _wrap(u / size_u, width * shrink) + left * shrink
        y = _wrap(1 - v / size_v, height * shrink) + top * shrink
        y += self.level_row[level.astype(np.intp)]
        return np.asarray(cv2.remap(self.pixels, x, y, cv2.INTER_LINEAR), np.uint8)


def _wrap(turns: Floats, size: Floats) -> Floats:
    """Repeats -> texels, kept off the last half texel: beyond it lies another texture."""
    inside = (turns - np.floor(turns)) * size
    return np.asarray(np.clip(inside - 0.5, 0, np.maximum(size - 1, 0)), np.float32)
