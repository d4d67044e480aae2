"""Labelled and unlabelled pictures from COCO folders, drives and videos, held in memory."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.errors import ConfigError
from streamvis.source.drive import Drive
from streamvis.train.config import DataConfig
from streamvis.types import CLASSES

MAX_SIDE_PX = 640  # larger frames are scaled down once: views are smaller still


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
    for image in data["images"]:
        bgr = cv2.imread(str(folder / "images" / image["file_name"]))
        if bgr is None:
            raise ConfigError(f"{folder}: cannot read images/{image['file_name']}")
        weight = entry.weight * entry.source_weights.get(image["source"], 1.0)
        rgb: Any = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        yield _picture(rgb, boxes[image["id"]], image["labelled"], weight)


def _load_drive(folder: Path, entry: DataConfig) -> Iterator[Picture]:
    data = _read_json(folder / "labels.json")
    boxes = _by_image(data)
    ids = {(image["camera"], image["frame_index"]): image["id"] for image in data["images"]}
    drive = Drive(folder)
    for camera in drive.cameras:
        for index, rgb in _video_frames(drive.video_path(camera), entry.every):
            if (camera, index) in ids:
                yield _picture(rgb, boxes[ids[camera, index]], CLASSES, entry.weight)


def _load_video(path: Path, entry: DataConfig) -> Iterator[Picture]:
    for _, rgb in _video_frames(path, entry.every):
        yield _picture(rgb, [], (), entry.weight)


def _video_frames(path: Path, every: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such video; check `data` and STREAMVIS_TRAIN_DATA")
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index % every == 0:
                yield index, frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def _picture(
    rgb: NDArray[np.uint8], rows: list[dict[str, Any]], labelled: Sequence[str], weight: float
) -> Picture:
    scale = min(1.0, MAX_SIDE_PX / max(rgb.shape[:2]))
    if scale < 1:
        rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
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
