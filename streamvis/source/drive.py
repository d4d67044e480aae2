"""Recorded-drive folders: a video per camera, rig.json, and labels.json if there are labels.

rig.json maps camera names to {file, width, height, fps, intrinsics, capture_ns, poses}; only
`file` is required. labels.json is COCO with `camera`, `frame_index` and `track_id`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from streamvis.errors import SourceError
from streamvis.types import Intrinsics

# The recorder's stamps are the sensor's own; what they do not say is the exposure's middle.
CAPTURE_UNCERTAINTY_NS = 1_000_000


class Lens(BaseModel):
    """A pinhole camera, in source pixels."""

    fx: float
    fy: float
    cx: float
    cy: float


class RigCamera(BaseModel):
    """What is read of one camera; other keys may be there."""

    file: str
    intrinsics: Lens | None = None
    width: int | None = None  # source px
    height: int | None = None
    capture_ns: list[int] | None = None  # Unix ns, one per frame


class Drive:
    """A drive folder; cameras are in the order of rig.json."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cameras: dict[str, RigCamera] = _read_rig(folder / "rig.json")

    def camera(self, name: str) -> RigCamera:
        if name not in self.cameras:
            raise SourceError(
                f"{self.folder}: this drive has no camera {name!r}; "
                f"it has {', '.join(self.cameras)}",
                "not_found",
            )
        return self.cameras[name]

    def intrinsics(self, name: str) -> Intrinsics | None:
        lens = self.camera(name).intrinsics
        return Intrinsics(lens.fx, lens.fy, lens.cx, lens.cy) if lens else None

    def video_path(self, name: str) -> Path:
        """Raises SourceError when it is not there."""
        path = self.folder / self.camera(name).file
        if not path.is_file():
            raise SourceError(
                f"{self.folder / 'rig.json'}: there is no such video file, {path.name}; check "
                f"`file` of camera {name!r}",
                "not_found",
            )
        return path


def _read_rig(path: Path) -> dict[str, RigCamera]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise SourceError(
            f"{path}: cannot read it; a drive folder needs a rig.json", "not_found"
        ) from None
    except ValueError as error:
        raise SourceError(f"{path}: not valid JSON ({error}); fix or export it again") from None
    if not isinstance(data, dict) or not all(isinstance(value, dict) for value in data.values()):
        raise SourceError(f"{path}: expected a mapping of camera names to their facts")
    if not data:
        raise SourceError(f"{path}: the drive has no cameras; name each with its video `file`")
    return {name: _read_camera(path, name, value) for name, value in data.items()}


def _read_camera(path: Path, name: str, value: dict[str, Any]) -> RigCamera:
    try:
        return RigCamera.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, [name, *first["loc"]]))
        raise SourceError(f"{path}: {where}: {first['msg']}") from None
