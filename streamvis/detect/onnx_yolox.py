"""YOLOX models in ONNX, trained elsewhere on COCO: run them, and read their output.

Input `[1, 3, H, W]` float32 BGR 0-255, letter-boxed at the top left with 114. Output
`[1, A, 85]`: box centre and log size in cells, objectness, 80 class scores (YOLOX, Ge et al.
2021, exported without its decoding).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamvis.errors import WeightsError
from streamvis.types import CLASSES

STRIDES = (8, 16, 32)
NUM_COCO = 80
# COCO's number of each of our classes; a stop sign is the only sign COCO knows.
COCO_INDEX = dict(zip(CLASSES, (0, 1, 2, 3, 5, 7, 9, 11), strict=True))


class YoloxSession:
    """A model file in onnxruntime."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self._session = _open(path, threads)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3 or not _fixed(shape[2:]):
            raise WeightsError(
                f"{path}: a YOLOX model takes one fixed [1, 3, H, W] input, this one "
                f"{[i.shape for i in inputs]}; export it with a fixed size"
            )
        self.height, self.width = int(shape[2]), int(shape[3])
        self._input = inputs[0].name
        cells = sum((self.height // s) * (self.width // s) for s in STRIDES)
        want = [cells, 5 + NUM_COCO]
        if len(outputs) != 1 or outputs[0].shape[1:] != want:
            raise WeightsError(
                f"{path}: a YOLOX model trained on COCO gives [1, {cells}, {want[1]}], this one "
                f"{[o.shape for o in outputs]}; check `decode` and the export"
            )

    def run(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """[3, H, W] BGR 0-255 -> boxes xyxy px [A, 4], scores [A, 80] (objectness times class)."""
        raw = self._session.run(None, {self._input: image[None]})[0][0]  # [A, 85]
        return self._decode(raw[:, :4]), raw[:, 4:5] * raw[:, 5:]

    def _decode(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        corners, strides = yolox_cells(self.height, self.width)
        centre = (raw[:, :2] + corners) * strides
        half = np.exp(raw[:, 2:]) * strides / 2
        return np.concatenate([centre - half, centre + half], 1).astype(np.float32)


def to_our_classes(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """[A, 80] -> [A, 8] in the order of CLASSES."""
    return scores[:, list(COCO_INDEX.values())]


def yolox_cells(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Corners of all strides' cells [A, 2] (x, y), and each cell's stride [A, 1]."""
    corners, strides = [], []
    for stride in STRIDES:
        y, x = np.mgrid[: height // stride, : width // stride]
        corners.append(np.stack([x, y], -1).reshape(-1, 2))
        strides.append(np.full((x.size, 1), stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _fixed(shape: list[Any]) -> bool:
    return all(isinstance(side, int) and side % STRIDES[-1] == 0 for side in shape)


def _open(path: Path, threads: int | None) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise WeightsError(
            "an ONNX detector needs onnxruntime; install it: `.venv/bin/pip install onnxruntime`"
        ) from None
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such model file; check the detector's `onnx`")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes live in a private module
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path}: not a model onnxruntime can load ({reason})") from None
