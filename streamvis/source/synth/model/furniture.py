"""What stands on pavements: lamps, signals, signs, bins, bollards, benches, wires."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from streamvis.source.synth.model.mesh import (
    Bar,
    Colour,
    Mesh,
    Surface,
    bars,
    box,
    build,
    disc,
    merge,
    quads,
)
from streamvis.source.synth.paint.layers import LAYER

METAL = Surface((0.07, 0.075, 0.078), gloss=0.18)
GALVANISED = Surface((0.30, 0.31, 0.32), gloss=0.15)
WOOD = Surface((0.20, 0.11, 0.06))
LAMP_TOP_M, LAMP_ARM_M = 6.6, 2.0


def street_lamp(is_on: bool) -> Mesh:
    """A pole whose arm reaches towards -y."""
    glow = Surface((1.0, 0.86, 0.66), glow=9.0) if is_on else Surface((0.5, 0.5, 0.48))
    top, arm = LAMP_TOP_M, LAMP_ARM_M
    pole = [
        Bar((0, 0, 0), (0, 0, 1.0), 0.105, 0.095, METAL),
        Bar((0, 0, 0.9), (0, 0, top), 0.07, 0.05, METAL),
        Bar((0, 0, top), (0, -arm * 0.5, top + 0.32), 0.042, 0.036, METAL),
        Bar((0, -arm * 0.5, top + 0.32), (0, -arm, top + 0.36), 0.036, 0.032, METAL),
    ]
    head = box(
        (-0.13, -arm - 0.55, top + 0.30), (0.13, -arm + 0.05, top + 0.42), METAL, with_floor=True
    )
    glass = quads(
        [
            [
                (-0.1, -arm - 0.5, top + 0.295),
                (0.1, -arm - 0.5, top + 0.295),
                (0.1, -arm, top + 0.295),
                (-0.1, -arm, top + 0.295),
            ]
        ],
        glow,
    )
    return merge([bars(pole), head, glass])


def pole(height: float, radius: float = 0.04) -> Mesh:
    return bars([Bar((0, 0, 0), (0, 0, height), radius, radius * 0.92, GALVANISED)])


def bin_() -> Mesh:
    green = Surface((0.035, 0.085, 0.055), gloss=0.12)
    return bars(
        [
            Bar((0, 0, 0.2), (0, 0, 0.80), 0.21, 0.24, green),
            Bar((0, 0, 0.85), (0, 0, 0.9), 0.25, 0.2, METAL),
        ],
        12,
    )


def bollard() -> Mesh:
    white = Surface((0.6, 0.6, 0.58), gloss=0.2)
    return bars(
        [
            Bar((0, 0, 0), (0, 0, 0.88), 0.065, 0.06, METAL),
            Bar((0, 0, 0.70), (0, 0, 0.78), 0.069, 0.069, white),
        ],
        9,
    )


def hydrant() -> Mesh:
    red = Surface((0.36, 0.03, 0.025), gloss=0.15)
    return bars(
        [
            Bar((0, 0, 0), (0, 0, 0.55), 0.12, 0.11, red),
            Bar((0, -0.18, 0.4), (0, 0.18, 0.4), 0.06, 0.06, red),
            Bar((0, 0, 0.6), (0, 0, 0.68), 0.12, 0.05, red),
        ],
        10,
    )


def bench() -> Mesh:
    slats = [
        box((-0.9, y, 0.44), (0.9, y + 0.11, 0.48), WOOD, with_floor=True)
        for y in (-0.22, -0.08, 0.06)
    ]
    back = [
        box((-0.9, 0.22, z), (0.9, 0.25, z + 0.11), WOOD, with_floor=True) for z in (0.58, 0.74)
    ]
    legs = [
        box((x - 0.03, -0.2, 0), (x + 0.03, 0.25, 0.85 if k else 0.44), METAL)
        for k, x in enumerate((-0.75, 0.75))
    ]
    return merge([*slats, *back, *legs])


def box_cabinet() -> Mesh:
    return box(
        (-0.45, -0.2, 0),
        (0.45, 0.2, 1.25),
        Surface((0.32, 0.34, 0.32), LAYER["concrete"], gloss=0.08),
    )


def shelter() -> Mesh:
    """A bus shelter that opens towards -y."""
    glass = Surface((0.10, 0.12, 0.13), gloss=0.7)
    posts = [
        Bar((x, y, 0), (x, y, 2.5), 0.045, 0.045, METAL) for x in (-1.9, 1.9) for y in (-0.55, 0.55)
    ]
    return merge(
        [
            bars(posts, 7),
            box((-2.1, -0.8, 2.48), (2.1, 0.75, 2.6), METAL, with_floor=True),
            box((-1.85, 0.53, 0.35), (1.85, 0.56, 2.3), glass),
            bench().placed(0, 0.2),
            box(
                (-1.93, -0.5, 0.35),
                (-1.9, 0.5, 2.3),
                Surface((0.75, 0.72, 0.7), LAYER["shop_0"], glow=0.1),
            ),
        ]
    )


def wire(a: Sequence[float], b: Sequence[float], sag: float = 0.5) -> Mesh:
    t = np.linspace(0, 1, 9)[:, None]
    points = np.array(a) * (1 - t) + np.array(b) * t - np.array([0, 0, sag]) * 4 * t * (1 - t)
    black = Surface((0.02, 0.02, 0.02))
    return bars([Bar(p, q, 0.013, 0.013, black) for p, q in pairwise(points)], 4)


SIGNAL_SIZE_M = (0.24, 0.36, 1.02)
_LAMPS: tuple[tuple[str, Colour, float], ...] = (
    ("red", (1.0, 0.04, 0.02), 0.32),
    ("amber", (1.0, 0.45, 0.02), 0.0),
    ("green", (0.02, 0.95, 0.42), -0.32),
)


def signal_head(lit: str) -> Mesh:
    """A three-lamp head around its own middle that looks towards -x; `lit` names a lamp."""
    deep, wide, high = SIGNAL_SIZE_M
    case = Surface((0.014, 0.016, 0.016), gloss=0.12)
    parts = [
        box(
            (-deep / 2, -wide / 2, -high / 2), (deep / 2, wide / 2, high / 2), case, with_floor=True
        ),
        box(
            (deep / 2 - 0.01, -wide * 0.75, -high * 0.58),
            (deep / 2, wide * 0.75, high * 0.58),
            case,
            with_floor=True,
        ),
    ]
    for name, colour, z in _LAMPS:
        is_lit = name == lit
        tone: Colour = colour if is_lit else (0.10 * colour[0], 0.08 * colour[1], 0.08 * colour[2])
        lens = Surface(tone, gloss=0.2, glow=7.0 if is_lit else 0.0)
        parts.append(
            disc((0, 0, 0), 0.118, lens, 16)
            .placed(0, 0, np.pi / 2)
            .placed(-deep / 2 - 0.012, 0, 0, z)
        )
        parts.append(_hood(z, case, deep))
    return merge(parts)


def _hood(z: float, case: Surface, deep: float) -> Mesh:
    angle = np.linspace(-0.35, np.pi + 0.35, 9)
    rim = np.stack([np.cos(angle) * 0.14, z + np.sin(angle) * 0.14], -1)
    near, far = (np.insert(rim, 0, x, axis=1) for x in (-deep / 2, -deep / 2 - 0.22))
    return quads(np.stack([near[:-1], near[1:], far[1:], far[:-1]], 1), case)


SIGN_RADIUS_M = 0.34
_SIDES = {"stop": 8, "yield": 3, "speed": 28, "no_entry": 28, "arrow": 28, "no_parking": 28}


def sign_plate(kind: str) -> Mesh:
    """A sign around its own middle that looks towards -x."""
    sides = _SIDES.get(kind, 4)
    start = {8: np.pi / 8, 3: np.pi, 4: np.pi / 4}.get(sides, 0.0)
    radius = {8: 1.02, 3: 1.2, 4: 1.36}.get(sides, 1.0)
    angle = start + np.linspace(0, 2 * np.pi, sides, endpoint=False)
    outline = radius * np.stack([np.sin(angle), np.cos(angle)], -1)
    face = Surface((0.9, 0.9, 0.9), LAYER[f"sign_{kind}"], gloss=0.06)
    return merge([_plate(outline, -0.016, -1.0, face), _plate(outline, 0.0, 1.0, GALVANISED)])


def _plate(outline: np.ndarray, x: float, towards: float, surface: Surface) -> Mesh:
    points = np.concatenate([[(0.0, 0.0)], outline])
    k = np.arange(len(outline))
    faces = np.stack([0 * k, 1 + k, 1 + (k + 1) % len(outline)], -1)
    position = np.stack(
        [np.full(len(points), x), -points[:, 0] * SIGN_RADIUS_M, points[:, 1] * SIGN_RADIUS_M], -1
    )
    normal = np.tile((towards, 0.0, 0.0), (len(points), 1))
    return build(position, normal, faces, surface, 0.5 + 0.49 * points / np.abs(points).max())
