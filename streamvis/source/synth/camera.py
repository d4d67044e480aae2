"""Pinhole cameras and the rig that carries them.

World: x along the street, y to its left, z up, metres. Optical frame: x right, y down, z forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Mount:
    """Where a camera sits on the rig and when its shutter opens."""

    offset_m: tuple[float, float, float]  # forward, left, up from the ground under the rig
    yaw_deg: float  # left of straight ahead
    pitch_deg: float  # above the horizon
    hfov_deg: float
    delay_ns: int  # after the rig's trigger: real rigs fire one camera after another


RIG = {
    "front": Mount((1.2, 0.0, 1.75), 0.0, -1.5, 66.0, 12_000_000),
    "front_left": Mount((1.0, 0.5, 1.72), 50.0, -2.0, 88.0, 8_000_000),
    "left": Mount((0.2, 0.7, 1.70), 92.0, -2.0, 88.0, 4_000_000),
    "back": Mount((-0.9, 0.0, 1.72), 180.0, -2.0, 82.0, 0),
}


@dataclass(frozen=True)
class RigPose:
    """The ground point under the rig, and its heading."""

    x: float  # m
    y: float  # m
    yaw: float  # rad, left of the world's x


@dataclass(frozen=True)
class Camera:
    position: NDArray[np.float64]  # [3] world, m
    rotation: NDArray[np.float64]  # [3, 3] optical -> world
    focal_px: float
    width: int
    height: int

    @staticmethod
    def on_rig(mount: Mount, pose: RigPose, width: int, height: int) -> Camera:
        forward, left, up = mount.offset_m
        cos, sin = np.cos(pose.yaw), np.sin(pose.yaw)
        position = np.array(
            [pose.x + cos * forward - sin * left, pose.y + sin * forward + cos * left, up]
        )
        rotation = look_rotation(pose.yaw + np.radians(mount.yaw_deg), np.radians(mount.pitch_deg))
        focal_px = width / 2 / np.tan(np.radians(mount.hfov_deg) / 2)
        return Camera(position, rotation, float(focal_px), width, height)

    @property
    def centre_px(self) -> tuple[float, float]:
        return self.width / 2, self.height / 2

    @cached_property
    def rays(self) -> NDArray[np.float32]:
        """[H, W, 3] world directions with optical depth 1 through the pixel centres."""
        cx, cy = self.centre_px
        x = (np.arange(self.width) + 0.5 - cx) / self.focal_px
        y = (np.arange(self.height) + 0.5 - cy) / self.focal_px
        right, down, forward = self.rotation.T
        rows = y[:, None, None] * down + forward
        return np.asarray(rows + (x[:, None] * right)[None], np.float32)

    def to_optical(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """World points [..., 3] -> optical frame [..., 3]."""
        return np.asarray((points - self.position) @ self.rotation, np.float64)

    def may_see(self, centre: NDArray[np.floating], radius: ArrayLike) -> NDArray[np.bool_]:
        """[N] whether a ball around a world point [N, 3] reaches into the view."""
        x, y, z = np.moveaxis(self.to_optical(centre), -1, 0)
        seen = z > -np.asarray(radius)
        for side, half in zip((x, y), self.centre_px, strict=True):
            tan = half / self.focal_px
            seen &= np.abs(side) - z * tan < radius * np.hypot(1, tan)
        return np.asarray(seen)

    def project(self, optical: NDArray[np.floating]) -> NDArray[np.float64]:
        """Optical points [..., 3] in front of the camera -> pixels [..., 2]."""
        tangent = optical[..., :2] / optical[..., 2:]
        return np.asarray(tangent * self.focal_px + np.array(self.centre_px), np.float64)


def look_rotation(yaw: float, pitch: float) -> NDArray[np.float64]:
    """[3, 3] optical -> world for a camera without roll; radians, left and up positive."""
    forward = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    return np.stack([right, np.cross(forward, right), forward], axis=1)


def quaternion(rotation: NDArray[np.float64]) -> dict[str, float]:
    """The unit quaternion of a rotation matrix, as rig.json writes it."""
    m = rotation
    # The symmetric 4x4 whose largest eigenvector is the quaternion (Bar-Itzhack 2000): it has
    # no special cases near half turns, where the back camera lives.
    k = np.array(
        [
            [m[0, 0] - m[1, 1] - m[2, 2], 0, 0, 0],
            [m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], 0, 0],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1], 0],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], np.trace(m)],
        ]
    )
    x, y, z, w = np.linalg.eigh(k)[1][:, -1]
    sign = -1.0 if w < 0 else 1.0
    return {name: float(sign * v) for name, v in zip("wxyz", (w, x, y, z), strict=True)}
