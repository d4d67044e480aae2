"""The paint of vehicles: what is glass, lamp, plastic or gap on their sides, fronts and tails.

Two layers a body. The first: colour, and in alpha the share of it that is body paint. The second:
gloss, headlight, tail lamp.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.model.body import Body
from streamvis.source.synth.model.vehicle import FRONT_VIEW, REAR_VIEW, SIDE_VIEW, view_uv
from streamvis.source.synth.paint.layers import SIDE_PX

Points = Sequence[tuple[float, float]]
View = tuple[float, float, float, float]
_SCALE = 2  # painted larger, then reduced: smooth edges
PAINT_GLOSS, GLASS_GLOSS = 0.34, 0.85
GLASS, PLASTIC, GAP = (0.13, 0.15, 0.165), (0.11, 0.11, 0.115), (0.30, 0.30, 0.30)  # square roots


class _Sheet:
    """Both layers of one body while they are painted."""

    def __init__(self, body: Body) -> None:
        side = SIDE_PX * _SCALE
        self.body = body
        self.colour = np.ones((side, side, 4), np.float32)
        self.parts = np.zeros((side, side, 4), np.float32)
        self.parts[..., 0] = PAINT_GLOSS

    def fill(self, view: View, points: Points, colour: Sequence[float], *, paint: float = 0.0,
             gloss: float = PAINT_GLOSS, head: float = 0.0, tail: float = 0.0) -> None:  # fmt: skip
        pixels = self._pixels(view, points)
        where, cover = _stencil(pixels, 0, self.colour.shape[0])
        cv2.fillPoly(cover, [pixels - _corner(where)], 255, cv2.LINE_AA, 4)
        _mix(self.colour[where], cover, (*colour, paint))
        _mix(self.parts[where], cover, (gloss, head, tail, 0.0))

    def line(
        self, view: View, points: Points, wide_m: float, colour: Sequence[float], paint: float = 0.0
    ) -> None:
        span_m = self.body.length if view == SIDE_VIEW else self.body.width
        wide = max(1, round(wide_m * self.colour.shape[1] * view[2] / span_m))
        pixels = self._pixels(view, points)
        where, cover = _stencil(pixels, wide, self.colour.shape[0])
        cv2.polylines(cover, [pixels - _corner(where)], False, 255, wide, cv2.LINE_AA, 4)
        _mix(self.colour[where], cover, (*colour, paint))

    def _pixels(self, view: View, points: Points) -> NDArray[np.int32]:
        """In sixteenths of a pixel, as OpenCV takes them."""
        at = np.array(points, float)
        uv = view_uv(self.body, view, at[:, 0], at[:, 1])
        return np.asarray(np.rint(uv * self.colour.shape[0] * 16), np.int32)

    def finish(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        small = (
            cv2.resize(s, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
            for s in (self.colour, self.parts)
        )
        colour, parts = (np.asarray(np.rint(255 * np.clip(s, 0, 1)), np.uint8) for s in small)
        return colour, parts


Where = tuple[slice, slice]


def _stencil(pixels: NDArray[np.int32], margin: int, side: int) -> tuple[Where, NDArray[np.uint8]]:
    """The rows and columns that a shape may touch, and an empty stencil of that size."""
    low = np.clip(pixels.min(0) // 16 - margin - 2, 0, side - 1)
    high = np.clip(pixels.max(0) // 16 + margin + 3, 1, side)
    where = slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
    return where, np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)


def _corner(where: Where) -> NDArray[np.int32]:
    return np.array([where[1].start, where[0].start], np.int32) * 16


def _mix(layer: NDArray[np.float32], cover: NDArray[np.uint8], value: Sequence[float]) -> None:
    share = cover[..., None].astype(np.float32) / 255
    layer += (np.array(value, np.float32) - layer) * share


@cache
def vehicle_layers(body: Body) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    sheet = _Sheet(body)
    _side(sheet, body)
    _front(sheet, body)
    _tail(sheet, body)
    return sheet.finish()


def _rect(x0: float, z0: float, x1: float, z1: float) -> Points:
    return [(x0, z0), (x1, z0), (x1, z1), (x0, z1)]


def _rounded(points: Points, radius: float) -> Points:
    """Corners cut by quadratic curves."""
    out: list[tuple[float, float]] = []
    at = [np.array(p) for p in points]
    for k, p in enumerate(at):
        a, b = at[k - 1], at[(k + 1) % len(at)]
        start = p + (a - p) * min(0.45, radius / np.linalg.norm(a - p))
        end = p + (b - p) * min(0.45, radius / np.linalg.norm(b - p))
        for t in np.linspace(0, 1, 5):
            q = (1 - t) ** 2 * start + 2 * t * (1 - t) * p + t**2 * end
            out.append((float(q[0]), float(q[1])))
    return out


def _glass(sheet: _Sheet, view: View, points: Points) -> None:
    """A dark pane in a black seal; the lower part lets a little of the seats through."""
    centre = np.mean(np.array(points), 0)
    grown = [tuple(centre + (np.array(p) - centre) * 1.05) for p in points]
    sheet.fill(view, _rounded(grown, 0.06), (0.09, 0.09, 0.095), gloss=0.2)
    sheet.fill(view, _rounded(points, 0.05), GLASS, gloss=GLASS_GLOSS)


def _side(sheet: _Sheet, body: Body) -> None:
    half, low = body.length / 2, body.clearance
    if body.cladding:
        sheet.fill(SIDE_VIEW, _rect(-half, 0, half, low + body.cladding), PLASTIC, gloss=0.06)
        for axle in body.axles:
            ring = [
                (
                    axle + (body.arch_radius + 0.06) * np.cos(a),
                    body.wheel_radius + (body.arch_radius + 0.06) * np.sin(a),
                )
                for a in np.linspace(0, np.pi, 16)
            ]
            sheet.fill(SIDE_VIEW, ring, PLASTIC, gloss=0.06)
    sheet.fill(SIDE_VIEW, _rect(-half, 0, half, low + 0.035), PLASTIC, gloss=0.06)
    for x in body.doors:
        up = float(body.shoulder(np.array([x]))[0])
        sheet.line(
            SIDE_VIEW,
            [(x, low + 0.07), (x + 0.01, 0.5 * (low + up)), (x, up + 0.05)],
            0.016,
            GAP,
            0.25,
        )
        if body.name not in ("bus",):
            sheet.fill(
                SIDE_VIEW,
                _rect(x - 0.32, up - 0.13, x - 0.14, up - 0.10),
                (0.75, 0.75, 0.75),
                paint=0.6,
                gloss=0.4,
            )
    if body.doors:
        sheet.line(
            SIDE_VIEW,
            [(min(body.doors), low + 0.075), (max(body.doors), low + 0.075)],
            0.014,
            GAP,
            0.25,
        )
    xs = np.linspace(-half + 0.25, half - 0.35, 24)
    crease = [(float(x), float(z)) for x, z in zip(xs, body.shoulder(xs) - 0.16, strict=True)]
    if body.name not in ("bus", "lorry", "van"):
        sheet.line(SIDE_VIEW, crease, 0.03, (0.86, 0.86, 0.86), 1.0)
    if body.name == "bus":
        _bus_side(sheet, body)
    else:
        for pane in body.panes:
            _glass(sheet, SIDE_VIEW, pane)
    _wrap_lamps(sheet, body)


def _bus_side(sheet: _Sheet, body: Body) -> None:
    for pane in body.panes:
        _glass(sheet, SIDE_VIEW, pane)
    for x in np.arange(-5.2 + 1.5, 3.8, 1.5):
        sheet.line(SIDE_VIEW, [(x, 1.28), (x, 2.57)], 0.07, (0.07, 0.07, 0.075))
    for x in (4.05, 4.66, 5.26):
        sheet.line(SIDE_VIEW, [(x, 0.42), (x, 2.56)], 0.06, (0.07, 0.07, 0.075))
    sheet.fill(SIDE_VIEW, _rect(-5.6, 0.3, 5.6, 0.62), (0.34, 0.34, 0.35), gloss=0.12)
    sheet.fill(SIDE_VIEW, _rect(-5.6, 2.62, 5.6, 2.70), (0.93, 0.93, 0.9), gloss=0.2)


def _wrap_lamps(sheet: _Sheet, body: Body) -> None:
    half = body.length / 2
    low, high = body.lamp_z
    back = 0.34 if body.squareness < 0.7 else 0.10
    sheet.fill(
        SIDE_VIEW,
        [(half, low), (half - back * 0.7, low + 0.03), (half - back, high), (half, high - 0.05)],
        (0.80, 0.82, 0.84),
        gloss=0.5,
        head=0.6,
    )
    if body.name == "lorry":  # its tail lamps are behind the box
        return
    low, high = body.tail_z
    sheet.fill(
        SIDE_VIEW,
        [(-half, low), (-half + 0.16, low), (-half + 0.22, high), (-half, high)],
        (0.62, 0.10, 0.09),
        gloss=0.4,
        tail=0.8,
    )


def _screen(
    sheet: _Sheet,
    body: Body,
    view: View,
    glass: tuple[float, float, float, float],
    x_share: float = 1.0,
) -> None:
    foot, top, wide_low, wide_high = glass
    w = body.width / 2 * x_share
    z0, z1 = float(body.top(np.array([foot]))[0]) + 0.03, float(body.top(np.array([top]))[0]) - 0.03
    if body.name == "bus":
        z0, z1 = (1.05, 2.5) if view == FRONT_VIEW else (1.7, 2.5)
    if body.name == "lorry":
        z0, z1 = 1.52, 2.36
    if body.name == "van" and view == REAR_VIEW:
        z0, z1 = 1.30, 1.80
    _glass(
        sheet,
        view,
        [(-w * wide_low, z0), (w * wide_low, z0), (w * wide_high, z1), (-w * wide_high, z1)],
    )


def _front(sheet: _Sheet, body: Body) -> None:
    w, (low, high) = body.width / 2, body.lamp_z
    _screen(sheet, body, FRONT_VIEW, body.windscreen)
    lower = body.clearance + 0.05
    sheet.fill(
        FRONT_VIEW,
        _rounded(_rect(-0.62 * w, lower, 0.62 * w, lower + 0.16), 0.05),
        (0.08, 0.08, 0.08),
        gloss=0.05,
    )
    grille = [
        (-0.46 * w, low - 0.13),
        (0.46 * w, low - 0.13),
        (0.52 * w, high - 0.03),
        (-0.52 * w, high - 0.03),
    ]
    sheet.fill(FRONT_VIEW, _rounded(grille, 0.05), (0.09, 0.09, 0.095), gloss=0.2)
    for z in np.arange(low - 0.10, high - 0.05, 0.05):
        sheet.line(FRONT_VIEW, [(-0.46 * w, z), (0.46 * w, z)], 0.012, (0.42, 0.43, 0.44))
    sheet.fill(
        FRONT_VIEW,
        _rounded(_rect(-0.05, high - 0.13, 0.05, high - 0.05), 0.02),
        (0.85, 0.86, 0.88),
        gloss=0.7,
    )
    for s in (-1, 1):
        lamp = [
            (s * 0.56 * w, low + 0.02),
            (s * 0.92 * w, low),
            (s * 0.99 * w, high),
            (s * 0.60 * w, high - 0.04),
        ]
        sheet.fill(FRONT_VIEW, _rounded(lamp, 0.04), (0.55, 0.57, 0.60), gloss=0.6)
        inner = [
            (s * 0.62 * w, low + 0.035),
            (s * 0.88 * w, low + 0.025),
            (s * 0.92 * w, high - 0.03),
            (s * 0.65 * w, high - 0.055),
        ]
        sheet.fill(FRONT_VIEW, _rounded(inner, 0.03), (0.92, 0.94, 0.96), gloss=0.6, head=1.0)
        sheet.fill(
            FRONT_VIEW,
            _rounded(
                _rect(s * 0.70 * w - 0.05, lower + 0.02, s * 0.70 * w + 0.05, lower + 0.1), 0.03
            ),
            (0.5, 0.5, 0.5),
            gloss=0.5,
        )
    _plate(sheet, FRONT_VIEW, lower + 0.19)
    if body.name == "bus":
        sheet.fill(
            FRONT_VIEW,
            _rect(-0.62 * w, 2.62, 0.62 * w, 2.88),
            (0.95, 0.62, 0.12),
            gloss=0.1,
            head=0.0,
        )
        sheet.fill(FRONT_VIEW, _rect(-0.9 * w, 0.3, 0.9 * w, 0.5), PLASTIC, gloss=0.06)


def _tail(sheet: _Sheet, body: Body) -> None:
    w, (low, high) = body.width / 2, body.tail_z
    if body.name == "lorry":
        return
    if body.rear_glass is not None:
        _screen(sheet, body, REAR_VIEW, body.rear_glass)
    floor = body.clearance
    sheet.fill(
        REAR_VIEW, _rounded(_rect(-0.86 * w, 0, 0.86 * w, floor + 0.2), 0.05), PLASTIC, gloss=0.08
    )
    sheet.line(REAR_VIEW, [(-0.80 * w, floor + 0.32), (0.80 * w, floor + 0.32)], 0.014, GAP, 0.25)
    sheet.line(REAR_VIEW, [(-0.78 * w, floor + 0.32), (-0.74 * w, high + 0.1)], 0.014, GAP, 0.25)
    sheet.line(REAR_VIEW, [(0.78 * w, floor + 0.32), (0.74 * w, high + 0.1)], 0.014, GAP, 0.25)
    for s in (-1, 1):
        lamp = [
            (s * 0.60 * w, low + 0.03),
            (s * 0.97 * w, low),
            (s * 0.97 * w, high),
            (s * 0.66 * w, high - 0.03),
        ]
        if body.squareness > 0.25:
            lamp = [
                (s * 0.76 * w, low),
                (s * 0.97 * w, low),
                (s * 0.95 * w, high),
                (s * 0.78 * w, high),
            ]
        sheet.fill(REAR_VIEW, _rounded(lamp, 0.04), (0.62, 0.10, 0.09), gloss=0.45, tail=1.0)
    is_high = body.squareness < 0.4  # the plate between the lamps, else on the bumper
    _plate(sheet, REAR_VIEW, 0.5 * (low + high) - 0.12 if is_high else floor + 0.24)
    if is_high:
        z = 0.5 * (low + high) + 0.01
        sheet.fill(
            REAR_VIEW, _rect(-0.34 * w, z, 0.34 * w, z + 0.035), (0.55, 0.56, 0.58), gloss=0.5
        )
    for s in (-1, 1):
        sheet.fill(
            REAR_VIEW,
            _rect(s * 0.72 * w - 0.09, floor + 0.13, s * 0.72 * w + 0.09, floor + 0.17),
            (0.5, 0.06, 0.05),
            gloss=0.3,
        )
    if body.rear_glass is not None and body.name != "bus":
        z = float(body.top(np.array([body.rear_glass[1]]))[0]) - 0.035
        sheet.fill(REAR_VIEW, _rect(-0.13, z, 0.13, z + 0.02), (0.35, 0.05, 0.05), tail=0.5)


def _plate(sheet: _Sheet, view: View, z: float) -> None:
    sheet.fill(view, _rect(-0.26, z, 0.26, z + 0.11), (0.88, 0.88, 0.84), gloss=0.1)
    rng = np.random.default_rng(int(1000 * sheet.body.length) + (view == REAR_VIEW))
    for x in np.linspace(-0.2, 0.2, 7):
        if rng.random() < 0.9:
            sheet.fill(
                view,
                _rect(x - 0.018, z + 0.025, x + 0.018, z + 0.085),
                (0.12, 0.12, 0.14),
                gloss=0.1,
            )
