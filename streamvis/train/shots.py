"""Pictures whose objects are known again: in the next frame, and in an altered look at the same.

What is the same object is told by a drive's track ids, by the tracker on a teacher's boxes where
a video has no labels, and by the altered look, of which every picture has one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streamvis.detect.config import DetectorConfig
from streamvis.detect.onnx_detector import OnnxDetector
from streamvis.encode.encoder import Features
from streamvis.errors import ConfigError
from streamvis.eval.labels import read_labels
from streamvis.source.drive import Drive
from streamvis.source.video import VideoSource
from streamvis.track.config import TrackerConfig
from streamvis.track.tracker import Tracker
from streamvis.train.config import DataConfig
from streamvis.train.pictures import Picture, load_pictures
from streamvis.types import LETTERBOX_FILL, Detections, Frame, LetterBox

MIN_SIDE_PX = 10.0
MIN_VISIBLE = 0.6  # of a box that the altered look cuts


@dataclass(frozen=True)
class Shot:
    image: NDArray[np.uint8]  # [H, W, 3] RGB, letter-boxed as a pipeline does
    xyxy: NDArray[np.float32]  # [N, 4] px
    things: tuple[Hashable, ...]  # N; equal ones are one object
    place: Hashable  # what the camera stands in or drives through
    t_s: float  # in the place; near times show the same of it
    series: Hashable  # frames of one series follow each other


class SceneConfig(DataConfig):
    """A place pictures come from."""

    is_static: bool = False
    """The camera of this video stands still: all its frames show the same place."""

    most: int = 1_000_000
    """Of a `coco` folder take so many pictures at most, evenly."""


def load_shots(data: Sequence[SceneConfig], size: tuple[int, int], teacher: Path) -> Iterator[Shot]:
    """The shots of every entry, letter-boxed to `size` (width, height) px."""
    for entry in data:
        if entry.coco is not None:
            yield from _coco_shots(entry, size)
        elif entry.drive is not None:
            yield from _drive_shots(entry.drive, entry.every, size)
        elif entry.video is not None:
            yield from _video_shots(entry, size, teacher)


def alter(shot: Shot, rng: np.random.Generator, shift: float = 0.08) -> Shot:
    """Another look at the same: moved, scaled, other light, and what is cut off is gone."""
    height, width, _ = shot.image.shape
    scale = np.exp(rng.uniform(-0.22, 0.22))
    offset = np.array([width, height]) * ((1 - scale) / 2 + rng.uniform(-shift, shift, 2))
    move = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    moved: Any = cv2.warpAffine(
        shot.image, move, (width, height), borderValue=(LETTERBOX_FILL,) * 3
    )
    light = moved * (rng.uniform(0.9, 1.1) * rng.uniform(0.97, 1.03, 3)) + rng.uniform(-8, 8)
    noisy = light + rng.normal(0, rng.uniform(0, 5), light.shape)
    whole = shot.xyxy * scale + np.tile(offset, 2)
    seen = np.clip(whole, 0, [width, height] * 2).astype(np.float32)
    share = _area(seen) / np.maximum(_area(whole), 1e-6)
    image = np.clip(noisy, 0, 255).astype(np.uint8)
    return _keep(replace(shot, image=image, xyxy=seen), share >= MIN_VISIBLE)


def _keep(shot: Shot, rows: NDArray[np.bool_]) -> Shot:
    """Those of the rows that are large enough to know again."""
    rows = rows & ((shot.xyxy[:, 2:] - shot.xyxy[:, :2]).min(1, initial=1e9) >= MIN_SIDE_PX)
    things = tuple(thing for thing, used in zip(shot.things, rows, strict=True) if used)
    return replace(shot, xyxy=shot.xyxy[rows], things=things)


def _area(xyxy: NDArray[Any]) -> NDArray[Any]:
    area: NDArray[Any] = (xyxy[:, 2:] - xyxy[:, :2]).prod(1)
    return area


def _coco_shots(entry: SceneConfig, size: tuple[int, int]) -> Iterator[Shot]:
    pictures = load_pictures([entry])
    step = max(1, -(-len(pictures) // entry.most))
    for index, picture in enumerate(pictures[::step]):
        place = (str(entry.coco), index)
        image, scale = _letterbox(picture, size)
        things = tuple((place, row) for row in range(len(picture.xyxy)))
        shot = Shot(image, picture.xyxy * scale, things, place, 0.0, place)
        yield _keep(shot, picture.class_id >= 0)


def _letterbox(picture: Picture, size: tuple[int, int]) -> tuple[NDArray[np.uint8], float]:
    height, width, _ = picture.image.shape
    box = LetterBox(width, height, *size)
    image = np.full((size[1], size[0], 3), LETTERBOX_FILL, np.uint8)
    w, h = box.content_size
    image[:h, :w] = cv2.resize(picture.image, (w, h), interpolation=cv2.INTER_AREA)
    return image, w / width


def _drive_shots(folder: Path, every: int, size: tuple[int, int]) -> Iterator[Shot]:
    """Drives rendered from one seed are one town, whatever the weather."""
    labels = read_labels(folder / "labels.json")
    scene = json.loads((folder / "labels.json").read_text(encoding="utf-8")).get("scene", {})
    town = scene.get("seed", str(folder))
    drive = Drive(folder)
    for camera in labels.cameras:
        for frame in _frames(drive.video_path(camera), size, every):
            rows = labels.frames.get((camera, frame.index))
            if rows is not None:
                scale = np.tile(1 / np.array(frame.letterbox.to_source_scale), 2)
                shot = Shot(
                    frame.image,
                    (rows.xyxy * scale).astype(np.float32),
                    tuple((str(folder), int(track)) for track in rows.track_id),
                    (town, camera),
                    float(frame.pts * frame.time_base),
                    (str(folder), camera),
                )
                yield _keep(shot, ~rows.is_ignored & (rows.track_id >= 0))


def _video_shots(entry: SceneConfig, size: tuple[int, int], teacher: Path) -> Iterator[Shot]:
    assert entry.video is not None
    detector, tracker = OnnxDetector(DetectorConfig(onnx=teacher)), Tracker(TrackerConfig())
    name = str(entry.video)
    for frame in _frames(entry.video, size, entry.every):
        t_s = float(frame.pts * frame.time_base)
        found = tracker.update(_look(detector, frame), round(t_s * 1e9))
        tracked: Detections = found[found.track_id >= 0]
        things = tuple((name, int(track)) for track in tracked.track_id)
        place_s = 0.0 if entry.is_static else t_s
        shot = Shot(frame.image, tracked.xyxy, things, name, place_s, name)
        yield _keep(shot, np.ones(len(tracked), bool))


def _look(detector: OnnxDetector, frame: Frame) -> Detections:
    return detector.detect(torch.from_numpy(frame.image)[None], Features({}, torch.empty(1, 0)))[0]


def _frames(path: Path, size: tuple[int, int], every: int) -> Iterator[Frame]:
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such video; check `data` and STREAMVIS_TRAIN_DATA")
    video = VideoSource(path, "", size)
    while video.grab() is not None:
        frame = video.retrieve(t_ingest_ns=0)
        if frame is not None and frame.index % every == 0:
            yield frame
    video.close()


def number(keys: Sequence[Hashable]) -> NDArray[np.int64]:
    """Equal keys get equal numbers, from 0 in order of appearance."""
    numbers: defaultdict[Hashable, int] = defaultdict(lambda: len(numbers))
    return np.array([numbers[key] for key in keys], np.int64)
