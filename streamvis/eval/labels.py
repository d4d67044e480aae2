"""The labels of a drive, read once and checked, as columns per frame.

`labels.json` is COCO; each image names its `camera` and `frame_index`. `iscrowd` boxes are ignore
regions: a detection inside one is neither right nor wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamvis.eval.result import FrameKey


@dataclass(frozen=True)
class FrameLabels:
    """Labelled objects of one frame."""

    xyxy: NDArray[np.float32]  # [N, 4] source pixels
    class_id: NDArray[np.int32]  # [N] index into types.CLASSES
    track_id: NDArray[np.int64]  # [N] unique within the camera; -1 = none
    is_ignored: NDArray[np.bool_]  # [N] ignore regions: neither hit nor miss


@dataclass(frozen=True)
class DriveLabels:
    """All labelled frames of a drive. Frames without objects are there too, as empty columns."""

    path: Path
    frames: Mapping[FrameKey, FrameLabels]  # by camera in the order of the file, then frame_index
    sizes: Mapping[str, tuple[int, int]]  # camera -> (width, height) px

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras that have labels, in the order of the file."""
        raise NotImplementedError

    @property
    def has_tracks(self) -> bool:
        """True when every counted (not ignored) box has a track id, and there is one."""
        raise NotImplementedError

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes with at least one counted box, in the order of types.CLASSES."""
        raise NotImplementedError

    def size(self, camera: str) -> tuple[int, int]:
        """(width, height) px of the pictures that were labelled."""
        raise NotImplementedError

    def check_camera(self, camera: str, num_frames: int, size: tuple[int, int]) -> None:
        """Raise SourceError unless the camera has labels, and they fit its video of `num_frames`
        frames of `size` (width, height)."""
        raise NotImplementedError

    def only(self, keys: Collection[FrameKey]) -> DriveLabels:
        """The same labels, restricted to these frames; keys without labels are passed over."""
        raise NotImplementedError


def read_labels(path: Path) -> DriveLabels:
    """Read and check `labels.json`.

    Raises SourceError (`not_found` or `corrupt`) with one sentence that names file and index.
    """
    raise NotImplementedError
