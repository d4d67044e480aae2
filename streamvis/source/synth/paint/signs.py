"""Road signs, in the shapes of the Vienna Convention; the mesh cuts the plate's outline."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.paint.canvas import Image, finish, flat, letters
from streamvis.source.synth.paint.layers import SIDE_PX

RED, BLUE, INK, WHITE = (190, 22, 28), (26, 70, 156), (20, 20, 22), (242, 242, 242)


def sign(kind: str) -> NDArray[np.uint8]:
    half = flat(WHITE)[:256, :256].copy()  # painted upright at half the size
    _PAINT[kind](half)
    image = cv2.resize(half, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)[::-1]
    return finish(np.ascontiguousarray(image, np.float32))


def _speed(image: Image) -> None:
    cv2.circle(image, (128, 128), 108, RED, 34, cv2.LINE_AA)
    letters(image, "30", (128, 128), 3.6, INK, 8)


def _no_entry(image: Image) -> None:
    image[:] = RED
    cv2.rectangle(image, (44, 106), (212, 150), WHITE, -1)


def _crossing(image: Image) -> None:
    image[:] = BLUE
    cv2.fillPoly(image, [np.array([[128, 28], [28, 224], [228, 224]])], WHITE, cv2.LINE_AA)
    for a, b in (((128, 90), (128, 148)), ((128, 148), (96, 208)), ((128, 148), (164, 208)),
                 ((128, 112), (92, 140)), ((128, 112), (168, 132))):  # fmt: skip
        cv2.line(image, a, b, INK, 14, cv2.LINE_AA)
    cv2.circle(image, (128, 74), 14, INK, -1, cv2.LINE_AA)


def _parking(image: Image) -> None:
    image[:] = BLUE
    letters(image, "P", (128, 128), 6.4, WHITE, 16)


def _stop(image: Image) -> None:
    image[:] = RED
    letters(image, "STOP", (128, 128), 2.6, WHITE, 9)


def _yield(image: Image) -> None:
    image[:] = RED
    cv2.fillPoly(image, [np.array([[128, 196], [46, 48], [210, 48]])], WHITE, cv2.LINE_AA)


def _arrow(image: Image) -> None:
    image[:] = BLUE
    cv2.arrowedLine(image, (128, 214), (128, 44), WHITE, 30, cv2.LINE_AA, 0, 0.45)


def _no_parking(image: Image) -> None:
    image[:] = BLUE
    cv2.circle(image, (128, 128), 112, RED, 28, cv2.LINE_AA)
    cv2.line(image, (54, 54), (202, 202), RED, 26, cv2.LINE_AA)


_PAINT = {
    "speed": _speed, "parking": _parking, "no_entry": _no_entry, "crossing": _crossing,
    "stop": _stop, "yield": _yield, "arrow": _arrow, "no_parking": _no_parking,
}  # fmt: skip
