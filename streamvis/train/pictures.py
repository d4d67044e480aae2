"""Labelled and unlabelled pictures from COCO folders, drives and videos, held in memory."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.errors import ConfigError
from streamvis.source.drive import Drive
from streamvis.source.video import VideoSource
from streamvis.train.config import DataConfig
from streamvis.types import CLASSES

MAX_SIDE_PX = 640  # pictures are held no larger: views are smaller still


@dataclass(frozen=True)
class Picture:
    image: NDArray[np.uint8]  # [h, w, 3] RGB
    xyxy: NDArray[np.float32]  # [N, 4] px
    class_id: NDArray[np.int64]  # [N] -1: something here must be ignored
    labelled: NDArray[np.bool_]  # [K] False: this class may be present and unmarked
    weight: float


def load_pictures(data: Sequence[DataConfig]) -> list[Picture]:
    """Every picture of every entry. Raises ConfigError for data that is not there."""
    return [picture for entry in data for picture in _load(entry)]


def _load(entry: DataConfig) -> Iterator[Picture]:
    if entry.coco is not None:
        return _load_coco(entry.coco, entry)
    if entry.drive is not None:
        return _load_drive(entry.drive, entry)
    assert entry.video is not None
    return _load_video(entry.video, entry)


def _load_coco(folder: Path, entry: DataConfig) -> Iterator[Picture]:
    data = _read_json(folder / "annotations.json")
    boxes = _by_image(data)
    for image in split(data["images"], entry.hold_out)[0]:
        bgr = cv2.imread(str(folder / "images" / image["file_name"]))
        if bgr is None:
            raise ConfigError(f"{folder}: cannot read images/{image['file_name']}")
        weight = entry.weight * entry.source_weights.get(image["source"], 1.0)
        scale = min(1.0, MAX_SIDE_PX / max(bgr.shape[:2]))
        bgr = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        rgb: Any = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        yield _picture(rgb, scale, boxes[image["id"]], image["labelled"], weight)


def split(
    images: Sequence[dict[str, Any]], hold_out: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The images to train on, and the last of each source: what was taken one after the other
    lies on one side."""
    by_source: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for image in sorted(images, key=lambda image: str(image["file_name"])):
        by_source[image["source"]].append(image)
    kept, held = [], []
    for group in by_source.values():
        count = len(group) - round(len(group) * hold_out)
        kept += group[:count]
        held += group[count:]
    return kept, held


def _load_drive(folder: Path, entry: DataConfig) -> Iterator[Picture]:
    data = _read_json(folder / "labels.json")
    boxes = _by_image(data)
    ids = {(image["camera"], image["frame_index"]): image["id"] for image in data["images"]}
    drive = Drive(folder)
    for camera in drive.cameras:
        for index, rgb, scale in _video_frames(drive.video_path(camera), entry.every):
            if (camera, index) in ids:
                yield _picture(rgb, scale, boxes[ids[camera, index]], CLASSES, entry.weight)


def _load_video(path: Path, entry: DataConfig) -> Iterator[Picture]:
    for _, rgb, scale in _video_frames(path, entry.every):
        yield _picture(rgb, scale, [], (), entry.weight)


def _video_frames(path: Path, every: int) -> Iterator[tuple[int, NDArray[np.uint8], float]]:
    """Each n-th frame: its index, the picture, and its scale."""
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such video; check `data` and STREAMVIS_TRAIN_DATA")
    video = VideoSource(path, "", (MAX_SIDE_PX, MAX_SIDE_PX))
    while video.grab() is not None:
        frame = video.retrieve(t_ingest_ns=0)
        if frame is not None and frame.index % every == 0:
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
) -> Picture:
    """`rows` are in the pixels of the picture before it was scaled."""
    xywh = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4) * scale
    return Picture(
        image=rgb,
        xyxy=np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1),
        class_id=np.array([row["class_id"] for row in rows], np.int64),
        labelled=np.array([name in labelled for name in CLASSES]),
        weight=weight,
    )


def _by_image(data: dict[str, Any]) -> dict[int, list[dict[str, Any]]]:
    """Annotations by image id, each with our `class_id`."""
    names = {category["id"]: category["name"] for category in data["categories"]}
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in data["annotations"]:
        name = names[row["category_id"]]
        known = name in CLASSES and not row.get("iscrowd")
        rows[row["image_id"]].append({**row, "class_id": CLASSES.index(name) if known else -1})
    return rows


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ConfigError(
            f"{path}: there is no training data here; set STREAMVIS_TRAIN_DATA to its folder"
        ) from None
    except ValueError as error:
        raise ConfigError(f"{path}: not valid JSON ({error}); copy the data again") from None
    return data
