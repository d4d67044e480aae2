"""What labels in boxes cannot say: id masks, depth and optical flow, one PNG a frame.

masks/CAMERA/00007.png   16 bits: track id, 0 = scenery or sky
depth/CAMERA/00007.png   16 bits: centimetres along the optical axis, 65535 = farther or sky
flow/CAMERA/00007.png    16 bits, 3 channels RGB: 32768 + 64 × px right, 32768 + 64 × px down, valid
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.flow import flow_to_next
from streamvis.source.synth.scene import RenderedFrame, StreetScene

EXTRAS = ("masks", "depth", "flow")
FLOW_STEPS_PER_PX = 64


def write_extras(
    scene: StreetScene, frame: RenderedFrame, folder: Path, wanted: Sequence[str]
) -> None:
    """OSError if one cannot be written."""
    for kind in wanted:
        path = folder / kind / frame.camera / f"{frame.index:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(path), _image(scene, frame, kind)):
            raise OSError(0, f"cannot write {path.name}")


def _image(scene: StreetScene, frame: RenderedFrame, kind: str) -> NDArray[np.uint16]:
    if kind == "masks":
        return frame.ids.astype(np.uint16)
    if kind == "depth":
        return np.clip(np.rint(frame.depth * 100), 0, 65535).astype(np.uint16)
    flow, valid = flow_to_next(scene, frame)
    coded = np.clip(np.rint(flow * FLOW_STEPS_PER_PX + 32768), 0, 65535)
    both = np.concatenate([coded, valid[..., None]], -1).astype(np.uint16)
    return np.ascontiguousarray(both[..., ::-1])  # OpenCV writes BGR
