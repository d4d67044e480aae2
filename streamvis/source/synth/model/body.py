"""The measures of vehicle bodies, from which their meshes and their paint are both made.

x ahead, y left, z up; metres; the origin lies on the ground under the middle.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Line = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Body:
    name: str  # of its texture layer
    category: str
    length: float
    width: float
    roofline: Line  # (x, z) of the highest points, from tail to nose
    belt: Line  # (x, z) of the shoulder
    panes: tuple[Line, ...]  # side windows, (x, z)
    windscreen: tuple[float, float, float, float]  # x of its foot and top, share of width there
    rear_glass: tuple[float, float, float, float] | None
    axles: tuple[float, ...]
    wheel_radius: float
    clearance: float
    tumble: float  # roof's width as a share of the shoulders'
    squareness: float  # 0 streamlined, 1 a box
    doors: tuple[float, ...]  # x of the gaps
    lamp_z: tuple[float, float] = (0.62, 0.78)  # of headlights
    tail_z: tuple[float, float] = (0.75, 0.95)
    cladding: float = 0.0  # height of the dark plastic along the sill
    height: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "height", max(z for _, z in self.roofline) + 0.01)

    def top(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        return _curve(self.roofline, x)

    def shoulder(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.asarray(np.minimum(_curve(self.belt, x), self.top(x) - 0.025))

    def half_width(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        """Rounded towards nose and tail."""
        reach = 0.35 + 0.55 * (1 - self.squareness)
        t = np.clip((np.abs(x) - (self.length / 2 - reach)) / reach, 0, 1)
        return np.asarray(self.width / 2 * (1 - (0.24 - 0.16 * self.squareness) * t**2.6))

    def bottom(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        """The sill, with mouths for the wheels."""
        z = np.full_like(x, self.clearance)
        overhang = np.clip((np.abs(x) - (self.length / 2 - 0.45)) / 0.45, 0, 1)
        z = z + 0.10 * overhang**2
        mouth = self.arch_radius
        for axle in self.axles:
            away = np.abs(x - axle)
            arch = self.wheel_radius + np.sqrt(np.maximum(mouth**2 - away**2, 0))
            z = np.where(away < mouth, np.maximum(z, arch), z)
        return np.asarray(z)

    @property
    def arch_radius(self) -> float:
        return self.wheel_radius * 1.14


def _curve(line: Line, x: NDArray[np.floating]) -> NDArray[np.floating]:
    from scipy.interpolate import PchipInterpolator  # a third of what the CLI took to start

    xs, zs = np.array(line).T
    return np.asarray(PchipInterpolator(xs, zs)(np.clip(x, xs[0], xs[-1])))


BODY: dict[str, Body] = {
    b.name: b
    for b in (
        Body(
            "saloon",
            "car",
            4.68,
            1.83,
            (
                (-2.34, 0.86),
                (-2.26, 1.02),
                (-1.85, 1.09),
                (-1.55, 1.13),
                (-0.85, 1.39),
                (-0.3, 1.45),
                (0.15, 1.43),
                (0.55, 1.30),
                (1.12, 0.99),
                (1.6, 0.92),
                (2.1, 0.80),
                (2.30, 0.68),
                (2.34, 0.60),
            ),
            (
                (-2.34, 0.82),
                (-2.0, 0.98),
                (-1.0, 0.96),
                (0.5, 0.91),
                (1.2, 0.88),
                (2.1, 0.72),
                (2.34, 0.56),
            ),
            (
                ((-1.36, 1.02), (-0.86, 1.34), (-0.42, 1.38), (-0.36, 0.98)),
                ((-0.26, 0.98), (-0.30, 1.38), (0.14, 1.36), (0.50, 1.22), (0.86, 0.96)),
            ),
            (1.10, 0.20, 0.86, 0.74),
            (-1.56, -0.88, 0.82, 0.72),
            (1.40, -1.38),
            0.335,
            0.20,
            0.74,
            0.1,
            (0.86, -0.30, -1.12),
        ),
        Body(
            "estate",
            "car",
            4.75,
            1.84,
            (
                (-2.37, 0.80),
                (-2.32, 1.08),
                (-2.1, 1.32),
                (-1.7, 1.45),
                (-0.6, 1.50),
                (0.15, 1.47),
                (0.55, 1.33),
                (1.15, 1.01),
                (1.65, 0.94),
                (2.15, 0.82),
                (2.34, 0.68),
                (2.37, 0.60),
            ),
            (
                (-2.37, 0.78),
                (-2.0, 1.00),
                (-1.0, 0.98),
                (0.5, 0.93),
                (1.2, 0.89),
                (2.1, 0.73),
                (2.37, 0.56),
            ),
            (
                ((-2.02, 1.08), (-1.82, 1.34), (-1.30, 1.40), (-1.26, 1.02)),
                ((-1.17, 1.02), (-1.20, 1.40), (-0.40, 1.43), (-0.36, 0.99)),
                ((-0.26, 0.98), (-0.30, 1.42), (0.14, 1.40), (0.52, 1.25), (0.90, 0.97)),
            ),
            (1.12, 0.20, 0.86, 0.74),
            (-2.30, -2.02, 0.78, 0.70),
            (1.42, -1.40),
            0.335,
            0.20,
            0.76,
            0.2,
            (0.88, -0.30, -1.16),
            tail_z=(0.72, 1.02),
        ),
        Body(
            "hatch",
            "car",
            4.02,
            1.76,
            (
                (-2.01, 0.78),
                (-1.97, 1.02),
                (-1.76, 1.28),
                (-1.4, 1.44),
                (-0.5, 1.50),
                (0.25, 1.47),
                (0.62, 1.34),
                (1.18, 1.03),
                (1.52, 0.95),
                (1.86, 0.80),
                (1.98, 0.68),
                (2.01, 0.60),
            ),
            (
                (-2.01, 0.76),
                (-1.7, 1.02),
                (-0.8, 0.98),
                (0.5, 0.93),
                (1.2, 0.90),
                (1.8, 0.74),
                (2.01, 0.56),
            ),
            (
                ((-1.50, 1.09), (-1.30, 1.36), (-0.80, 1.42), (-0.72, 1.01)),
                ((-0.62, 1.00), (-0.68, 1.42), (0.22, 1.40), (0.58, 1.26), (0.94, 0.98)),
            ),
            (1.16, 0.28, 0.86, 0.74),
            (-1.95, -1.58, 0.80, 0.70),
            (1.24, -1.26),
            0.315,
            0.20,
            0.75,
            0.2,
            (
                0.90,
                -0.66,
            ),
            tail_z=(0.74, 1.02),
        ),
        Body(
            "suv",
            "car",
            4.58,
            1.90,
            (
                (-2.29, 0.85),
                (-2.25, 1.12),
                (-2.05, 1.45),
                (-1.75, 1.62),
                (-0.6, 1.69),
                (0.15, 1.66),
                (0.52, 1.50),
                (1.05, 1.18),
                (1.55, 1.10),
                (2.05, 1.00),
                (2.26, 0.84),
                (2.29, 0.74),
            ),
            (
                (-2.29, 0.84),
                (-1.9, 1.13),
                (-0.8, 1.09),
                (0.5, 1.06),
                (1.2, 1.03),
                (2.1, 0.90),
                (2.29, 0.70),
            ),
            (
                ((-1.92, 1.22), (-1.76, 1.50), (-1.26, 1.58), (-1.20, 1.14)),
                ((-1.10, 1.14), (-1.14, 1.58), (-0.36, 1.61), (-0.32, 1.11)),
                ((-0.22, 1.11), (-0.26, 1.61), (0.16, 1.58), (0.48, 1.42), (0.84, 1.10)),
            ),
            (1.06, 0.20, 0.86, 0.76),
            (-2.20, -1.94, 0.80, 0.72),
            (1.40, -1.36),
            0.37,
            0.26,
            0.78,
            0.3,
            (0.80, -0.27, -1.12),
            (0.78, 0.94),
            (0.85, 1.15),
            0.16,
        ),
        Body(
            "van",
            "car",
            5.05,
            1.99,
            (
                (-2.52, 0.8),
                (-2.50, 1.5),
                (-2.44, 1.92),
                (-2.2, 1.99),
                (-0.5, 2.03),
                (0.8, 2.00),
                (1.15, 1.88),
                (1.85, 1.24),
                (2.2, 1.08),
                (2.46, 0.88),
                (2.52, 0.70),
            ),
            ((-2.52, 1.16), (-1.0, 1.16), (0.8, 1.14), (1.8, 1.10), (2.3, 0.92), (2.52, 0.66)),
            (((0.55, 1.20), (0.55, 1.78), (1.02, 1.74), (1.50, 1.28), (1.56, 1.20)),),
            (1.84, 1.02, 0.88, 0.80),
            (-2.515, -2.47, 0.70, 0.66),
            (1.62, -1.52),
            0.345,
            0.24,
            0.84,
            0.8,
            (1.52, 0.46, -0.95, -2.3),
            (0.72, 0.90),
            (0.9, 1.35),
            0.12,
        ),
        Body(
            "pickup",
            "truck",
            5.35,
            1.93,
            (
                (-2.67, 0.95),
                (-2.64, 1.08),
                (-0.95, 1.10),
                (-0.82, 1.30),
                (-0.70, 1.68),
                (-0.2, 1.78),
                (0.35, 1.76),
                (0.72, 1.58),
                (1.28, 1.20),
                (1.8, 1.14),
                (2.45, 1.06),
                (2.63, 0.92),
                (2.67, 0.78),
            ),
            (
                (-2.67, 0.94),
                (-2.4, 1.05),
                (-0.9, 1.06),
                (0.5, 1.08),
                (1.3, 1.08),
                (2.4, 0.98),
                (2.67, 0.74),
            ),
            (
                ((-0.62, 1.18), (-0.52, 1.66), (-0.14, 1.70), (-0.10, 1.16)),
                ((0.00, 1.15), (-0.03, 1.70), (0.34, 1.68), (0.68, 1.50), (1.06, 1.14)),
            ),
            (1.28, 0.42, 0.86, 0.76),
            (-0.84, -0.70, 0.80, 0.74),
            (1.68, -1.62),
            0.40,
            0.32,
            0.80,
            0.5,
            (1.05, -0.05, -0.82),
            (0.86, 1.02),
            (0.80, 1.05),
            0.10,
        ),
        Body(
            "lorry",
            "truck",
            2.1,
            2.30,
            (
                (-1.05, 2.42),
                (-0.9, 2.55),
                (0.5, 2.58),
                (0.78, 2.50),
                (0.98, 1.55),
                (1.03, 1.2),
                (1.05, 0.8),
            ),
            ((-1.05, 1.45), (0.6, 1.42), (0.95, 1.30), (1.05, 0.76)),
            (((-0.35, 1.50), (-0.35, 2.20), (0.55, 2.20), (0.76, 1.50)),),
            (0.985, 0.80, 0.88, 0.84),
            None,
            (0.30,),
            0.46,
            0.42,
            0.90,
            1.0,
            (0.82, -0.45),
            (0.72, 0.90),
            (0.7, 0.8),
            0.2,
        ),
        Body(
            "bus",
            "bus",
            11.2,
            2.52,
            (
                (-5.60, 2.6),
                (-5.55, 2.98),
                (-5.2, 3.06),
                (5.0, 3.06),
                (5.42, 2.95),
                (5.55, 2.2),
                (5.60, 1.0),
            ),
            ((-5.60, 1.18), (5.3, 1.18), (5.60, 0.9)),
            (
                ((-5.2, 1.30), (-5.2, 2.55), (3.85, 2.55), (3.85, 1.30)),
                ((4.05, 0.45), (4.05, 2.55), (5.2, 2.55), (5.3, 0.45)),
            ),
            (5.585, 5.47, 0.93, 0.92),
            (-5.598, -5.56, 0.80, 0.80),
            (2.75, -2.95),
            0.49,
            0.30,
            0.96,
            1.0,
            (),
            (0.62, 0.82),
            (0.9, 1.3),
            0.0,
        ),
    )
}
