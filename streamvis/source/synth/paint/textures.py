"""The scene's texture array, painted once per seed. Row 0 is v = 0: pictures are upside down."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.model.body import BODY
from streamvis.source.synth.paint import facade, signs
from streamvis.source.synth.paint.canvas import Image, finish, flat
from streamvis.source.synth.paint.layers import (
    BODIES,
    LAYER,
    NUM_DOORS,
    NUM_LEAVES,
    NUM_OFFICES,
    NUM_SHOPS,
    NUM_WHEELS,
    NUM_WINDOWS,
    SIDE_PX,
    SIGNS,
)
from streamvis.source.synth.paint.noise import value_noise
from streamvis.source.synth.paint.vehicle import vehicle_layers

Rng = np.random.Generator
N = SIDE_PX


def paint_all(rng: Rng) -> NDArray[np.uint8]:
    """[layers, side, side, 4]"""
    layers = np.zeros((len(LAYER), N, N, 4), np.uint8)

    def put(name: str, image: NDArray[np.uint8]) -> None:
        layers[LAYER[name]] = image

    for name, painter in _PLAIN.items():
        put(name, painter(rng))
    for kind, count, paint in (
        ("window", NUM_WINDOWS, facade.window), ("shop", NUM_SHOPS, facade.shop),
        ("door", NUM_DOORS, facade.door), ("office", NUM_OFFICES, facade.office),
        ("leaves", NUM_LEAVES, leaves), ("wheel", NUM_WHEELS, wheel),
    ):  # fmt: skip
        for k in range(count):
            put(f"{kind}_{k}", paint(rng, k))
    for kind in SIGNS:
        put(f"sign_{kind}", signs.sign(kind))
    for name in BODIES:
        colour, parts = vehicle_layers(BODY[name])
        put(name, colour)
        put(f"{name}_parts", parts)
    return layers


def _grain(rng: Rng, strength: float) -> NDArray[np.float32]:
    return 1 + strength * rng.standard_normal((N, N, 1)).astype(np.float32)


def white(_: Rng) -> NDArray[np.uint8]:
    return finish(flat((255, 255, 255)))


def noise(rng: Rng) -> NDArray[np.uint8]:
    """Four independent fields, 0 to 255 around the middle."""
    fields = [value_noise(rng, N, N, cells, 5) for cells in (5, 4, 9, 16)]
    spread = [127 + 128 * np.clip(f * 1.35, -1, 1) for f in fields]
    return np.asarray(np.stack(spread, -1), np.uint8)


def asphalt(rng: Rng) -> NDArray[np.uint8]:
    image = flat((83, 83, 84))
    image *= 1 + 0.05 * value_noise(rng, N, N, 4)[..., None]
    stones = cv2.GaussianBlur(rng.standard_normal((N, N)).astype(np.float32), (0, 0), 1.1)
    image *= 1 + 0.14 * stones[..., None]
    light = (cv2.GaussianBlur(rng.random((N, N)).astype(np.float32), (0, 0), 0.8) > 0.66)[..., None]
    return finish(image * (1 + 0.10 * light) * _grain(rng, 0.03))


def paving(rng: Rng) -> NDArray[np.uint8]:
    """Slabs of 0.6 m over 2.4 m."""
    image = flat((168, 164, 156))
    step = N // 4
    for row in range(4):
        for col in range(4):
            cell = image[row * step : (row + 1) * step, col * step : (col + 1) * step]
            cell *= rng.uniform(0.90, 1.05) * np.array(
                [1, rng.uniform(0.98, 1.01), rng.uniform(0.95, 1.02)], np.float32
            )
    image *= 1 + 0.07 * value_noise(rng, N, N, 6, 6)[..., None]
    for k in range(0, N, step):
        image[k : k + 3] *= 0.62
        image[:, k : k + 3] *= 0.62
    spots = rng.uniform(0, N, (26, 2)).astype(int)
    for x, y in spots.tolist():
        cv2.circle(image, (x, y), int(rng.integers(2, 5)), (120, 117, 112), -1, cv2.LINE_AA)
    return finish(image * _grain(rng, 0.045))


def _bricks(
    rng: Rng, tone: tuple[float, float, float], spread: float, mortar: float
) -> NDArray[np.uint8]:
    """2.4 m of bricks 24 × 8 cm."""
    image = flat(tone)
    rows, cols = 30, 10
    high, wide = N / rows, N / cols
    y, x = np.mgrid[:N, :N]
    row = (y / high).astype(int)
    shifted = x / wide + 0.5 * (row % 2)
    col = shifted.astype(int) % cols
    tint = rng.normal(1, spread, (rows, cols, 1)) * (
        1 + 0.5 * spread * rng.standard_normal((rows, cols, 3))
    )
    image *= tint[row, col].astype(np.float32)
    joint = ((y / high) % 1 < 0.14) | (shifted % 1 < 0.05)
    image[joint] = np.array([mortar, mortar * 0.98, mortar * 0.94], np.float32)
    shade = ((y / high) % 1 > 0.86) & ~joint
    image[shade] *= 1.06
    image *= 1 + 0.06 * value_noise(rng, N, N, 5, 5)[..., None]
    return finish(image * _grain(rng, 0.05))


def brick(rng: Rng) -> NDArray[np.uint8]:
    return _bricks(rng, (226, 214, 206), 0.05, 214)


def old_brick(rng: Rng) -> NDArray[np.uint8]:
    return _bricks(rng, (222, 206, 196), 0.08, 186)


def stucco(rng: Rng) -> NDArray[np.uint8]:
    image = flat((232, 230, 226))
    image *= 1 + 0.05 * value_noise(rng, N, N, 3, 6)[..., None]
    streak = cv2.resize(value_noise(rng, 8, N, 24, 3)[:8], (N, N), interpolation=cv2.INTER_CUBIC)
    image *= 1 - 0.07 * np.clip(streak, 0, 1)[..., None]
    return finish(image * _grain(rng, 0.03))


def stone(rng: Rng) -> NDArray[np.uint8]:
    """Ashlar blocks of 0.8 × 0.4 m over 2.4 m."""
    image = flat((224, 218, 206))
    rows, cols = 6, 3
    y, x = np.mgrid[:N, :N]
    row = y * rows // N
    shifted = x * cols / N + 0.5 * (row % 2)
    image *= rng.normal(1, 0.025, (rows, cols, 1))[row, shifted.astype(int) % cols].astype(
        np.float32
    )
    image *= 1 + 0.04 * value_noise(rng, N, N, 8, 6)[..., None]
    joint = ((y * rows / N) % 1 < 0.035) | (shifted % 1 < 0.018)
    image[joint] *= 0.82
    return finish(image * _grain(rng, 0.04))


def concrete(rng: Rng) -> NDArray[np.uint8]:
    image = flat((206, 205, 201))
    image *= 1 + 0.08 * value_noise(rng, N, N, 3, 6)[..., None]
    image[:: N // 2][:2] *= 0.7
    for k in (0, N // 2):
        image[k : k + 2] *= 0.7
        image[:, k : k + 2] *= 0.7
    return finish(image * _grain(rng, 0.03))


def roof(rng: Rng) -> NDArray[np.uint8]:
    image = flat((210, 206, 202))
    rows, cols = 16, 12
    y, x = np.mgrid[:N, :N]
    row = y * rows // N
    shifted = x * cols / N + 0.5 * (row % 2)
    image *= rng.normal(1, 0.10, (rows, cols, 1))[row, shifted.astype(int) % cols].astype(
        np.float32
    )
    image *= (0.72 + 0.4 * ((y * rows / N) % 1))[..., None].astype(np.float32)
    return finish(image)


def bark(rng: Rng) -> NDArray[np.uint8]:
    image = flat((112, 98, 84))
    streaks = cv2.resize(value_noise(rng, 64, N, 40, 3), (N, N))
    return finish(image * (1 + 0.5 * streaks[..., None]) * _grain(rng, 0.06))


def grass(rng: Rng) -> NDArray[np.uint8]:
    image = flat((92, 112, 52))
    image *= 1 + 0.25 * value_noise(rng, N, N, 6, 6)[..., None]
    return finish(image * _grain(rng, 0.18))


def fabric(rng: Rng) -> NDArray[np.uint8]:
    """Folds and seams of clothes."""
    image = flat((222, 222, 222))
    image *= 1 + 0.20 * value_noise(rng, N, N, 5, 5)[..., None]
    return finish(image * _grain(rng, 0.05))


def manhole(rng: Rng) -> NDArray[np.uint8]:
    image = flat((84, 84, 85))
    cv2.circle(image, (N // 2, N // 2), N // 2 - 8, (52, 51, 50), -1, cv2.LINE_AA)
    cv2.circle(image, (N // 2, N // 2), N // 2 - 30, (82, 80, 78), 5, cv2.LINE_AA)
    for x in range(90, N - 90, 52):
        for y in range(90, N - 90, 52):
            if np.hypot(x - N / 2, y - N / 2) < N * 0.38:
                cv2.rectangle(image, (x, y), (x + 26, y + 26), (74, 72, 70), -1)
    return finish(image * _grain(rng, 0.06))


def panel(rng: Rng) -> NDArray[np.uint8]:
    """A lorry's side: ribs, rivets, dirt below."""
    image = flat((238, 238, 238))
    for x in range(0, N, 64):
        image[:, x : x + 3] *= 0.80
        image[:, x + 3 : x + 6] *= 1.05
    dirt = value_noise(rng, N, N, 5, 5)[..., None]
    low = np.exp(-np.arange(N) / 60.0)[:, None, None]
    return finish(image * (1 - 0.30 * np.clip(low + 0.25 * dirt, 0, 1)))


