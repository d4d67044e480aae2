"""What stands still: ground, houses, trees, lamps, signals and signs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth import facade as fronts
from streamvis.source.synth import texture as paint
from streamvis.source.synth.atlas import Atlas, Texture
from streamvis.source.synth.mesh import (
    Colour,
    Mesh,
    Surface,
    box,
    capsules,
    disc,
    ellipsoid,
    merge,
    quads,
    triangles,
)

LANE_M, CYCLE_M, PARKING_M, PAVEMENT_M = 3.4, 1.5, 2.2, 4.0
KERB_Y = LANE_M + CYCLE_M + PARKING_M  # m from the middle of the street
HOUSE_Y = KERB_Y + PAVEMENT_M
KERB_Z = 0.13
SIDE_HALF_M = 4.6  # half width of a side street's carriageway
CORNER_M = SIDE_HALF_M + 3.0  # from a junction's middle to the first house
ZEBRA_M = 4.8
HOUSE_DEPTH_M = 12.0
NUM_FRONTS = 10
METAL = Surface((0.10, 0.11, 0.11), gloss=0.12)
STONE = Surface((0.42, 0.40, 0.37))

(WHITE, ROAD, ZEBRA, TARMAC, SLABS, BARK, LEAVES) = range(7)
PAVING = Surface((1, 1, 1), SLABS)
FIRST_SIGN = LEAVES + 1
FIRST_FRONT = FIRST_SIGN + len(paint.SIGNS)

TINTS: tuple[Colour, ...] = (
    (0.80, 0.70, 0.56), (0.62, 0.30, 0.22), (0.82, 0.80, 0.74), (0.50, 0.36, 0.28),
    (0.76, 0.58, 0.42), (0.58, 0.62, 0.60), (0.84, 0.72, 0.48), (0.46, 0.24, 0.20),
    (0.66, 0.68, 0.72), (0.72, 0.52, 0.46),
)  # fmt: skip


@dataclass(frozen=True)
class Materials:
    atlas: Atlas
    bays: tuple[int, ...]  # windows across each front


def random_materials(rng: np.random.Generator) -> Materials:
    styles = [fronts.random_style(rng) for _ in range(NUM_FRONTS)]
    textures: list[Texture] = [
        paint.white(),
        paint.road(rng, KERB_Y, LANE_M, CYCLE_M),
        paint.crossing(rng, KERB_Y, ZEBRA_M),
        paint.plain_road(rng),
        paint.pavement(rng),
        paint.bark(rng),
        paint.dapple(rng),
        *(paint.sign(kind) for kind in paint.SIGNS),
        *(fronts.facade(rng, style) for style in styles),
    ]
    return Materials(Atlas.pack(textures), tuple(s.bays for s in styles))


def floor(x0: float, x1: float, y0: float, y1: float, z: float, surface: Surface) -> Mesh:
    """A level rectangle; u follows x, v follows y from the rectangle's edge."""
    corners = [(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)]
    uv = [(x0, 0), (x1, 0), (x1, y1 - y0), (x0, y1 - y0)]
    return quads([corners], surface, [uv])


def _span(a: float, b: float) -> tuple[float, float]:
    return min(a, b), max(a, b)


def earth(low_x: float, high_x: float) -> Mesh:
    return floor(low_x - 600, high_x + 600, -700, 700, -0.06, Surface((0.16, 0.17, 0.13)))


def carriageway(x0: float, x1: float) -> Mesh:
    return floor(x0, x1, -KERB_Y, KERB_Y, 0.0, Surface((1, 1, 1), ROAD))


def zebra(x0: float) -> Mesh:
    """A crossing from x0 on, ZEBRA_M long; u must start at its edge."""
    return floor(0, ZEBRA_M, -KERB_Y, KERB_Y, 0.0, Surface((1, 1, 1), ZEBRA)).placed(x0, 0)


def _kerb(start: tuple[float, float], end: tuple[float, float]) -> Mesh:
    """The upright face of the kerb's stone between two points of the ground."""
    return quads([[(*start, 0), (*end, 0), (*end, KERB_Z), (*start, KERB_Z)]], STONE)


def sidewalk(x0: float, x1: float, side: int) -> Mesh:
    """Slabs between gutter and houses."""
    inner, outer = side * KERB_Y, side * HOUSE_Y
    edge = inner + side * 0.22
    gutter = Surface((0.11, 0.11, 0.11))
    return merge(
        [
            floor(x0, x1, *_span(edge, outer), KERB_Z, PAVING),
            floor(x0, x1, *_span(inner, edge), KERB_Z, STONE),
            _kerb((x0, inner), (x1, inner)),
            floor(x0, x1, *_span(inner, inner - side * 0.3), 0.004, gutter),
        ]
    )


