"""House fronts: a ground floor with shops or doors, storeys of windows, a cornice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.atlas import Texture
from streamvis.source.synth.texture import Image, Tone, finish, letters, plain, value_noise

PX_PER_M = 40
GROUND_M, STOREY_M, STOREYS = 4.0, 3.0, 4
WIDTH_M = 12.8
HEIGHT_M = GROUND_M + STOREYS * STOREY_M  # 16 m = 640 px


@dataclass(frozen=True)
class Style:
    """What makes one front differ from the next."""

    brick: bool
    bays: int
    window_w: float  # m
    window_h: float  # m
    frame: Tone
    shop: Tone
    has_shutters: bool
    shutter: Tone


def random_style(rng: np.random.Generator) -> Style:
    shops = [(52, 74, 66), (120, 40, 38), (38, 58, 96), (44, 44, 48), (150, 112, 52), (96, 66, 44)]
    shutters = [(70, 96, 84), (92, 110, 130), (120, 82, 60), (214, 210, 200)]
    frames = [(238, 236, 230), (70, 62, 56), (216, 208, 192)]
    return Style(
        brick=bool(rng.random() < 0.45),
        bays=int(rng.integers(3, 6)),
        window_w=float(rng.uniform(1.0, 1.35)),
        window_h=float(rng.uniform(1.55, 1.95)),
        frame=frames[rng.integers(len(frames))],
        shop=shops[rng.integers(len(shops))],
        has_shutters=bool(rng.random() < 0.4),
        shutter=shutters[rng.integers(len(shutters))],
    )


@dataclass
class Front:
    """A façade while it is painted: colour and gloss, in metres from its lower left corner."""

    image: Image
    gloss: NDArray[np.float32]

    def rect(self, x: float, y: float, w: float, h: float, tone: Tone, gloss: float = 0.0) -> None:
        rows, cols = self._cells(x, y, w, h)
        self.image[rows, cols] = tone
        self.gloss[rows, cols] = gloss

    def shade(self, x: float, y: float, w: float, h: float, factor: float) -> None:
        self.image[self._cells(x, y, w, h)] *= factor

    def _cells(self, x: float, y: float, w: float, h: float) -> tuple[slice, slice]:
        top, bottom = (round((HEIGHT_M - z) * PX_PER_M) for z in (y + h, y))
        left, right = (round(z * PX_PER_M) for z in (x, x + w))
        return slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))


def facade(rng: np.random.Generator, style: Style) -> Texture:
    """A front of WIDTH_M × HEIGHT_M, near white so that each house can tint it."""
    front = Front(
        _wall(rng, style), np.zeros((int(HEIGHT_M * PX_PER_M), int(WIDTH_M * PX_PER_M)), np.float32)
    )
    bay = WIDTH_M / style.bays
    for storey in range(STOREYS):
        base = GROUND_M + storey * STOREY_M
        front.rect(0, base - 0.08, WIDTH_M, 0.16, (214, 210, 202))
        front.shade(0, base - 0.2, WIDTH_M, 0.12, 0.78)
        for column in range(style.bays):
            _window(front, rng, style, (column + 0.5) * bay, base + 0.75)
    _ground_floor(front, rng, style, bay)
    front.shade(0, HEIGHT_M - 0.5, WIDTH_M, 0.5, 0.85)
    # Dirt gathers at the foot, and rain streaks the rest.
    rise = np.linspace(0, HEIGHT_M, len(front.image))[::-1]
    front.image *= (1 - 0.22 * np.exp(-rise / 0.6))[:, None, None].astype(np.float32)
    return finish(front.image, (WIDTH_M, HEIGHT_M), front.gloss)


def _wall(rng: np.random.Generator, style: Style) -> Image:
    height, width = int(HEIGHT_M * PX_PER_M), int(WIDTH_M * PX_PER_M)
    wall = plain(height, width, (228, 226, 222))
    wall *= 1 + 0.05 * value_noise(rng, height, width, 5)[..., None]
    if style.brick:
        brick = rng.uniform(0.80, 1.06, (height // 4 + 1, width // 10 + 2)).astype(np.float32)
        rows = np.arange(height) // 4
        cols = (np.arange(width)[None] + 5 * (rows % 2)[:, None]) // 10
        wall *= brick[rows[:, None], cols][..., None]
        wall[::4] *= 0.88
    return wall


def _window(
    front: Front, rng: np.random.Generator, style: Style, centre: float, sill: float
) -> None:
    w, h = style.window_w, style.window_h
    left = centre - w / 2
    front.rect(left - 0.13, sill - 0.1, w + 0.26, h + 0.28, (236, 233, 226))
    front.shade(left - 0.13, sill - 0.22, w + 0.26, 0.12, 0.7)
    front.rect(left, sill, w, h, style.frame)
    room = float(rng.uniform(34, 62))
    for side in (0, 1):
        x = left + 0.07 + side * (w / 2 - 0.02)
        front.rect(x, sill + 0.07, w / 2 - 0.12, h - 0.14, (room, room * 1.05, room * 1.12), 0.75)
        if rng.random() < 0.45:
            curtain = (196, 188, 172) if rng.random() < 0.7 else (150, 140, 132)
            drop = float(rng.uniform(0.2, 0.9)) * (h - 0.14)
            front.rect(x, sill + h - 0.07 - drop, w / 2 - 0.12, drop, curtain, 0.35)
    front.shade(left, sill + h - 0.16, w, 0.16, 0.55)  # the reveal's shadow
    front.rect(left - 0.18, sill - 0.12, w + 0.36, 0.1, (206, 202, 194))
    if style.has_shutters:
        for x in (left - 0.55, left + w + 0.13):
            front.rect(x, sill, 0.42, h, style.shutter)
            for slat in np.arange(0.1, h, 0.12):
                front.shade(x + 0.04, sill + slat, 0.34, 0.04, 0.72)


def _ground_floor(front: Front, rng: np.random.Generator, style: Style, bay: float) -> None:
    front.rect(0, 0, WIDTH_M, 0.45, (150, 146, 140))
    door = int(rng.integers(style.bays))
    is_shop = rng.random() < 0.65
    if is_shop:
        front.rect(0.3, 3.0, WIDTH_M - 0.6, 0.7, style.shop)
        _lettering(front, rng)
    for column in range(style.bays):
        centre = (column + 0.5) * bay
        if column == door:
            _door(front, centre, style)
        elif is_shop:
            w = bay - 0.5
            front.rect(centre - w / 2, 0.35, w, 2.6, style.shop)
            glow = float(rng.uniform(60, 105))
            front.rect(
                centre - w / 2 + 0.1, 0.6, w - 0.2, 2.25, (glow, glow * 0.92, glow * 0.78), 0.6
            )
            for _ in range(5):
                x, top = rng.uniform(-w / 2 + 0.15, w / 2 - 0.5), rng.uniform(0.3, 1.1)
                ware = tuple(rng.uniform(60, 150) + rng.uniform(-35, 35, 3))
                front.rect(centre + x, 0.6, 0.32, top, ware, 0.4)
        else:
            _window(front, rng, style, centre, 1.25)


def _door(front: Front, centre: float, style: Style) -> None:
    front.rect(centre - 0.75, 0, 1.5, 2.75, (222, 218, 210))
    front.rect(centre - 0.6, 0, 1.2, 2.6, style.shop)
    front.rect(centre - 0.5, 2.15, 1.0, 0.38, (60, 66, 72), 0.6)
    for side in (-0.5, 0.05):
        for low in (0.2, 1.15):
            front.shade(centre + side, low, 0.45, 0.8, 0.78)
    front.shade(centre - 0.6, 2.5, 1.2, 0.1, 0.5)


def _lettering(front: Front, rng: np.random.Generator) -> None:
    words = ("BAKERY", "BOOKS", "CAFE", "FLOWERS", "GROCER", "TAILOR", "CYCLES", "PHARMACY")
    word = words[rng.integers(len(words))]
    centre = (int(rng.uniform(2.5, 9.5) * PX_PER_M), round((HEIGHT_M - 3.35) * PX_PER_M))
    letters(front.image, word, centre, 0.72, (236, 226, 196), 2)
