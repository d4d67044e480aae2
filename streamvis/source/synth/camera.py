"""Cameras and the rig that carries them.

World: x along the street, y to its left, z up, metres. Optical frame: x right, y down, z forward.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Mount:
    """Where a camera sits on the rig and when its shutter opens."""

    offset_m: tuple[float, float, float]  # forward, left, up from the ground under the rig
    yaw_deg: float  # left of straight ahead
    pitch_deg: float  # above the horizon
    hfov_deg: float
    delay_ns: int = 0  # after the rig's trigger: real rigs fire one camera after another
    lens: tuple[float, float] = (0.0, 0.0)  # radial distortion k1, k2


MAX_CAMERAS = 6
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_MAX_OFFSET_M = 50.0
_MAX_DELAY_NS = 1_000_000_000
_MOUNT_KEYS = {
    "offset_m": 3, "yaw_deg": 1, "pitch_deg": 1, "hfov_deg": 1, "delay_ns": 1, "lens": 2
}  # how many numbers each has  # fmt: skip
_MOUNT_DEFAULTS: dict[str, Any] = {
    "yaw_deg": 0, "pitch_deg": 0, "delay_ns": 0, "lens": [0, 0]
}  # fmt: skip
LENS_STEPS = 6
MAX_STRETCH = 2.0  # of a barrel lens: what is drawn has no more pixels than the picture

RIG = {
    "front": Mount((1.2, 0.0, 1.75), 0.0, -1.5, 66.0, 12_000_000),
    "front_left": Mount((1.0, 0.5, 1.72), 50.0, -2.0, 88.0, 8_000_000),
    "left": Mount((0.2, 0.7, 1.70), 92.0, -2.0, 88.0, 4_000_000),
    "back": Mount((-0.9, 0.0, 1.72), 180.0, -2.0, 82.0, 0),
}

SITES: dict[str, dict[str, Mount]] = {
    "drive": RIG,
    "gantry": {"gantry": Mount((0.0, 1.0, 7.4), 0.0, -13.0, 64.0)},
    "corner": {"corner": Mount((0.0, 0.0, 5.2), 0.0, -14.0, 84.0)},
    "car_park": {"car_park": Mount((0.0, 0.0, 6.2), 0.0, -19.0, 78.0)},
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
    lens: tuple[float, float] = (0.0, 0.0)  # radial distortion k1, k2 (Brown 1966)

    @staticmethod
    def on_rig(mount: Mount, pose: RigPose, width: int, height: int) -> Camera:
        forward, left, up = mount.offset_m
        cos, sin = np.cos(pose.yaw), np.sin(pose.yaw)
        position = np.array(
            [pose.x + cos * forward - sin * left, pose.y + sin * forward + cos * left, up]
        )
        rotation = look_rotation(pose.yaw + np.radians(mount.yaw_deg), np.radians(mount.pitch_deg))
        focal_px = width / 2 / np.tan(np.radians(mount.hfov_deg) / 2)
        return Camera(position, rotation, float(focal_px), width, height, mount.lens)

    @property
    def centre_px(self) -> tuple[float, float]:
        return self.width / 2, self.height / 2

    @property
    def half_view(self) -> tuple[float, float]:
        """The picture's right and lower edge over the focal length, as the lens shows them."""
        cx, cy = self.centre_px
        return cx / self.focal_px, cy / self.focal_px

    @cached_property
    def half_drawn(self) -> tuple[float, float]:
        """Tangents of half the field of view, across and down: what a barrel lens pulls in, too."""
        wide, high = self.half_view
        edge = np.array([(wide, high), (wide, 0.0), (0.0, high)])
        x, y = np.maximum(self.straightened(edge), edge).max(0)
        return float(x), float(y)

    @property
    def lens_folds(self) -> bool:
        """Whether two rays meet in one pixel, or the corners need more than twice the tangent."""
        (k1, k2), edge = self.lens, float(np.hypot(*self.half_view))
        reach = np.linspace(0, MAX_STRETCH * edge, 200)
        lands = reach + k1 * reach**3 + k2 * reach**5
        inside = int(np.argmax(lands >= edge))
        return bool(lands.max() < edge or (np.diff(lands[: inside + 1]) <= 0).any())

    def straightened(self, bent: NDArray[np.floating]) -> NDArray[np.float64]:
        """Tangents [..., 2] of the rays that the lens sends to `bent`, in focal lengths."""
        k1, k2 = self.lens
        wanted = np.maximum(np.linalg.norm(bent, axis=-1, keepdims=True), 1e-9)
        r = wanted.copy()
        for _ in range(LENS_STEPS):  # Newton's; film.frag does the same
            r2 = r * r
            r -= (r * (1 + k1 * r2 + k2 * r2**2) - wanted) / (1 + 3 * k1 * r2 + 5 * k2 * r2**2)
        return np.asarray(bent * (r / wanted), np.float64)

    def bent(self, straight: NDArray[np.floating]) -> NDArray[np.float64]:
        """Where the lens sends rays of tangents [..., 2], in focal lengths."""
        r2 = (straight**2).sum(-1, keepdims=True)
        return np.asarray(straight * (1 + self.lens[0] * r2 + self.lens[1] * r2**2), np.float64)

    def moved(self, step: NDArray[np.float64], yaw: float) -> Camera:
        """Shifted by `step` metres and turned left by `yaw` radians."""
        cos, sin = np.cos(yaw), np.sin(yaw)
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        return replace(self, position=self.position + step, rotation=turn @ self.rotation)

    def world_to_clip(self, near_m: float, far_m: float) -> NDArray[np.float64]:
        """[4, 4] in OpenGL's form: clip x right, y up, all from -w to w."""
        right, down, forward = self.rotation.T
        wide, high = self.half_drawn
        a = (far_m + near_m) / (far_m - near_m)
        b = -2 * far_m * near_m / (far_m - near_m)
        matrix = np.zeros((4, 4))
        for k, axis in enumerate((right / wide, -down / high, a * forward, forward)):
            matrix[k, :3], matrix[k, 3] = axis, -axis @ self.position
        matrix[2, 3] += b
        return matrix

    def to_optical(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """World points [..., 3] -> optical frame [..., 3]."""
        return np.asarray((points - self.position) @ self.rotation, np.float64)

    def may_see(self, centre: NDArray[np.floating], radius: ArrayLike) -> NDArray[np.bool_]:
        """[N] whether a ball around a world point [N, 3] reaches into the view."""
        x, y, z = np.moveaxis(self.to_optical(centre), -1, 0)
        seen = z > -np.asarray(radius)
        for side, tan in zip((x, y), self.half_drawn, strict=True):
            seen &= np.abs(side) - z * tan < radius * np.hypot(1, tan)
        return np.asarray(seen)

    def bend(self, drawn: NDArray[Any]) -> NDArray[Any]:
        """A map of labels [H, W], drawn straight, as the lens shows it."""
        if not any(self.lens):
            return drawn
        at = self.tangents() / self.half_drawn  # -1 to 1
        column, row = np.floor(np.moveaxis((at + 1) * self.centre_px, -1, 0)).astype(int)
        return np.asarray(drawn[row.clip(0, self.height - 1), column.clip(0, self.width - 1)])

    def tangents(self) -> NDArray[np.float64]:
        """[H, W, 2] of each pixel's ray: right and down, per metre ahead."""
        x, y = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        seen = (np.stack([x, y], -1) - self.centre_px) / self.focal_px
        return self.straightened(seen) if any(self.lens) else seen

    def project(self, optical: NDArray[np.floating]) -> NDArray[np.float64]:
        """Optical points [..., 3] in front of the camera -> pixels [..., 2]."""
        tangent = optical[..., :2] / optical[..., 2:]
        return np.asarray(self.bent(tangent) * self.focal_px + self.centre_px, np.float64)


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


def read_rig(content: Any) -> dict[str, Mount]:
    """Mounts from a JSON object by camera name; ValueError says what is wrong with it.

    A camera is {"offset_m": [forward, left, up], "yaw_deg": left, "pitch_deg": up, "hfov_deg": 70,
    "delay_ns": 0, "lens": [k1, k2]}; all but `offset_m` and `hfov_deg` may be left out.
    """
    if not isinstance(content, dict) or not 1 <= len(content) <= MAX_CAMERAS:
        raise ValueError(f"a rig is an object of 1 to {MAX_CAMERAS} cameras by name")
    return {name: _read_mount(name, entry) for name, entry in content.items()}


def _read_mount(name: str, entry: Any) -> Mount:
    where = f"camera {name!r} of the rig"
    if not _NAME.fullmatch(name):
        raise ValueError(f"{where}: a name has letters, digits, - and _ only: it names a file")
    if not isinstance(entry, dict) or not {"offset_m", "hfov_deg"} <= entry.keys():
        raise ValueError(f"{where} must be an object with offset_m and hfov_deg")
    if unknown := sorted(entry.keys() - _MOUNT_KEYS):
        raise ValueError(f"{where} has no {unknown[0]!r}; it has {', '.join(_MOUNT_KEYS)}")
    values = {**_MOUNT_DEFAULTS, **entry}
    numbers = {key: _finite(f"{where}: {key}", values[key], n) for key, n in _MOUNT_KEYS.items()}
    forward, left, up = numbers["offset_m"]
    yaw, pitch, hfov, delay = (
        numbers[key][0] for key in ("yaw_deg", "pitch_deg", "hfov_deg", "delay_ns")
    )
    k1, k2 = numbers["lens"]
    if not 5 <= hfov <= 130:
        raise ValueError(f"{where}: hfov_deg must be from 5 to 130, got {hfov:g}")
    if up <= 0:
        raise ValueError(f"{where}: offset_m is [forward, left, up], and up must be above 0")
    if max(map(abs, numbers["offset_m"])) > _MAX_OFFSET_M:
        raise ValueError(f"{where}: offset_m must stay within {_MAX_OFFSET_M:g} m of the rig")
    if not (delay.is_integer() and 0 <= delay <= _MAX_DELAY_NS):
        raise ValueError(f"{where}: delay_ns must be whole, from 0 to {_MAX_DELAY_NS}")
    return Mount((forward, left, up), yaw, pitch, hfov, int(delay), (k1, k2))


def _finite(what: str, value: Any, count: int) -> list[float]:
    """`count` numbers; one may stand without brackets."""
    given = [value] if count == 1 else value
    is_list = isinstance(given, list) and len(given) == count
    if not is_list or not all(type(v) in (int, float) and isfinite(v) for v in given):
        kind = "a number" if count == 1 else f"{count} numbers"
        raise ValueError(f"{what} must be {kind}, got {value!r}")
    return [float(v) for v in given]