def junction(x: float) -> Mesh:
    """The crossing of a side street: its tarmac far out to both sides."""
    tarmac = Surface((1, 1, 1), TARMAC)
    parts = [floor(x - CORNER_M, x + CORNER_M, -KERB_Y, KERB_Y, 0.0, tarmac)]
    for side in (-1, 1):
        mouth = side * KERB_Y
        near, far = _span(mouth, side * 120.0)
        parts.append(floor(x - SIDE_HALF_M, x + SIDE_HALF_M, near, far, 0.0, tarmac))
        for edge, corner in ((x - SIDE_HALF_M, x - CORNER_M), (x + SIDE_HALF_M, x + CORNER_M)):
            parts.append(floor(*_span(edge, corner), near, far, KERB_Z, PAVING))
            parts.append(_kerb((edge, near), (edge, far)))
            parts.append(_kerb((edge, mouth), (corner, mouth)))
        stop_line = _span(side * (HOUSE_Y - 0.4), side * (HOUSE_Y - 0.05))
        mark = Surface((0.6, 0.6, 0.56))
        parts.append(floor(x, x + SIDE_HALF_M - 0.3, *stop_line, 0.006, mark))
    return merge(parts)


def _wall(x0: float, x1: float, y: float, height: float, surface: Surface) -> Mesh:
    corners = [(x0, y, 0), (x1, y, 0), (x1, y, height), (x0, y, height)]
    uv = [(0, 0), (x1 - x0, 0), (x1 - x0, height), (0, height)]
    return quads([corners], surface, [uv])


def _side_wall(x: float, depth: float, height: float, surface: Surface) -> Mesh:
    """The wall at x = 0 is read from the left, the other from the right."""
    corners = [(x, 0, 0), (x, depth, 0), (x, depth, height), (x, 0, height)]
    near, far = (depth, 0.0) if x == 0 else (0.0, depth)
    return quads([corners], surface, [[(near, 0), (far, 0), (far, height), (near, height)]])


def house(rng: np.random.Generator, materials: Materials, width: float, depth: float) -> Mesh:
    """A house whose front lies on y = 0 from x = 0 to width and looks towards -y."""
    pick = int(rng.integers(NUM_FRONTS))
    tint = TINTS[rng.integers(len(TINTS))]
    storeys = int(rng.integers(2, fronts.STOREYS + 1))
    height = fronts.GROUND_M + storeys * fronts.STOREY_M
    front = Surface(tint, FIRST_FRONT + pick)
    trim = Surface(_toned(tint, 0.5, 0.35))
    slate: Colour = (0.10, 0.10, 0.115) if rng.random() < 0.6 else (0.22, 0.11, 0.08)
    parts = [
        _wall(0, width, 0, height, front),
        *(_side_wall(x, depth, height, front) for x in (0, width)),
        box((-0.1, -0.38, height - 0.12), (width + 0.1, 0.3, height + 0.28), trim, with_floor=True),
        box(
            (-0.05, -0.14, fronts.GROUND_M - 0.14),
            (width + 0.05, 0.1, fronts.GROUND_M + 0.1),
            trim,
            with_floor=True,
        ),
        _roof(width, depth, height + 0.28, Surface(slate)),
    ]
    parts += _chimneys(rng, width, height)
    bay = fronts.WIDTH_M / materials.bays[pick]
    if rng.random() < 0.45:
        parts.append(_awning(rng, rng.uniform(0.2, 1.0), width * rng.uniform(0.4, 0.9)))
    if rng.random() < 0.4:
        parts += [
            _balcony(bay * (k + 0.5), fronts.GROUND_M + fronts.STOREY_M)
            for k in range(int(width / bay))
        ]
    return merge(parts)


def _toned(colour: Colour, factor: float, lift: float = 0.0) -> Colour:
    red, green, blue = colour
    return lift + factor * red, lift + factor * green, lift + factor * blue


def _roof(width: float, depth: float, height: float, slate: Surface) -> Mesh:
    rise, back = 2.6, 2.2
    front = [
        (0, 0.1, height),
        (width, 0.1, height),
        (width, back, height + rise),
        (0, back, height + rise),
    ]
    top = [
        (0, back, height + rise),
        (width, back, height + rise),
        (width, depth, height + rise),
        (0, depth, height + rise),
    ]
    ends = [
        [(x, 0.1, height), (x, back, height + rise), (x, depth, height + rise), (x, depth, height)]
        for x in (0, width)
    ]
    return quads([front, top, *ends], slate)


