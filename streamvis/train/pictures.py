"""Labelled and unlabelled pictures from COCO folders, drives and videos, held in memory."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from streamvis.errors import ConfigError
from streamvis.source.drive import Drive
from streamvis.source.video import VideoSource
from streamvis.train.config import DataConfig
from streamvis.types import CLASSES

log = logging.getLogger(__name__)
MAX_SIDE_PX = 640  # pictures are held no larger: views are smaller still


@dataclass(frozen=True)
class Picture:
    image: NDArray[np.uint8]  # [h, w, 3] RGB
    xyxy: NDArray[np.float32]  # [N, 4] px
    class_id: NDArray[np.int64]  # [N] -1: something here must be ignored
    labelled: NDArray[np.bool_]  # [K] False: this class may be present and unmarked
    weight: float


class _Category(BaseModel):
    id: int
    name: str  # another name than ours: its boxes are ignored, not background


class _Annotation(BaseModel):
    image_id: int
    category_id: int
    bbox: Any  # x, y, w, h px; a bad one costs one box, not the run
    iscrowd: bool = False  # ignored, not background


class _File(BaseModel):
    id: int
    file_name: str
    source: str = ""  # who took it
    labelled: list[str] = []  # classes of which all are marked; absent: all categories


class _DrivenFrame(BaseModel):
    id: int
    camera: str
    frame_index: int


class _Coco(BaseModel):
    categories: list[_Category]
    annotations: list[_Annotation]


class _Folder(_Coco):
    images: list[_File]


class _Driven(_Coco):
    images: list[_DrivenFrame]


class Skips:
    """What was left out of one entry's data, and why: said once, at its end."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = defaultdict(list)

    def add(self, reason: str, where: object) -> None:
        self._found[reason].append(str(where))

    def say(self, place: Path) -> None:
        parts = [f"{len(what)} {why} (first: {what[0]})" for why, what in self._found.items()]
        if parts:
            log.warning("%s: left out: %s", place, "; ".join(parts))


def load_pictures(data: Sequence[DataConfig]) -> list[Picture]:
    """Every picture of every entry; pictures and boxes that cannot be used are left out and
    counted in a warning. Raises ConfigError for data that is not there or not of its form."""
    return [picture for entry in data for picture in _load(entry)]


def _load(entry: DataConfig) -> Iterator[Picture]:
    place = entry.coco or entry.drive or entry.video
    assert place is not None
    load = _load_coco if entry.coco else _load_drive if entry.drive else _load_video
    skips = Skips()
    yield from load(place, entry, skips)
    skips.say(place)


def _load_coco(folder: Path, entry: DataConfig, skips: Skips) -> Iterator[Picture]:
    data = _read_coco(folder / "annotations.json", _Folder)
    boxes = _by_image(data, skips)
    everything = [category["name"] for category in data["categories"]]
    for image in split(data["images"], entry.hold_out)[0]:
        weight = entry.weight * entry.source_weights.get(image.get("source", ""), 1.0)
        if weight == 0:
            continue
        bgr = cv2.imread(str(folder / "images" / image["file_name"]))
        if bgr is None:
            skips.add("unreadable pictures", image["file_name"])
            continue
        scale = min(1.0, MAX_SIDE_PX / max(bgr.shape[:2]))
        bgr = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        rgb: Any = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        labelled = image.get("labelled", everything)
        yield _picture(rgb, scale, boxes[image["id"]], labelled, weight, skips)


