"""Procedural textures, drawn once per scene: road, pavement, façades, signs, noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.atlas import Texture

Image = NDArray[np.float32]  # [H, W, 3] sRGB, 0 to 255, while it is being painted
Tone = tuple[float, float, float]  # sRGB, 0 to 255


def value_noise(
    rng: np.random.Generator, height: int, width: int, cells: int, octaves: int = 4
) -> NDArray[np.float32]:
    """[H, W] in about [-1, 1]; repeats without a seam."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        n = min(cells << octave, height, width)
        grid = rng.uniform(-1, 1, (n, n)).astype(np.float32)
        pad = cv2.copyMakeBorder(grid, 2, 2, 2, 2, cv2.BORDER_WRAP)
        x = (np.arange(width, dtype=np.float32) + 0.5) * n / width + 1.5
        y = (np.arange(height, dtype=np.float32) + 0.5) * n / height + 1.5
        total += cv2.remap(pad, *np.meshgrid(x, y), cv2.INTER_CUBIC) * 0.55**octave
    return total / 1.6


def plain(height: int, width: int, tone: Tone) -> Image:
    return np.full((height, width, 3), tone, np.float32)


def finish(image: Image, size_m: tuple[float, float], gloss: Image | float = 0.0) -> Texture:
    alpha = np.broadcast_to(np.asarray(gloss, np.float32), image.shape[:2])[..., None] * 255
    whole = np.concatenate([image, alpha], -1)
    return Texture(np.clip(np.rint(whole), 0, 255).astype(np.uint8), size_m)


def white() -> Texture:
    return finish(plain(32, 32, (255, 255, 255)), (1.0, 1.0))


def asphalt(rng: np.random.Generator, height: int, width: int) -> Image:
    tone = rng.uniform(84, 104)
    image = plain(height, width, (tone, tone, tone * 1.02))
    image *= 1 + 0.07 * value_noise(rng, height, width, 3)[..., None]
    image *= 1 + 0.10 * rng.standard_normal((height, width, 1)).astype(np.float32)
    return image


def paint_mark(
    image: Image, rng: np.random.Generator, left: int, top: int, right: int, bottom: int, tone: Tone
) -> None:
    """A worn rectangle of road paint."""
    height, width = bottom - top, right - left
    noise = value_noise(rng, 64, 64, 8, 3)
    wear = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    cover = np.clip(1.25 + 1.1 * wear, 0.25, 0.95)[..., None]
    patch = image[top:bottom, left:right]
    patch += (np.array(tone, np.float32) - patch) * cover


ROAD_PX_PER_M = 40
ROAD_PERIOD_M = 12.8
MARK = (226.0, 224.0, 214.0)


def road(rng: np.random.Generator, half_width_m: float, lane_m: float, cycle_m: float) -> Texture:
    """A carriageway along u: a dashed centre line, cycle lanes, worn wheel tracks, patches.

    v = 0 is its right edge. Period ROAD_PERIOD_M along u.
    """
    width = int(ROAD_PERIOD_M * ROAD_PX_PER_M)
    height = int(np.ceil(2 * half_width_m * ROAD_PX_PER_M / 32) * 32)
    scale = height / (2 * half_width_m)
    image = asphalt(rng, height, width)
    across = (np.arange(height) + 0.5) / scale - half_width_m
    track = np.exp(-(((np.abs(np.abs(across) - lane_m / 2) - 0.78) / 0.28) ** 2))
    image *= (1 - 0.10 * track)[:, None, None].astype(np.float32)
    _patches(image, rng)

    def line(at_m: float, thick_m: float, from_m: float, to_m: float) -> None:
        top = round((half_width_m - at_m - thick_m / 2) * scale)
        span = round(from_m * ROAD_PX_PER_M), round(to_m * ROAD_PX_PER_M)
        paint_mark(image, rng, span[0], top, span[1], top + max(2, round(thick_m * scale)), MARK)

    for start in (0.6, 7.0):
        line(0.0, 0.14, start, start + 3.2)
    for side in (-1, 1):
        line(side * lane_m, 0.13, 0.0, ROAD_PERIOD_M)
        for start in np.arange(0.2, ROAD_PERIOD_M - 1, 1.6):
            line(side * (lane_m + cycle_m), 0.11, start, start + 0.8)
    return finish(image, (ROAD_PERIOD_M, 2 * half_width_m))


def _patches(image: Image, rng: np.random.Generator) -> None:
    """Repairs, cracks and a manhole cover."""
    height, width = image.shape[:2]
    for _ in range(4):
        x, y = rng.integers(0, width - 120), rng.integers(0, height - 60)
        w, h = rng.integers(40, 120), rng.integers(24, 60)
        image[y : y + h, x : x + w] *= rng.uniform(0.78, 0.92)
    for _ in range(6):
        walk = np.cumsum(rng.normal(0, 6, (14, 2)) + rng.normal(0, 3, 2), 0)
        points = (walk + rng.uniform((0, 0), (width, height))).astype(np.int32)
        cv2.polylines(image, [points], False, (48, 48, 50), 1, cv2.LINE_AA)
    centre = (int(width * 0.7), int(height * 0.38))
    cv2.circle(image, centre, 14, (58, 57, 56), -1, cv2.LINE_AA)
    cv2.circle(image, centre, 11, (74, 72, 70), 1, cv2.LINE_AA)