def _chimneys(rng: np.random.Generator, width: float, height: float) -> list[Mesh]:
    brick = Surface((0.34, 0.16, 0.11))
    return [
        box((x, 2.4, height + 2), (x + 0.9, 3.2, height + 4.3 + rng.uniform(0, 0.6)), brick)
        for x in rng.uniform(0.3, max(0.4, width - 1.2), 2)
    ]


def _awning(rng: np.random.Generator, x0: float, width: float) -> Mesh:
    cloths: tuple[Colour, ...] = (
        (0.50, 0.06, 0.05),
        (0.05, 0.22, 0.14),
        (0.08, 0.16, 0.36),
        (0.60, 0.42, 0.10),
    )
    cloth, cream = Surface(cloths[rng.integers(len(cloths))]), Surface((0.72, 0.68, 0.58))
    edges = np.linspace(x0, x0 + width, max(4, int(width / 0.45)))
    parts = []
    for k, (a, b) in enumerate(pairwise(edges)):
        stripe = cloth if k % 2 else cream
        slope = [(a, 0, 3.15), (b, 0, 3.15), (b, -1.15, 2.62), (a, -1.15, 2.62)]
        frill = [(a, -1.15, 2.62), (b, -1.15, 2.62), (b, -1.15, 2.42), (a, -1.15, 2.42)]
        parts.append(quads([slope, frill], stripe))
    return merge(parts)


def _balcony(x: float, z: float) -> Mesh:
    w, out = 0.85, 0.75
    posts = [(x - w + k * 2 * w / 8, -out) for k in range(9)]
    return merge(
        [
            box((x - w, -out, z), (x + w, 0, z + 0.12), STONE, with_floor=True),
            box(
                (x - w, -out - 0.02, z + 0.95),
                (x + w, -out + 0.03, z + 1.0),
                METAL,
                with_floor=True,
            ),
            capsules(
                [(px, py, z + 0.1) for px, py in posts],
                [(px, py, z + 0.97) for px, py in posts],
                0.015,
                0.015,
                METAL,
                3,
            ),
        ]
    )


def terrace(
    rng: np.random.Generator, materials: Materials, length: float, depth: float = HOUSE_DEPTH_M
) -> Mesh:
    """Houses wall to wall along x from 0 to `length`, fronts on y = 0 towards -y."""
    parts, x = [], 0.0
    while x < length - 0.1:
        width = min(float(rng.uniform(7.5, 13.0)), length - x)
        if length - x - width < 5:
            width = length - x
        parts.append(house(rng, materials, width, depth).placed(x, 0))
        x += width
    return merge(parts)


def tree(rng: np.random.Generator) -> Mesh:
    """A trunk, branches, and a crown of leaf clusters shaded as one round body."""
    height = rng.uniform(2.6, 3.4)
    greens: tuple[Colour, ...] = (
        (0.13, 0.21, 0.05),
        (0.10, 0.18, 0.05),
        (0.19, 0.23, 0.06),
        (0.22, 0.21, 0.05),
    )
    green = np.array(greens[rng.integers(len(greens))])
    trunk = Surface((0.9, 0.9, 0.9), BARK)
    blobs = np.array([0, 0, height + 1.2]) + rng.normal(0, 1, (8, 3)) * (0.85, 0.85, 0.75)
    bole = capsules([(0, 0, 0)], [(0, 0, height)], 0.17, 0.11, trunk, 9)
    limbs = capsules(np.tile((0, 0, height - 0.3), (8, 1)), blobs, 0.06, 0.02, trunk, 5)
    grate = box((-0.6, -0.6, 0.0), (0.6, 0.6, 0.01), Surface((0.07, 0.06, 0.05)))
    return merge([bole, limbs, grate, _crown(rng, blobs, green)])


