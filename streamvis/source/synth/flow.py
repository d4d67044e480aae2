"""True optical flow: where each pixel's point of the world is in the camera's next frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.render.renderer import SKY_M
from streamvis.source.synth.scene import RenderedFrame, StreetScene
from streamvis.source.synth.world.actors import Body


def flow_to_next(
    scene: StreetScene, frame: RenderedFrame
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(px right and down [H, W, 2], valid [H, W]) of one camera.

    Bodies move as rigid things: limbs and wheels have their body's flow. Valid says that the point
    lies before the camera and inside the next picture; whether it is hidden there is not asked.
    """
    before, after = (scene.camera(frame.camera, frame.index + k) for k in (0, 1))
    height, width = frame.ids.shape
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    pixel = np.stack([x, y], -1)
    ray = np.concatenate([before.tangents(), np.ones((height, width, 1))], -1)
    point = before.position + (ray * frame.depth[..., None]) @ before.rotation.T
    point = _moved(scene, frame, point)
    optical = after.to_optical(point)
    optical[..., 2] = np.maximum(optical[..., 2], 1e-3)
    landed = after.project(optical)
    is_inside = ((landed >= 0) & (landed < (width, height))).all(-1)
    # Far outside the view a lens's polynomial turns back and would land inside.
    is_inside &= (np.abs(optical[..., :2]) <= optical[..., 2:] * after.half_drawn).all(-1)
    valid = (frame.depth < SKY_M) & (optical[..., 2] > 0.1) & is_inside
    return (landed - pixel).astype(np.float32), valid


def _moved(
    scene: StreetScene, frame: RenderedFrame, point: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where world points [H, W, 3] are at the next frame."""
    t0, t1 = (scene.seconds(frame.camera, frame.index + k) for k in (0, 1))
    before, after = scene.bodies(t0), scene.bodies(t1)
    point = point.copy()
    for track_id in np.unique(frame.ids[frame.ids > 0]).tolist():
        a, b = before[track_id], after[track_id]
        if any(a.velocity) or any(b.velocity) or a.spin:
            covered = frame.ids == track_id
            point[covered] = _carried(point[covered], a, b)
    return point


def _carried(point: NDArray[np.float64], a: Body, b: Body) -> NDArray[np.float64]:
    cos, sin = np.cos(b.yaw - a.yaw), np.sin(b.yaw - a.yaw)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return np.asarray((point - a.centre) @ turn.T + b.centre)
