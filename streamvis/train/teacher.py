"""A detector trained elsewhere looks at each view; the network learns its dense output.

Teacher and network have the same strides, and the view lies at the top left of the teacher's
input, so the teacher's cells are the network's cells: no boxes to match, no thresholds, and
always the very view the network sees ("Knowledge distillation: a good teacher is patient and
consistent", Beyer et al., CVPR 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamvis.detect.onnx_yolox import STRIDES, YoloxSession, to_our_classes
from streamvis.errors import ConfigError
from streamvis.types import LETTERBOX_FILL


@dataclass(frozen=True)
class Opinion:
    """A cells of the view at strides 8, 16, 32."""

    xyxy: NDArray[np.float32]  # [A, 4] px
    score: NDArray[np.float32]  # [A, K]
    presence: NDArray[np.float32]  # [80] how sure that each COCO class is somewhere in view


class Teacher:
    def __init__(self, path: Path) -> None:
        self._session = YoloxSession(path, threads=1)
        self._canvas = np.full(
            (3, self._session.height, self._session.width), LETTERBOX_FILL, np.float32
        )

    def check_view(self, side_px: int) -> None:
        """Raises ConfigError when views of this side do not fit the teacher's input."""
        largest = min(self._session.height, self._session.width)
        if side_px > largest:
            raise ConfigError(
                f"view.size {side_px} is larger than the teacher's input; at most {largest} fits"
            )

    def look(self, image: NDArray[np.uint8]) -> Opinion:
        """uint8 [S, S, 3] RGB, S no larger than the teacher's input."""
        side = image.shape[0]
        self._canvas[:, :side, :side] = image[:, :, ::-1].transpose(2, 0, 1)
        xyxy, score = self._session.run(self._canvas)
        rows = self._rows(side)
        xyxy, score = xyxy[rows], score[rows]
        return Opinion(xyxy, to_our_classes(score), score.max(0))

    def _rows(self, side: int) -> NDArray[np.int64]:
        """Which of the teacher's cells lie in the view."""
        rows, start = [], 0
        for stride in STRIDES:
            h, w = self._session.height // stride, self._session.width // stride
            grid = start + np.arange(h * w).reshape(h, w)
            rows.append(grid[: side // stride, : side // stride].ravel())
            start += h * w
        return np.concatenate(rows)
