"""Trees, hedges and lawns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.model.mesh import (
    Bar,
    Colour,
    Kind,
    Mesh,
    Surface,
    bars,
    box,
    merge,
    quads,
)
from streamvis.source.synth.paint.layers import LAYER, NUM_LEAVES

GREENS: tuple[Colour, ...] = (
    (0.24, 0.36, 0.10),
    (0.18, 0.32, 0.09),
    (0.32, 0.40, 0.12),
    (0.40, 0.36, 0.10),
    (0.20, 0.30, 0.13),
)
BARK = Surface((0.62, 0.56, 0.50), LAYER["bark"])


def tree(rng: np.random.Generator) -> Mesh:
    """About 7 m: a trunk, boughs that fork, and sprays of leaves around their ends."""
    bole = float(rng.uniform(2.3, 3.0))
    lean = rng.normal(0, 0.12, 2)
    top = np.array([*lean, bole])
    tips, parts = (
        [],
        [
            Bar((0, 0, -0.1), (0, 0, 0.35), 0.20, 0.15, BARK),
            Bar((0, 0, 0.2), top, 0.15, 0.11, BARK),
        ],
    )
    for k in range(6):
        angle = k * 2.4 + rng.uniform(-0.4, 0.4)
        out, up = rng.uniform(0.8, 1.6), rng.uniform(1.0, 2.4)
        fork = top + np.array([np.cos(angle) * out * 0.55, np.sin(angle) * out * 0.55, up * 0.6])
        parts.append(Bar(top - (0, 0, 0.15), fork, 0.08, 0.05, BARK))
        for _ in range(2):
            tip = (
                fork
                + np.array([np.cos(angle), np.sin(angle), 0]) * out * 0.6
                + rng.normal(0, 0.35, 3)
                + (0, 0, up * 0.5)
            )
            parts.append(Bar(fork, tip, 0.045, 0.015, BARK))
            tips.append(tip)
    tips.append(top + np.array([0, 0, 2.9]))
    colour = GREENS[rng.integers(len(GREENS))]
    crown = _sprays(rng, np.array(tips), 24, 0.62, colour, (0.55, 0.85))
    return replace(merge([bars(parts, 7), crown]), far=merge([bars(parts[:2], 4), crown]))


def _sprays(
    rng: np.random.Generator,
    around: NDArray[np.float64],
    count: int,
    spread: float,
    colour: Colour,
    size_m: tuple[float, float],
) -> Mesh:
    """Square cards of leaves, lit as one round body and darker inside."""
    centre = (
        around[:, None] + rng.normal(0, spread, (len(around), count, 3)) * (1, 1, 0.8)
    ).reshape(-1, 3)
    middle = around.mean(0)
    reach = np.linalg.norm(centre - middle, axis=1).max()
    a = rng.normal(0, 1, centre.shape)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b = np.cross(a, rng.normal(0, 1, centre.shape))
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    half = rng.uniform(*size_m, (len(centre), 1)) / 2
    corner = np.stack(
        [
            centre - half * a - half * b,
            centre + half * a - half * b,
            centre + half * a + half * b,
            centre - half * a + half * b,
        ],
        1,
    )
    outward = corner - (middle - np.array([0, 0, 0.6]))
    normal = outward / np.linalg.norm(outward, axis=-1, keepdims=True)
    layer = LAYER[f"leaves_{rng.integers(NUM_LEAVES)}"]
    surface = Surface(colour, layer, kind=Kind.CUTOUT)
    uv = np.broadcast_to(np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float), (len(centre), 4, 2))
    mesh = quads(corner, surface, uv, normal)
    deep = 0.42 + 0.58 * np.clip(np.linalg.norm(centre - middle, axis=1) / reach, 0, 1)
    low = 0.75 + 0.25 * np.clip((centre[:, 2] - middle[2]) / reach + 0.5, 0, 1)
    tone = deep * low * rng.uniform(0.8, 1.2, len(centre))
    return replace(mesh, colour=(mesh.colour * np.repeat(tone, 4)[:, None]).astype(np.float32))


def hedge(rng: np.random.Generator, length: float) -> Mesh:
    at = np.stack(
        [
            np.arange(0.2, length, 0.35),
            np.zeros(int(np.ceil((length - 0.2) / 0.35))),
            np.full(int(np.ceil((length - 0.2) / 0.35)), 0.5),
        ],
        -1,
    )
    colour = GREENS[rng.integers(2)]
    leaves = _sprays(rng, at, 9, 0.16, colour, (0.3, 0.5))
    core = box((0, -0.22, 0), (length, 0.22, 0.75), Surface((0.03, 0.05, 0.015)))
    return merge([core, leaves])
