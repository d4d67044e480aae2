"""The labels of a drive, read once and checked, as columns per frame.

`labels.json` is COCO; each image names its `camera` and `frame_index`. `iscrowd` boxes are ignore
regions: a detection inside one is neither right nor wrong.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, FiniteFloat, NonNegativeInt, PositiveInt, ValidationError
from pydantic_core import ErrorDetails

from streamvis.errors import SourceError
from streamvis.eval.result import FrameKey
from streamvis.types import CLASSES


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
        return tuple(dict.fromkeys(camera for camera, _ in self.frames))

    @property
    def has_tracks(self) -> bool:
        """True when every counted (not ignored) box has a track id, and there is one."""
        ids = [frame.track_id[~frame.is_ignored] for frame in self.frames.values()]
        return any(map(len, ids)) and all(np.all(row >= 0) for row in ids)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes with at least one counted box, in the order of types.CLASSES."""
        ids = [frame.class_id[~frame.is_ignored] for frame in self.frames.values()]
        return tuple(CLASSES[i] for i in np.unique(np.concatenate(ids))) if ids else ()

    def size(self, camera: str) -> tuple[int, int]:
        """(width, height) px of the pictures that were labelled."""
        self._check_known(camera)
        return self.sizes[camera]

    def last_frame(self, camera: str) -> int:
        """The highest index that is labelled."""
        self._check_known(camera)
        return max(index for name, index in self.frames if name == camera)

    def check_camera(self, camera: str, num_frames: int, size: tuple[int, int]) -> None:
        """Raise SourceError unless the camera has labels, and they fit its video of `num_frames`
        frames of `size` (width, height)."""
        labelled = self.size(camera)
        if labelled != size:
            raise _corrupt(
                self.path,
                f"the labels of camera {camera!r} are for {_text(labelled)} px and its video has "
                f"{_text(size)} px; label the video that is in the drive",
            )
        last = self.last_frame(camera)
        if last >= num_frames:
            raise _corrupt(
                self.path,
                f"camera {camera!r} has labels for frame {last}, and its video has only "
                f"{num_frames} frames (0 to {num_frames - 1}); put the whole video into the drive",
            )

    def only(self, keys: Collection[FrameKey]) -> DriveLabels:
        """The same labels, restricted to these frames; keys without labels are passed over."""
        wanted = set(keys)
        frames = {key: frame for key, frame in self.frames.items() if key in wanted}
        return replace(self, frames=frames)

    def _check_known(self, camera: str) -> None:
        if camera not in self.sizes:
            raise SourceError(
                f"{self.path}: camera {camera!r} has no labels; "
                f"those that have are {', '.join(self.sizes)}",
                "not_found",
            )


class _Category(BaseModel):
    id: int
    name: str


class _Image(BaseModel):
    id: int
    camera: str  # required even where there is one camera: a wrong guess would score nonsense
    frame_index: NonNegativeInt
    width: PositiveInt
    height: PositiveInt


class _Annotation(BaseModel):
    image_id: int
    category_id: int
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]  # x, y, width, height
    iscrowd: bool = False
    track_id: int | None = None


class _File(BaseModel):
    """What is read of labels.json; other keys may be there."""

    categories: list[_Category]
    images: list[_Image]
    annotations: list[_Annotation]


def read_labels(path: Path, cameras: Collection[str] | None = None) -> DriveLabels:
    """Read and check `labels.json`; with `cameras`, there may be no labels for others.

    Raises SourceError (`not_found` or `corrupt`) with one sentence that names file and index.
    """
    file = _parse(path)
    for name in ("categories", "images"):
        if not getattr(file, name):
            raise _corrupt(path, f"`{name}` is empty; export the labels again")
    if cameras is not None:
        _check_cameras(path, file.images, cameras)
    images = _by_key(path, file.images)
    rows = _rows_by_image(path, file)
    frames = {key: _columns(rows[image.id]) for key, image in images.items()}
    for (camera, index), frame in frames.items():
        _check_tracks(path, camera, index, frame)
    return DriveLabels(path, frames, _sizes(path, file.images))


def _parse(path: Path) -> _File:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise SourceError(
            f"{path}: cannot read it; an evaluation needs a drive with labels.json", "not_found"
        ) from None
    except ValueError as error:
        raise _corrupt(path, f"not valid JSON ({error}); export it again") from None
    if not isinstance(data, dict):
        raise _corrupt(
            path,
            "expected a JSON object with images, annotations and categories; "
            "export the labels again",
        )
    try:
        return _File.model_validate(data)
    except ValidationError as error:
        what = _mistake(error.errors()[0])
        raise _corrupt(path, f"{what}; export the labels again") from None


