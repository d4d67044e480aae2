"""Frames of an evaluation as the report shows them: labels, detections and encoded tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamvis.eval.labels import FrameLabels
from streamvis.render.picture import Picture
from streamvis.types import Detections


@dataclass(frozen=True)
class FramePicture:
    """One frame worth looking at."""

    config: str
    camera: str
    frame_index: int
    image: Picture  # [h, w, 3] RGB, the content without padding
    labels: FrameLabels  # source px
    detections: Detections  # source px
    source_size: tuple[int, int]  # (width, height) px
    encoded: NDArray[np.bool_] | None  # [rows, cols] of the encoder's grid; None: not known
    why: str  # one line under the picture