def leaves(rng: Rng, kind: int) -> NDArray[np.uint8]:
    """A spray of leaves on twigs; alpha is the leaves."""
    image, alpha = flat((150, 160, 96)), np.zeros((N, N), np.uint8)
    for _ in range(430 if kind == 0 else 330):
        angle, far = rng.uniform(0, 360), N * 0.47 * np.sqrt(rng.random())
        turn = rng.uniform(0, 2 * np.pi)
        centre = (int(N / 2 + far * np.cos(turn)), int(N / 2 + far * np.sin(turn)))
        size = (
            (int(rng.uniform(11, 20)), int(rng.uniform(5, 9)))
            if kind == 0
            else (int(rng.uniform(12, 24)), int(rng.uniform(6, 11)))
        )
        tone = rng.uniform(0.62, 1.25)
        hue = rng.uniform(-14, 14)
        colour = (float(168 * tone + hue), float(186 * tone), float(108 * tone - hue))
        cv2.ellipse(image, centre, size, angle, 0, 360, colour, -1, cv2.LINE_AA)
        cv2.ellipse(alpha, centre, size, angle, 0, 360, 255, -1, cv2.LINE_AA)
    return finish(image, alpha)


def wheel(rng: Rng, kind: int) -> NDArray[np.uint8]:
    """A rim in its tyre, filling the square."""
    image = flat((26, 26, 27))
    middle = (N // 2, N // 2)
    rim = (176, 178, 182) if kind != 1 else (62, 63, 66)
    cv2.circle(image, middle, int(N * 0.435), rim, -1, cv2.LINE_AA)
    cv2.circle(image, middle, int(N * 0.400), (28, 28, 30), -1, cv2.LINE_AA)
    if kind == 2:  # steel with holes
        cv2.circle(image, middle, int(N * 0.400), (120, 121, 123), -1, cv2.LINE_AA)
        for a in np.arange(0, 2 * np.pi, np.pi / 5):
            at = (int(N / 2 + N * 0.29 * np.cos(a)), int(N / 2 + N * 0.29 * np.sin(a)))
            cv2.circle(image, at, int(N * 0.045), (26, 26, 28), -1, cv2.LINE_AA)
        cv2.circle(image, middle, int(N * 0.16), (92, 93, 95), -1, cv2.LINE_AA)
    else:
        spokes = 5 if kind == 0 else 10
        for a in np.arange(0, 2 * np.pi, 2 * np.pi / spokes):
            wide = 0.10 if kind == 0 else 0.045
            points = [
                (0.42, a - wide * 0.7),
                (0.42, a + wide * 0.7),
                (0.10, a + wide * 3),
                (0.10, a - wide * 3),
            ]
            polygon = np.array(
                [(N / 2 + N * r * np.cos(b), N / 2 + N * r * np.sin(b)) for r, b in points],
                np.int32,
            )
            cv2.fillPoly(image, [polygon], rim, cv2.LINE_AA)
        cv2.circle(image, middle, int(N * 0.10), rim, -1, cv2.LINE_AA)
    cv2.circle(image, middle, int(N * 0.05), (90, 91, 93), -1, cv2.LINE_AA)
    return finish(image * _grain(rng, 0.02))


_PLAIN: dict[str, Callable[[Rng], NDArray[np.uint8]]] = {
    f.__name__: f
    for f in (
        white, noise, asphalt, paving, roof, bark, grass, fabric, manhole, panel,
        brick, old_brick, stucco, stone, concrete,
    )
}  # fmt: skip

__all__ = ["Image", "paint_all"]
