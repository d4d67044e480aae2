"""Windows, doors and shop fronts. Alpha is what is solid: frames and walls; the rest is glass."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.paint.canvas import Image, Tone, finish, flat, letters
from streamvis.source.synth.paint.layers import SIDE_PX
from streamvis.source.synth.paint.noise import value_noise

N = SIDE_PX
Mask = NDArray[np.uint8]

FRAMES: tuple[Tone, ...] = (
    (236, 234, 228),
    (240, 240, 238),
    (70, 58, 50),
    (206, 200, 188),
    (46, 50, 54),
)
SHOP_TONES: tuple[Tone, ...] = (
    (40, 62, 54), (122, 34, 32), (34, 50, 86), (38, 38, 42), (150, 110, 46), (212, 206, 194),
)  # fmt: skip
WORDS = (
    "BAKERY",
    "BOOKS",
    "CAFE",
    "FLOWERS",
    "GROCER",
    "TAILOR",
    "CYCLES",
    "PHARMACY",
    "DELI",
    "BARBER",
)


class Panel:
    """A square in shares of its side, y up from the foot."""

    def __init__(self, tone: Tone, solid: int = 0) -> None:
        self.image, self.solid = flat(tone), np.full((N, N), solid, np.uint8)

    def rect(
        self, x0: float, y0: float, x1: float, y1: float, tone: Tone, solid: int = 255
    ) -> None:
        rows, cols = self._cells(x0, y0, x1, y1)
        self.image[rows, cols], self.solid[rows, cols] = tone, solid

    def shade(self, x0: float, y0: float, x1: float, y1: float, factor: float) -> None:
        self.image[self._cells(x0, y0, x1, y1)] *= factor

    def fade(self, x0: float, y0: float, x1: float, y1: float, low: float, high: float) -> None:
        """Brightness from the foot to the top."""
        rows, cols = self._cells(x0, y0, x1, y1)
        count = rows.stop - rows.start
        self.image[rows, cols] *= np.linspace(low, high, count, dtype=np.float32)[:, None, None]

    @staticmethod
    def _cells(x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice]:
        a, b, c, d = (round(np.clip(v, 0, 1) * N) for v in (y0, y1, x0, x1))
        return slice(a, b), slice(c, d)

    def finish(self) -> NDArray[np.uint8]:
        return finish(self.image, self.solid)


def window(rng: np.random.Generator, kind: int) -> NDArray[np.uint8]:
    """A casement with two wings or a sash; curtains or blinds behind dark glass."""
    frame = FRAMES[kind % len(FRAMES)]
    panel = Panel((48, 53, 58))
    panel.fade(0, 0, 1, 1, 0.8, 1.25)
    panel.image *= 1 + 0.25 * value_noise(rng, N, N, 2, 3)[..., None]
    _behind_glass(panel, rng, kind)
    edge, bar = 0.055, 0.035
    for x0, y0, x1, y1 in (
        (0, 0, 1, edge),
        (0, 1 - edge, 1, 1),
        (0, 0, edge, 1),
        (1 - edge, 0, 1, 1),
    ):
        panel.rect(x0, y0, x1, y1, frame)
    if kind % 3 == 1:  # sash
        panel.rect(0, 0.5 - bar, 1, 0.5 + bar, frame)
        panel.rect(0.5 - bar / 2, 0, 0.5 + bar / 2, 1, frame)
    else:
        panel.rect(0.5 - bar, 0, 0.5 + bar, 1, frame)
        if kind % 3 == 2:
            panel.rect(0, 0.68 - bar / 2, 1, 0.68 + bar / 2, frame)
    panel.shade(0, 1 - edge - 0.05, 1, 1, 0.62)  # the reveal's shadow
    panel.shade(0, 0, edge * 0.5, 1, 0.8)
    return panel.finish()


def _behind_glass(panel: Panel, rng: np.random.Generator, kind: int) -> None:
    cloth: Tone = (
        (186, 180, 168),
        (150, 142, 132),
        (196, 192, 184),
        (120, 116, 110),
        (168, 150, 128),
    )[kind % 5]
    if kind % 2 == 0:
        for left, right in ((0.0, 0.24), (0.76, 1.0)):
            panel.rect(left, 0, right, 1, cloth, 40)
            for x in np.arange(left, right, 0.03):
                panel.shade(x, 0, x + 0.012, 1, 0.82)
    else:
        drop = float(rng.uniform(0.25, 0.7))
        panel.rect(0, 1 - drop, 1, 1, cloth, 40)
        for y in np.arange(1 - drop, 1, 0.035):
            panel.shade(0, y, 1, y + 0.010, 0.8)


def office(rng: np.random.Generator, kind: int) -> NDArray[np.uint8]:
    """One bay of a curtain wall: a tall pane, a parapet, thin mullions."""
    panel = Panel((44, 54, 60) if kind == 0 else (54, 54, 52))
    panel.image *= 1 + 0.2 * value_noise(rng, N, N, 2, 3)[..., None]
    for x in rng.uniform(0.05, 0.8, 4):
        panel.rect(x, 0.34, x + 0.10, 0.34 + rng.uniform(0.06, 0.2), (70, 68, 64), 30)
    panel.rect(0, 0.93, 1, 0.96, (150, 150, 146), 60)  # a row of lamps far inside
    panel.rect(0, 0, 1, 0.28, (96, 102, 108) if kind == 0 else (150, 146, 138), 190)
    for x in (0.0, 0.5):
        panel.rect(x, 0, x + 0.018, 1, (158, 160, 162))
    panel.rect(0.982, 0, 1, 1, (158, 160, 162))
    for y in (0.27, 0.985):
        panel.rect(0, y, 1, y + 0.018, (158, 160, 162))
    return panel.finish()


def shop(rng: np.random.Generator, kind: int) -> NDArray[np.uint8]:
    """A ground floor of about 5 × 3.6 m: stall riser, show window, door, name above."""
    tone = SHOP_TONES[kind % len(SHOP_TONES)]
    panel = Panel(tone, 255)
    panel.image *= 1 + 0.04 * value_noise(rng, N, N, 4, 4)[..., None]
    door = 0.70 if rng.random() < 0.5 else 0.08
    wide = (0.05, 0.66) if door > 0.5 else (0.34, 0.95)
    _display(panel, rng, *wide)
    panel.rect(door, 0.02, door + 0.22, 0.72, (30, 32, 34), 0)
    panel.fade(door, 0.02, door + 0.22, 0.72, 1.0, 1.9)
    light = tuple(min(255.0, c * 1.25 + 12) for c in tone)
    for x in (door, door + 0.20):
        panel.rect(x, 0.0, x + 0.02, 0.74, light)  # type: ignore[arg-type]
    panel.rect(door, 0.0, door + 0.22, 0.10, light)  # type: ignore[arg-type]
    panel.rect(door + 0.17, 0.33, door + 0.185, 0.42, (190, 180, 150))
    panel.rect(0, 0.78, 1, 0.97, tuple(c * 0.85 for c in tone))  # type: ignore[arg-type]
    panel.rect(0, 0.765, 1, 0.78, light)  # type: ignore[arg-type]
    ink: Tone = (238, 228, 198) if sum(tone) < 400 else (60, 40, 34)
    _name(panel.image, WORDS[(kind * 3 + int(rng.integers(3))) % len(WORDS)], ink)
    panel.shade(0, 0.74, 1, 0.765, 0.5)
    panel.rect(0, 0.97, 1, 1, light)  # type: ignore[arg-type]
    return panel.finish()


def _display(panel: Panel, rng: np.random.Generator, left: float, right: float) -> None:
    panel.rect(left, 0.16, right, 0.72, (58, 54, 48), 0)
    panel.fade(left, 0.16, right, 0.72, 1.35, 0.8)
    for x in np.arange(left + 0.02, right - 0.06, 0.055):
        high = float(rng.uniform(0.05, 0.24))
        tone = tuple(rng.uniform(50, 150) + rng.uniform(-45, 45, 3))
        panel.rect(x, 0.17, x + float(rng.uniform(0.02, 0.05)), 0.17 + high, tone, 30)
    panel.rect(left, 0.62, right, 0.64, (120, 112, 98), 30)
    middle = (left + right) / 2
    for x in (left - 0.01, middle - 0.006, right - 0.005):
        panel.rect(x, 0.14, x + 0.014, 0.74, (206, 202, 194))
    panel.rect(left - 0.01, 0.14, right + 0.01, 0.155, (206, 202, 194))


def _name(image: Image, word: str, ink: Tone) -> None:
    sheet = np.ascontiguousarray(image[::-1])
    letters(sheet, word, (N // 2, round(N * 0.125)), 2.1, ink, 4)
    image[:] = sheet[::-1]


def door(rng: np.random.Generator, kind: int) -> NDArray[np.uint8]:
    """A house door with panels and a light above."""
    tone = SHOP_TONES[int(rng.integers(4))]
    panel = Panel((214, 210, 200), 255)
    panel.rect(0.09, 0, 0.91, 0.95, tone)
    panel.rect(0.14, 0.78, 0.86, 0.91, (54, 60, 66), 0)
    for x in (0.16, 0.54):
        for y0, y1 in ((0.06, 0.34), (0.40, 0.72)):
            panel.shade(x, y0, x + 0.30, y1, 0.74)
            panel.shade(x + 0.03, y0 + 0.015, x + 0.27, y1 - 0.015, 1.25)
    panel.rect(0.78, 0.38, 0.83, 0.41, (190, 170, 110))
    del kind
    cv2.rectangle(panel.image, (0, 0), (N - 1, N - 1), (150, 146, 138), 6)
    return panel.finish()
