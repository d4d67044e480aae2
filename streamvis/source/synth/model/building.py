"""Houses: walls with recessed windows, shops, cornices, roofs. Fronts lie on y = 0, towards -y.

A house has geometry where the light shows it: reveals, sills, cornices, balconies, awnings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

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
from streamvis.source.synth.paint.layers import (
    LAYER,
    NUM_DOORS,
    NUM_OFFICES,
    NUM_SHOPS,
    NUM_WINDOWS,
    WALLS,
)

DEPTH_M = 12.0
WALL_REPEAT_M = 2.4
METAL = Surface((0.045, 0.047, 0.05), gloss=0.15)
STONE = Surface((0.50, 0.48, 0.44), LAYER["concrete"])

TINTS: dict[str, tuple[Colour, ...]] = {
    "brick": (
        (0.46, 0.17, 0.11),
        (0.52, 0.25, 0.16),
        (0.34, 0.15, 0.11),
        (0.58, 0.42, 0.28),
        (0.40, 0.30, 0.24),
    ),
    "old_brick": ((0.38, 0.15, 0.11), (0.48, 0.30, 0.20), (0.55, 0.46, 0.34), (0.30, 0.14, 0.11)),
    "stucco": (
        (0.80, 0.72, 0.56),
        (0.82, 0.79, 0.72),
        (0.70, 0.52, 0.38),
        (0.62, 0.66, 0.64),
        (0.84, 0.70, 0.44),
        (0.68, 0.42, 0.36),
        (0.50, 0.56, 0.62),
    ),
    "stone": ((0.68, 0.62, 0.52), (0.60, 0.57, 0.52), (0.74, 0.70, 0.62)),
    "concrete": ((0.62, 0.61, 0.59), (0.52, 0.52, 0.52), (0.70, 0.67, 0.62)),
}


@dataclass(frozen=True)
class Style:
    """What makes one house differ from the next."""

    wall: Surface
    trim: Surface
    storeys: int
    storey_m: float
    ground_m: float
    bay_m: float
    window_m: tuple[float, float]  # width, height
    window: int  # layer
    recess_m: float
    has_shops: bool
    has_bands: bool
    balconies: int  # every n-th bay from the second storey; 0 = none
    pitched: bool
    awning: Colour | None


def random_style(rng: np.random.Generator) -> Style:
    kind = WALLS[rng.choice(len(WALLS), p=[0.28, 0.16, 0.30, 0.14, 0.12])]
    tints = TINTS[kind]
    tint = tints[rng.integers(len(tints))]
    red, green, blue = (0.35 + 0.55 * c for c in tint)
    cloths: tuple[Colour, ...] = (
        (0.42, 0.04, 0.04),
        (0.04, 0.18, 0.11),
        (0.06, 0.13, 0.30),
        (0.55, 0.36, 0.07),
        (0.30, 0.30, 0.30),
    )
    return Style(
        wall=Surface(tint, LAYER[kind]),
        trim=Surface((min(red, 0.8), min(green, 0.8), min(blue, 0.8)), LAYER["concrete"]),
        storeys=int(rng.integers(2, 6)),
        storey_m=float(rng.uniform(2.9, 3.4)),
        ground_m=float(rng.uniform(3.6, 4.1)),
        bay_m=float(rng.uniform(2.4, 3.4)),
        window_m=(float(rng.uniform(1.0, 1.5)), float(rng.uniform(1.5, 1.95))),
        window=LAYER[f"window_{rng.integers(NUM_WINDOWS)}"],
        recess_m=float(rng.uniform(0.10, 0.22)),
        has_shops=bool(rng.random() < 0.6),
        has_bands=bool(rng.random() < 0.5),
        balconies=int(rng.choice([0, 0, 0, 1, 2])),
        pitched=bool(rng.random() < 0.55),
        awning=cloths[rng.integers(len(cloths))] if rng.random() < 0.4 else None,
    )


def house(
    rng: np.random.Generator, width: float, *, left: bool = False, right: bool = False
) -> Mesh:
    """A house from x = 0 to `width`; `left` and `right` say which side walls are in view and have
    windows too."""
    if rng.random() < 0.14:
        return _office(rng, width)
    style = random_style(rng)
    height = style.ground_m + style.storeys * style.storey_m
    front = _Wall(rng, style, width)
    parts = [merge(front.build(is_front=True))]
    for seen, turn, at in ((left, -np.pi / 2, (0.0, DEPTH_M)), (right, np.pi / 2, (width, 0.0))):
        side = _Wall(rng, style, DEPTH_M)
        faces = side.build(is_front=False) if seen else [side.plain(height)]
        parts.append(merge(faces).placed(*at, turn))
    parts += _crown(rng, style, width, height)
    return merge(parts)


class _Wall:
    """One wall from x = 0 to `width` on y = 0."""

    def __init__(self, rng: np.random.Generator, style: Style, width: float) -> None:
        self.rng, self.style, self.width = rng, style, width
        self.bays = max(1, int(width / style.bay_m))
        self.bay = width / self.bays

    def build(self, *, is_front: bool) -> list[Mesh]:
        style = self.style
        parts = self.ground_floor(is_front)
        for storey in range(style.storeys):
            base = style.ground_m + storey * style.storey_m
            with_balcony = is_front and style.balconies and storey > 0
            parts += self.row(base, with_balcony=bool(with_balcony))
            if style.has_bands or storey == 0:
                parts.append(
                    box(
                        (0, -0.07, base - 0.09),
                        (self.width, 0.02, base + 0.09),
                        style.trim,
                        with_floor=True,
                    )
                )
        top = style.ground_m + style.storeys * style.storey_m
        parts.append(self.sheet(0, self.width, top, top + 0.3))
        return parts

    def plain(self, height: float) -> Mesh:
        return self.sheet(0, self.width, 0, height)

    def sheet(self, x0: float, x1: float, z0: float, z1: float) -> Mesh:
        return _sheet(x0, x1, z0, z1, 0.0, self.style.wall)

    def row(self, base: float, *, with_balcony: bool) -> list[Mesh]:
        """One storey: wall around each window, the window in its reveal."""
        style, parts = self.style, []
        wide, high = style.window_m
        wide = min(wide, self.bay - 0.7)
        sill = base + (0.1 if with_balcony else 0.85)
        high = min(high + (0.55 if with_balcony else 0), style.storey_m - (sill - base) - 0.3)
        edges = [0.0]
        for k in range(self.bays):
            x = (k + 0.5) * self.bay
            edges += [x - wide / 2, x + wide / 2]
            parts += _window(self.rng, style, x - wide / 2, x + wide / 2, sill, sill + high)
            if with_balcony and k % style.balconies == 0:
                parts.append(_balcony(x, base, min(1.1, self.bay / 2 - 0.15)))
        edges.append(self.width)
        parts += [
            self.sheet(0, self.width, base, sill),
            self.sheet(0, self.width, sill + high, base + style.storey_m),
        ]
        parts += [
            self.sheet(a, b, sill, sill + high)
            for a, b in zip(edges[::2], edges[1::2], strict=True)
        ]
        return parts

    def ground_floor(self, is_front: bool) -> list[Mesh]:
        style, height = self.style, self.style.ground_m
        if is_front and style.has_shops:
            return self.shops()
        plinth = Surface((0.26, 0.25, 0.24), LAYER["concrete"])
        parts = [box((0, -0.04, 0), (self.width, 0.02, 0.55), plinth)]
        wide, high, sill = min(1.3, self.bay - 0.6), 1.7, 1.15
        door = int(self.rng.integers(self.bays)) if is_front else -1
        edges = [0.0]
        for k in range(self.bays):
            x = (k + 0.5) * self.bay
            if k == door:
                layer = LAYER[f"door_{self.rng.integers(NUM_DOORS)}"]
                parts += _opening(
                    x - 0.65,
                    x + 0.65,
                    0.05,
                    sill + high,
                    0.18,
                    style.trim,
                    Surface((0.9, 0.9, 0.9), layer, kind=Kind.WINDOW),
                )
                parts.append(box((x - 0.75, -0.35, 0), (x + 0.75, 0, 0.14), STONE))
                edges += [x - 0.65, x + 0.65]
            else:
                parts += _window(self.rng, style, x - wide / 2, x + wide / 2, sill, sill + high)
                edges += [x - wide / 2, x + wide / 2]
        edges.append(self.width)
        parts.append(self.sheet(0, self.width, sill + high, height))
        for k, (a, b) in enumerate(zip(edges[::2], edges[1::2], strict=True)):
            parts.append(self.sheet(a, b, 0, sill + high))
            if k < self.bays and k != door:
                parts.append(self.sheet(b, edges[2 * k + 2], 0, sill))
        return parts

    def shops(self) -> list[Mesh]:
        """Shop fronts of 4 to 6 m between piers."""
        style, rng = self.style, self.rng
        count = max(1, round(self.width / 5.0))
        step, parts = self.width / count, []
        for k in range(count):
            x0, x1 = k * step + 0.22, (k + 1) * step - 0.22
            layer = LAYER[f"shop_{rng.integers(NUM_SHOPS)}"]
            pane = Surface((float(rng.random()) * 0.6, 0.9, 0.9), layer, kind=Kind.WINDOW)
            parts += _opening(x0, x1, 0.0, 3.45, 0.12, style.trim, pane)
            if style.awning is not None and rng.random() < 0.6:
                parts.append(_awning(x0 - 0.1, x1 + 0.1, style.awning))
        edges = [
            0.0,
            *(v for k in range(count) for v in (k * step + 0.22, (k + 1) * step - 0.22)),
            self.width,
        ]
        parts += [self.sheet(a, b, 0, 3.45) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        parts.append(self.sheet(0, self.width, 3.45, style.ground_m))
        return parts


def _sheet(x0: float, x1: float, z0: float, z1: float, y: float, surface: Surface) -> Mesh:
    corners = [(x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)]
    uv = [(x / WALL_REPEAT_M, z / WALL_REPEAT_M) for x, _, z in corners]
    return quads([corners], surface, [uv])


def _opening(
    x0: float, x1: float, z0: float, z1: float, deep: float, reveal: Surface, pane: Surface
) -> list[Mesh]:
    """A hole of the wall: four reveals and what closes it."""
    a, b, c, d = (x0, z0), (x1, z0), (x1, z1), (x0, z1)
    sides = [
        [(*p[:1], 0, p[1]), (*q[:1], 0, q[1]), (*q[:1], deep, q[1]), (*p[:1], deep, p[1])]
        for p, q in ((a, b), (b, c), (c, d), (d, a))
    ]
    face = [(x, deep, z) for x, z in (a, b, c, d)]
    return [quads(sides, reveal), quads([face], pane, [[(0, 0), (1, 0), (1, 1), (0, 1)]])]


def _window(
    rng: np.random.Generator, style: Style, x0: float, x1: float, z0: float, z1: float
) -> list[Mesh]:
    # The colour's red is the number of the room, which decides whether it is lit at night.
    pane = Surface((float(rng.random()), 0.9, 0.9), style.window, kind=Kind.WINDOW)
    sill = box(
        (x0 - 0.10, -0.10, z0 - 0.09), (x1 + 0.10, style.recess_m, z0), style.trim, with_floor=True
    )
    parts = [*_opening(x0, x1, z0, z1, style.recess_m, style.trim, pane), sill]
    if style.has_bands:
        parts.append(
            box((x0 - 0.08, -0.05, z1), (x1 + 0.08, 0.02, z1 + 0.16), style.trim, with_floor=True)
        )
    return parts


def _balcony(x: float, z: float, half: float) -> Mesh:
    out, posts = 0.85, np.linspace(-half, half, 9)
    rails = [
        Bar((x + p, -out, z + 0.1), (x + p, -out, z + 1.0), 0.013, 0.013, METAL) for p in posts
    ]
    rails += [
        Bar((x + s * half, -out, z + 1.0), (x + s * half, 0, z + 1.0), 0.02, 0.02, METAL)
        for s in (-1, 1)
    ]
    rails.append(Bar((x - half, -out, z + 1.02), (x + half, -out, z + 1.02), 0.024, 0.024, METAL))
    return merge(
        [
            box(
                (x - half - 0.05, -out - 0.05, z - 0.06),
                (x + half + 0.05, 0, z + 0.08),
                STONE,
                with_floor=True,
            ),
            bars(rails, 4),
        ]
    )


def _awning(x0: float, x1: float, cloth: Colour) -> Mesh:
    cream: Colour = (0.66, 0.62, 0.52)
    edges = np.linspace(x0, x1, max(4, int((x1 - x0) / 0.42)))
    parts = []
    for k, (a, b) in enumerate(pairwise(edges)):
        slope = [(a, 0, 3.0), (b, 0, 3.0), (b, -1.25, 2.55), (a, -1.25, 2.55)]
        frill = [(a, -1.25, 2.55), (b, -1.25, 2.55), (b, -1.25, 2.33), (a, -1.25, 2.33)]
        parts.append(quads([slope, frill], Surface(cloth if k % 2 else cream, LAYER["fabric"])))
    return merge(parts)


def _crown(rng: np.random.Generator, style: Style, width: float, height: float) -> list[Mesh]:
    """Cornice, then a pitched roof or a parapet with what stands on flat roofs."""
    top = height + 0.3
    parts = [
        box(
            (-0.12, -0.42, height + 0.02),
            (width + 0.12, 0.3, height + 0.20),
            style.trim,
            with_floor=True,
        ),
        box(
            (-0.2, -0.52, height + 0.20),
            (width + 0.2, 0.3, top + 0.06),
            style.trim,
            with_floor=True,
        ),
    ]
    if style.pitched:
        tiles: tuple[Colour, ...] = ((0.10, 0.10, 0.115), (0.30, 0.12, 0.075), (0.20, 0.12, 0.09))
        slate = Surface(tiles[rng.integers(len(tiles))], LAYER["roof"])
        parts.append(_pitched(width, top, slate))
        for x in rng.uniform(0.3, max(0.4, width - 1.4), 2):
            parts.append(
                box(
                    (x, 4.6, top + 1),
                    (x + 0.9, 5.5, top + 4.4),
                    Surface((0.30, 0.14, 0.10), LAYER["brick"]),
                )
            )
        return parts
    parts += [
        box((0, -0.05, top), (width, 0.22, top + 0.75), style.wall, repeat_m=WALL_REPEAT_M),
        box(
            (0, 0.2, top),
            (width, DEPTH_M, top + 0.1),
            Surface((0.16, 0.16, 0.165), LAYER["concrete"]),
        ),
        box((width * 0.55, 4, top), (width * 0.55 + 2.6, 7.4, top + 2.3), style.trim),
    ]
    for x in (0.0, width - 0.2):
        parts.append(
            box((x, 0, top), (x + 0.2, DEPTH_M, top + 0.75), style.wall, repeat_m=WALL_REPEAT_M)
        )
    return parts


def _pitched(width: float, z: float, tiles: Surface) -> Mesh:
    rise = 0.62 * DEPTH_M / 2
    ridge, eave, back = (DEPTH_M / 2, z + rise), (-0.45, z - 0.1), (DEPTH_M + 0.3, z - 0.1)
    slopes = [[(0, *e), (width, *e), (width, *ridge), (0, *ridge)] for e in (eave, back)]
    uv = [[(0, 0), (width / 3, 0), (width / 3, 2.2), (0, 2.2)]] * 2
    gables = [[(x, 0.0, z), (x, DEPTH_M, z), (x, *ridge), (x, *ridge)] for x in (0.0, width)]
    return merge(
        [quads(slopes, tiles, uv), quads(gables, Surface((0.45, 0.40, 0.36), LAYER["stucco"]))]
    )


def _office(rng: np.random.Generator, width: float) -> Mesh:
    """Glass bays between thin piers on all seen sides, a flat roof."""
    storeys = int(rng.integers(4, 8))
    layer = LAYER[f"office_{rng.integers(NUM_OFFICES)}"]
    tone: Colour = ((0.55, 0.55, 0.54), (0.25, 0.26, 0.28), (0.62, 0.58, 0.50))[
        int(rng.integers(3))
    ]
    pier = Surface(tone, LAYER["concrete"])
    height, parts = 4.2 + 3.4 * storeys, []
    bays = max(2, int(width / 2.6))
    for turn, at, wide, count in (
        (0.0, (0.0, 0.0), width, bays),
        (-np.pi / 2, (0.0, DEPTH_M), DEPTH_M, 4),
        (np.pi / 2, (width, 0.0), DEPTH_M, 4),
    ):
        wall = []
        step = wide / count
        for storey in range(storeys + 1):
            z0 = 0.0 if storey == 0 else 4.2 + 3.4 * (storey - 1)
            z1 = 4.0 if storey == 0 else z0 + 3.4
            for k in range(count):
                pane = Surface((float(rng.random()), 0.9, 0.9), layer, kind=Kind.WINDOW)
                wall.append(
                    quads(
                        [
                            [
                                (k * step, 0.16, z0),
                                ((k + 1) * step, 0.16, z0),
                                ((k + 1) * step, 0.16, z1),
                                (k * step, 0.16, z1),
                            ]
                        ],
                        pane,
                        [[(0, 0), (1, 0), (1, 1), (0, 1)]],
                    )
                )
        for k in range(count + 1):
            x = min(k * step, wide - 0.01)
            wall.append(box((x - 0.11, -0.06, 0), (x + 0.11, 0.16, height), pier))
        wall.append(box((0, -0.12, 3.95), (wide, 0.16, 4.25), pier, with_floor=True))
        parts.append(merge(wall).placed(*at, turn))
    parts += [
        box((-0.1, -0.16, height), (width + 0.1, DEPTH_M, height + 0.9), pier, with_floor=True),
        box(
            (width * 0.3, 3, height + 0.9),
            (width * 0.3 + 3.5, 8, height + 3.4),
            Surface((0.4, 0.4, 0.41)),
        ),
    ]
    return merge(parts)


def terrace(
    rng: np.random.Generator, length: float, *, open_ends: Sequence[bool] = (True, True)
) -> list[tuple[float, Mesh]]:
    """(x, house) wall to wall along x from 0 to `length`, fronts on y = 0 towards -y."""
    parts: list[tuple[float, Mesh]] = []
    x = 0.0
    while x < length - 0.1:
        width = min(float(rng.uniform(8.5, 16.0)), length - x)
        if length - x - width < 6:
            width = length - x
        is_first, is_last = x == 0.0, x + width > length - 0.1
        left, right = is_first and open_ends[0], is_last and open_ends[1]
        parts.append((x, house(rng, width, left=left, right=right)))
        x += width
    return parts
