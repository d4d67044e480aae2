"""Constant-velocity Kalman filters for many boxes at once.

Each of a box's four numbers (cx, cy, w, h) has its own filter with two states, position and
velocity: measurement and process noise are independent between them, so the usual 8x8
covariance would be block-diagonal anyway, and no matrix needs inverting.

    N boxes, 4 numbers of a box, 2 states (px, px/s)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

# Noise is in units of the box height, which tells how many pixels a metre is: people and cars
# are about equally tall, while a car's width depends on the side we see.
MEASUREMENT_STD = 0.05  # heights
# Chosen on the synthetic street by benchmarks/tracker_noise.py, whose motion is smooth.
START_VELOCITY_STD = 2.0  # heights / s
ACCELERATION_STD = 0.5  # heights / s / sqrt(s): white-noise acceleration


class BoxFilter:
    """The state of N boxes; rows keep their order, new ones are added at the end."""

    def __init__(self) -> None:
        self.mean: Float64 = np.zeros((0, 4, 2))
        self.cov: Float64 = np.zeros((0, 4, 2, 2))

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def xyxy(self) -> Float64:
        """The boxes [N, 4] where they are believed to be now."""
        centre, size = self.mean[:, :2, 0], np.maximum(self.mean[:, 2:, 0], 1.0)
        return np.concatenate([centre - size / 2, centre + size / 2], axis=1)

    def add(self, xyxy: Float64) -> None:
        """Begin a filter at rest for each box."""
        mean = np.zeros((len(xyxy), 4, 2))
        mean[..., 0] = _to_cxcywh(xyxy)
        height = _height(mean)
        cov = np.zeros((len(xyxy), 4, 2, 2))
        cov[..., 0, 0] = (MEASUREMENT_STD * height) ** 2
        cov[..., 1, 1] = (START_VELOCITY_STD * height) ** 2
        self.mean = np.concatenate([self.mean, mean])
        self.cov = np.concatenate([self.cov, cov])

    def keep(self, rows: NDArray[np.bool_]) -> None:
        self.mean, self.cov = self.mean[rows], self.cov[rows]

    def predict(self, dt_s: float) -> None:
        """Move every box by its velocity. Two steps of dt / 2 give the uncertainty of one of dt
        (but for the change of height in between), so dropped frames need no special case."""
        step = np.array([[1.0, dt_s], [0.0, 1.0]])
        noise = np.array([[dt_s**3 / 3, dt_s**2 / 2], [dt_s**2 / 2, dt_s]])
        variance = (ACCELERATION_STD * _height(self.mean)) ** 2  # [N, 1]
        self.mean = self.mean @ step.T
        self.cov = step @ self.cov @ step.T + variance[..., None, None] * noise

    def correct(self, rows: NDArray[np.intp], xyxy: Float64) -> None:
        """Take in a measured box [K, 4] for each of these rows [K]."""
        mean, cov = self.mean[rows], self.cov[rows]
        variance = cov[..., 0, 0] + (MEASUREMENT_STD * _height(mean)) ** 2
        gain = cov[..., 0] / variance[..., None]  # [K, 4, 2]
        innovation = _to_cxcywh(xyxy) - mean[..., 0]
        self.mean[rows] = mean + gain * innovation[..., None]
        self.cov[rows] = cov - gain[..., :, None] * cov[..., None, 0, :]


def _to_cxcywh(xyxy: Float64) -> Float64:
    low, high = xyxy[:, :2], xyxy[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def _height(mean: Float64) -> Float64:
    """[N, 1] px, at least one: a flat box must not make the noise vanish."""
    return np.maximum(mean[:, 3:, 0], 1.0)
