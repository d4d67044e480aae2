"""The labels of a drive, read once and checked, as columns per frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FrameLabels:
    """Labelled objects of one frame."""

    xyxy: NDArray[np.float32]  # [N, 4] source pixels
    class_id: NDArray[np.int32]  # [N] index into types.CLASSES
    track_id: NDArray[np.int64]  # [N] unique within the camera; -1 = none
    is_ignored: NDArray[np.bool_]  # [N] ignore regions: neither hit nor miss