def _mistake(first: ErrorDetails) -> str:
    """Where and what, in the words of the file's format."""
    where = list(map(str, first["loc"]))
    if "bbox" in where and first["type"] in ("missing", "too_long", "tuple_type"):
        box = ".".join(where[: where.index("bbox") + 1])
        return f"{box}: a bbox has four numbers: x, y, width, height"
    return f"{'.'.join(where)}: {first['msg']}"


def _check_cameras(path: Path, images: Sequence[_Image], cameras: Collection[str]) -> None:
    for i, image in enumerate(images):
        if image.camera not in cameras:
            raise _corrupt(
                path,
                f"images.{i} is of camera {image.camera!r}, which this drive does not have; "
                f"rig.json has {', '.join(cameras)}",
            )


def _by_key(path: Path, images: Sequence[_Image]) -> dict[FrameKey, _Image]:
    """Images by camera in the order of the file, then frame_index."""
    found: dict[FrameKey, int] = {}
    ids: dict[int, int] = {}
    for i, image in enumerate(images):
        key = image.camera, image.frame_index
        if key in found:
            raise _corrupt(
                path,
                f"images {found[key]} and {i} are both frame {key[1]} of camera {key[0]!r}; "
                "remove one",
            )
        if image.id in ids:
            raise _corrupt(
                path, f"images {ids[image.id]} and {i} both have the id {image.id}; renumber them"
            )
        found[key] = ids[image.id] = i
    cameras = list(dict.fromkeys(image.camera for image in images))
    order = sorted(found, key=lambda key: (cameras.index(key[0]), key[1]))
    return {key: images[found[key]] for key in order}


def _rows_by_image(path: Path, file: _File) -> Mapping[int, list[tuple[_Annotation, int]]]:
    """image_id -> its annotations, each with its class_id."""
    names = {category.id: category.name for category in file.categories}
    image_ids = {image.id for image in file.images}
    rows: dict[int, list[tuple[_Annotation, int]]] = defaultdict(list)
    for i, row in enumerate(file.annotations):
        where = f"annotations.{i}"
        if row.image_id not in image_ids:
            raise _corrupt(path, f"{where} is for image {row.image_id}, which is not in `images`")
        if row.category_id not in names:
            raise _corrupt(
                path, f"{where} has category {row.category_id}, which is not in `categories`"
            )
        if names[row.category_id] not in CLASSES:
            raise _corrupt(
                path,
                f"{where} has the class {names[row.category_id]!r}; rename it to one of "
                f"{', '.join(CLASSES)}, or remove it",
            )
        if min(row.bbox[2:]) < 0:
            raise _corrupt(path, f"{where} has a box of negative size, {list(row.bbox)}")
        rows[row.image_id].append((row, CLASSES.index(names[row.category_id])))
    return rows


def _columns(rows: Sequence[tuple[_Annotation, int]]) -> FrameLabels:
    xywh = np.array([row.bbox for row, _ in rows], np.float64).reshape(-1, 4)
    xywh[:, 2:] += xywh[:, :2]
    ids = [-1 if row.track_id is None else row.track_id for row, _ in rows]
    return FrameLabels(
        xyxy=xywh.astype(np.float32),
        class_id=np.array([class_id for _, class_id in rows], np.int32),
        track_id=np.array(ids, np.int64),
        is_ignored=np.array([row.iscrowd for row, _ in rows], np.bool_),
    )


def _check_tracks(path: Path, camera: str, index: int, frame: FrameLabels) -> None:
    ids, count = np.unique(frame.track_id[frame.track_id >= 0], return_counts=True)
    if np.any(count > 1):
        raise _corrupt(
            path,
            f"frame {index} of camera {camera!r} has track {ids[count > 1][0]} more than once; "
            "an object has one box in a frame",
        )


def _sizes(path: Path, images: Sequence[_Image]) -> dict[str, tuple[int, int]]:
    sizes: dict[str, tuple[int, int]] = {}
    for i, image in enumerate(images):
        size = image.width, image.height
        first = sizes.setdefault(image.camera, size)
        if first != size:
            raise _corrupt(
                path,
                f"images.{i} is {_text(size)} px, and camera {image.camera!r} began with "
                f"{_text(first)} px; a camera has one size",
            )
    return sizes


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _corrupt(path: Path, what: str) -> SourceError:
    return SourceError(f"{path}: {what}", "corrupt")