def _crown(
    rng: np.random.Generator, blobs: NDArray[np.float64], green: NDArray[np.float64]
) -> Mesh:
    """Dark bodies that close the crown, and leaf sprays around them."""
    count = 210
    out = rng.normal(0, 1, (len(blobs), count, 3))
    out /= np.linalg.norm(out, axis=-1, keepdims=True)
    spread = rng.uniform(0.55, 1.1, (len(blobs), count, 1))
    centre = (blobs[:, None] + out * spread).reshape(-1, 3)
    corner = rng.normal(0, 1, (len(centre), 3, 3))
    corner *= rng.uniform(0.11, 0.20, (len(centre), 1, 1)) / np.linalg.norm(
        corner, axis=-1, keepdims=True
    )
    round_normal = centre - blobs.mean(0) + (0, 0, 0.4)
    round_normal /= np.linalg.norm(round_normal, axis=-1, keepdims=True)
    uv = rng.uniform(0, 1, (len(centre), 3, 2)) * 0.4
    red, grass, blue = 0.4 * green
    dark = Surface((red, grass, blue), LEAVES)
    bodies = [ellipsoid(b, (0.62, 0.62, 0.52), dark, 10) for b in blobs]
    mesh = triangles(
        centre[:, None] + corner, Surface((1, 1, 1), LEAVES), uv, round_normal[:, None]
    )
    mesh.colour[:] = green * rng.uniform(0.6, 1.5, (len(centre), 1))
    return merge([mesh, *bodies])


def street_lamp(arm_m: float = 1.8) -> Mesh:
    """A pole whose arm reaches towards -y."""
    top = 6.2
    return merge(
        [
            capsules(
                [(0, 0, 0), (0, 0, 0.9)],
                [(0, 0, 0.9), (0, 0, top)],
                [0.1, 0.065],
                [0.085, 0.045],
                METAL,
            ),
            capsules([(0, 0, top)], [(0, -arm_m, top + 0.35)], 0.04, 0.03, METAL),
            box(
                (-0.12, -arm_m - 0.5, top + 0.28),
                (0.12, -arm_m + 0.1, top + 0.4),
                METAL,
                with_floor=True,
            ),
        ]
    )


def bin_() -> Mesh:
    return capsules(
        [(0, 0, 0.1)], [(0, 0, 0.85)], 0.22, 0.24, Surface((0.05, 0.12, 0.08), gloss=0.1), 10
    )


def pole(height: float) -> Mesh:
    return capsules([(0, 0, 0)], [(0, 0, height)], 0.055, 0.05, METAL)


SIGNAL_SIZE_M = (0.26, 0.34, 0.98)


def signal_head(lamp: str) -> Mesh:
    """A three-lamp head around its own middle that looks towards -x; `lamp` is lit."""
    depth, width, height = SIGNAL_SIZE_M
    case = Surface((0.025, 0.03, 0.028), gloss=0.1)
    parts = [
        box(
            (-depth / 2, -width / 2, -height / 2),
            (depth / 2, width / 2, height / 2),
            case,
            with_floor=True,
        )
    ]
    lamps: Sequence[tuple[str, Colour, float]] = (
        ("red", (1.0, 0.05, 0.03), 0.31),
        ("amber", (1.0, 0.5, 0.04), 0.0),
        ("green", (0.06, 0.95, 0.45), -0.31),
    )
    for name, colour, z in lamps:
        bright = name == lamp
        lens = Surface(colour if bright else _toned(colour, 0.12), 0, 0.2, 3.0 if bright else 0.0)
        parts.append(
            disc((0, 0, 0), 0.115, lens, 14)
            .placed(0, 0, np.pi / 2)
            .placed(-depth / 2 - 0.01, 0, 0, z)
        )
        hood = [
            [
                (-depth / 2, -0.13, z + 0.13),
                (-depth / 2, 0.13, z + 0.13),
                (-depth / 2 - 0.2, 0.13, z + 0.11),
                (-depth / 2 - 0.2, -0.13, z + 0.11),
            ]
        ]
        parts.append(quads(hood, case))
    return merge(parts)


SIGN_RADIUS_M = 0.36


def sign_plate(kind: str) -> Mesh:
    """A sign around its own middle that looks towards -x."""
    square = np.array([(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)])
    outline = _round_outline() if kind in ("speed", "no_entry") else square
    face = Surface((1, 1, 1), FIRST_SIGN + paint.SIGNS.index(kind), gloss=0.05)
    return merge(
        [_plate(outline, -0.015, face), _plate(outline, 0.015, Surface((0.3, 0.31, 0.32)))]
    )


def _round_outline() -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return np.stack([np.sin(angle), np.cos(angle)], -1)


def _plate(outline: NDArray[np.float64], x: float, surface: Surface) -> Mesh:
    ring = np.concatenate([outline, outline[:1]])
    fan = np.stack([np.zeros_like(outline), ring[:-1], ring[1:]], 1)  # [T, 3, 2] right, up
    position = np.stack(
        [np.full(fan.shape[:2], x), -fan[..., 0] * SIGN_RADIUS_M, fan[..., 1] * SIGN_RADIUS_M], -1
    )
    return triangles(position, surface, 0.5 + 0.495 * fan)