def split(
    images: Sequence[dict[str, Any]], hold_out: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The images to train on, and the last of each source: what was taken one after the other
    lies on one side."""
    by_source: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for image in sorted(images, key=lambda image: str(image["file_name"])):
        by_source[image.get("source", "")].append(image)
    kept, held = [], []
    for group in by_source.values():
        count = len(group) - round(len(group) * hold_out)
        kept += group[:count]
        held += group[count:]
    return kept, held


def _load_drive(folder: Path, entry: DataConfig, skips: Skips) -> Iterator[Picture]:
    data = _read_coco(folder / "labels.json", _Driven)
    boxes = _by_image(data, skips)
    ids = {(image["camera"], image["frame_index"]): image["id"] for image in data["images"]}
    drive = Drive(folder)
    for camera in drive.cameras:
        for index, rgb, scale in _video_frames(drive.video_path(camera), entry.every, skips):
            if (camera, index) in ids:
                rows = boxes[ids[camera, index]]
                yield _picture(rgb, scale, rows, CLASSES, entry.weight, skips)


def _load_video(path: Path, entry: DataConfig, skips: Skips) -> Iterator[Picture]:
    for _, rgb, scale in _video_frames(path, entry.every, skips):
        yield _picture(rgb, scale, [], (), entry.weight, skips)


def _video_frames(
    path: Path, every: int, skips: Skips
) -> Iterator[tuple[int, NDArray[np.uint8], float]]:
    """Each n-th frame: its index, the picture, and its scale."""
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such video; check `data` and STREAMVIS_TRAIN_DATA")
    video = VideoSource(path, "", (MAX_SIDE_PX, MAX_SIDE_PX))
    while video.grab() is not None:
        frame = video.retrieve(t_ingest_ns=0)
        if frame is not None and frame.is_corrupt:
            skips.add("frames decoded with errors", f"{path.name} frame {frame.index}")
        elif frame is not None and frame.index % every == 0:
            width, height = frame.letterbox.content_size
            scale = 1 / max(frame.letterbox.to_source_scale)
            yield frame.index, frame.image[:height, :width].copy(), scale
    video.close()


def _picture(
    rgb: NDArray[np.uint8],
    scale: float,
    rows: list[dict[str, Any]],
    labelled: Sequence[str],
    weight: float,
    skips: Skips,
) -> Picture:
    """`rows` are in the pixels of the picture before it was scaled."""
    used = [(box, row) for row in rows if (box := _box(row, scale, rgb, skips)) is not None]
    return Picture(
        image=rgb,
        xyxy=np.array([box for box, _ in used], np.float32).reshape(-1, 4),
        class_id=np.array([row["class_id"] for _, row in used], np.int64),
        labelled=np.array([name in labelled for name in CLASSES]),
        weight=weight,
    )


def _box(
    row: Mapping[str, Any], scale: float, rgb: NDArray[np.uint8], skips: Skips
) -> NDArray[np.float32] | None:
    """xyxy [4] px, the part of it that lies in the picture; None if there is none."""
    try:
        x, y, w, h = (float(value) * scale for value in row["bbox"])
    except (TypeError, ValueError):
        skips.add("boxes that are not four numbers", f"annotation {row.get('id')}")
        return None
    if not (np.isfinite([x, y, w, h]).all() and w > 0 and h > 0):
        skips.add("boxes without area", f"annotation {row.get('id')}")
        return None
    height, width = rgb.shape[:2]
    box = np.clip([x, y, x + w, y + h], 0, [width, height, width, height]).astype(np.float32)
    if (box[2:] <= box[:2]).any():
        skips.add("boxes outside their picture", f"annotation {row.get('id')}")
        return None
    return box


def _by_image(data: dict[str, Any], skips: Skips) -> dict[int, list[dict[str, Any]]]:
    """Annotations by image id, each with our `class_id`: -1 for what is something else."""
    names = {category["id"]: category["name"] for category in data["categories"]}
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in data["annotations"]:
        name = names.get(row["category_id"])
        if name is None:
            skips.add("classes of boxes, in no category", f"annotation {row.get('id')}")
        known = name in CLASSES and not row.get("iscrowd")
        rows[row["image_id"]].append({**row, "class_id": CLASSES.index(name) if known else -1})
    return rows


def _read_coco(path: Path, form: type[_Folder | _Driven]) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        form.model_validate(data)
    except OSError:
        raise ConfigError(
            f"{path}: there is no training data here; set STREAMVIS_TRAIN_DATA to its folder"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise ConfigError(
            f"{path}: not in COCO's form ({where}: {first['msg']}); correct the file"
        ) from None
    except ValueError as error:
        raise ConfigError(f"{path}: not valid JSON ({error}); copy the data again") from None
    return data