def crossing(rng: np.random.Generator, half_width_m: float, length_m: float) -> Texture:
    """Zebra stripes along u, with a stop line on both sides."""
    width = int(np.ceil(length_m * ROAD_PX_PER_M / 32) * 32)
    height = int(np.ceil(2 * half_width_m * ROAD_PX_PER_M / 32) * 32)
    image = asphalt(rng, height, width)
    stripe = height / (2 * half_width_m) * 0.5
    margin = width // 5
    for k in range(int(height / stripe / 2)):
        top = int((2 * k + 0.5) * stripe)
        paint_mark(image, rng, margin, top, width - margin, int(top + stripe), MARK)
    for left in (2, width - 14):
        paint_mark(image, rng, left, 4, left + 12, height - 4, MARK)
    return finish(image, (length_m, 2 * half_width_m))


def plain_road(rng: np.random.Generator) -> Texture:
    return finish(asphalt(rng, 256, 256), (6.4, 6.4))


def pavement(rng: np.random.Generator) -> Texture:
    """Concrete slabs of 0.6 m."""
    size, slabs = 192, 4
    image = plain(size, size, (158, 153, 145))
    step = size // slabs
    for row in range(slabs):
        for col in range(slabs):
            cell = image[row * step : (row + 1) * step, col * step : (col + 1) * step]
            cell *= rng.uniform(0.9, 1.06)
            cell[0] *= 0.72
            cell[:, 0] *= 0.72
    image *= 1 + 0.06 * value_noise(rng, size, size, 4)[..., None]
    image *= 1 + 0.035 * rng.standard_normal((size, size, 1)).astype(np.float32)
    return finish(image, (2.4, 2.4))


def bark(rng: np.random.Generator) -> Texture:
    image = plain(64, 64, (112, 94, 78))
    streaks = cv2.resize(value_noise(rng, 64, 64, 16, 2)[:8], (64, 64))
    return finish(image * (1 + 0.35 * streaks[..., None]), (0.5, 1.2))


def dapple(rng: np.random.Generator) -> Texture:
    """Leaf clusters: light and dark speckle on a near-white ground, tinted by the tree."""
    image = plain(128, 128, (205, 205, 205))
    for _ in range(420):
        x, y = rng.integers(0, 128, 2)
        tone = float(rng.uniform(90, 255))
        angle = float(rng.uniform(0, 180))
        cv2.ellipse(image, (int(x), int(y)), (6, 3), angle, 0, 360, (tone,) * 3, -1, cv2.LINE_AA)
    return finish(image, (1.0, 1.0))


def letters(
    image: Image, word: str, centre: tuple[int, int], scale: float, tone: Tone, thick: int
) -> None:
    """A word around a pixel; OpenCV writes into 8-bit pictures only, so it is a stencil."""
    font = cv2.FONT_HERSHEY_DUPLEX
    (width, height), _ = cv2.getTextSize(word, font, scale, thick)
    at = (centre[0] - width // 2, centre[1] + height // 2)
    stencil = np.zeros(image.shape[:2], np.uint8)
    cv2.putText(stencil, word, at, font, scale, 255, thick, cv2.LINE_AA)
    cover = stencil[..., None].astype(np.float32) / 255
    image += (np.array(tone, np.float32) - image) * cover


SIGNS = ("speed", "parking", "no_entry", "crossing")


def sign(kind: str) -> Texture:
    """A 128-px sign face; its plate has the outline that scenery.sign_plate cuts."""
    image = plain(128, 128, (240, 240, 240))
    red, blue, ink = (196, 24, 30), (28, 74, 160), (20, 20, 22)

    if kind == "speed":
        cv2.circle(image, (64, 64), 54, red, 18, cv2.LINE_AA)
        letters(image, "30", (64, 64), 1.9, ink, 4)
    elif kind == "no_entry":
        image[:] = red
        cv2.rectangle(image, (22, 52), (106, 76), (245, 245, 245), -1)
    elif kind == "crossing":
        image[:] = blue
        cv2.fillPoly(image, [np.array([[64, 14], [14, 112], [114, 112]])], (245, 245, 245))
        for a, b in (((64, 44), (64, 74)), ((64, 74), (48, 104)), ((64, 74), (82, 104)),
                     ((64, 56), (46, 70)), ((64, 56), (84, 66))):  # fmt: skip
            cv2.line(image, a, b, ink, 7, cv2.LINE_AA)
        cv2.circle(image, (64, 36), 7, ink, -1, cv2.LINE_AA)
    else:
        image[:] = blue
        letters(image, "P", (64, 64), 3.2, (245, 245, 245), 8)
    return finish(image, (1.0, 1.0), 0.1)
