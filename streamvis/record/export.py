"""A recording as what other tools read: a drive folder, or COCO annotations."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av

from streamvis import wire
from streamvis.errors import OutputError, SourceError
from streamvis.record.reader import Recording
from streamvis.render.output_file import output_error
from streamvis.types import AccessUnit, CameraInfo
from streamvis.wire import DetMessage

ExportKind = Literal["coco", "drive"]
EXPORT_KINDS: tuple[ExportKind, ...] = ("coco", "drive")

_RAW_FORMATS = {"h264": "h264", "hevc": "hevc"}  # FFmpeg's codec -> its bare stream format
_MARKS = {"coco": "labels.json", "drive": "rig.json"}  # what tells that a folder may be replaced


@dataclass
class Exported:
    folder: Path
    left_out: list[str]  # sentences: what could not be taken over, and why
    frames: dict[str, int]  # pictures by camera; of coco, frames with a result


def export(recording: Recording, kind: ExportKind, out: Path, *, replace: bool = False) -> Exported:
    """Write `out`, which appears whole or not at all.

    Raises OutputError if it exists (unless `replace`) or cannot be written, SourceError if the
    recording has nothing to export.
    """
    _check_target(out, _MARKS[kind], replace)
    try:
        with _pending_folder(out) as work:
            done = (
                _export_drive(recording, work) if kind == "drive" else _write_coco(recording, work)
            )
    except OSError as error:  # PyAV's errors are OSErrors too
        raise output_error(out, error) from error
    if recording.damage:
        done.left_out.append(recording.damage)
    return Exported(out, done.left_out, done.frames)


# ---------------------------------------------------------------- drive


@dataclass
class _Video:
    """One camera's file, and which frames of the recording are in it."""

    indexes: list[int] = field(default_factory=list)
    capture_ns: list[int] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    time_base: Fraction = Fraction(1)
    pts: list[int] = field(default_factory=list)

    @property
    def position(self) -> dict[int, int]:
        """Frame index of the recording -> of the file."""
        return {index: position for position, index in enumerate(self.indexes)}

    @property
    def fps(self) -> float:
        span = (self.pts[-1] - self.pts[0]) * self.time_base if len(self.pts) > 1 else 0
        return round(float((len(self.pts) - 1) / span), 3) if span else 0.0


def _export_drive(recording: Recording, work: Path) -> Exported:
    """rig.json, an .mp4 for each camera, and detections.json: COCO results with frames' names."""
    left_out: list[str] = []
    videos: dict[str, _Video] = {}
    for camera in recording.cameras:
        video, reason = _remux(recording, camera, work / f"{camera}.mp4")
        if video:
            videos[camera] = video
        left_out += [f"{camera}: {reason}"] if reason else []
    if not videos:
        raise SourceError(
            f"{recording.paths[0].parent}: no camera's video can be exported "
            f"({'; '.join(left_out)}). Record one whose bitstream fits."
        )
    info = recording.info.cameras if recording.info else {}
    rig = {name: _rig_camera(name, video, info.get(name)) for name, video in videos.items()}
    _write_json(work / "rig.json", rig)
    coco = _coco(recording, {name: video.position for name, video in videos.items()})
    _write_json(work / "detections.json", list(_results(coco)))
    return Exported(work, left_out, {name: len(video.indexes) for name, video in videos.items()})


def _remux(recording: Recording, camera: str, path: Path) -> tuple[_Video | None, str | None]:
    """The camera's units in a container of their own, and why some or all are left out."""
    units = recording.units(camera)
    first = next((unit for unit in units if unit.is_key), None)
    if first is None:
        return None, "no key frame of it was recorded"
    if first.codec not in _RAW_FORMATS:
        return None, f"its codec, {first.codec}, does not go into an .mp4"
    if first.is_reordered:
        return None, "its stream has B-frames"
    video = _Video(size=first.size, time_base=first.time_base)
    skipped = first.index
    with _Mp4(path, first) as file:
        for unit in _decodable(first, units):
            if isinstance(unit, int):
                skipped += unit
                continue
            file.add(unit)
            video.indexes.append(unit.index)
            video.pts.append(unit.pts or 0)
            if unit.capture.source != "none":
                video.capture_ns.append(unit.capture.t_ns)
    reason = f"{skipped} frames before a key frame, or in a gap, are left out" if skipped else None
    return video, reason


def _decodable(first: AccessUnit, rest: Iterator[AccessUnit]) -> Iterator[AccessUnit | int]:
    """Units whose references are there; for the others their number."""
    yield first
    expected, is_broken = first.index + 1, False
    for unit in rest:
        if unit.index != expected or unit.size != first.size:
            is_broken = True
            yield max(0, unit.index - expected)  # a restarted camera counts from 0 again
        is_broken = is_broken and not (unit.is_key and unit.size == first.size)
        yield 1 if is_broken else unit
        expected = unit.index + 1


class _Mp4:
    """Writes access units as they are; Annex-B becomes what the container wants."""

    def __init__(self, path: Path, first: AccessUnit) -> None:
        bare = io.BytesIO(first.data)  # the muxer needs the codec's parameters, which are in there
        with av.open(bare, format=_RAW_FORMATS[first.codec]) as source:
            self._file = av.open(str(path), "w", format="mp4")
            self._stream = self._file.add_stream_from_template(source.streams.video[0])
        self._stream.time_base = first.time_base
        self._shift = first.pts or 0
        self._last: int | None = None

    def __enter__(self) -> _Mp4:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def add(self, unit: AccessUnit) -> None:
        packet = av.Packet(unit.data)
        pts = (unit.pts or 0) - self._shift
        if self._last is not None:
            pts = max(pts, self._last + 1)  # a container's time cannot stand still
        self._last = pts
        packet.pts = packet.dts = pts
        packet.time_base = unit.time_base
        packet.is_keyframe = unit.is_key
        packet.stream = self._stream
        self._file.mux(packet)


def _rig_camera(name: str, video: _Video, info: CameraInfo | None) -> dict[str, Any]:
    width, height = video.size
    about: dict[str, Any] = {"file": f"{name}.mp4", "width": width, "height": height}
    about["fps"] = info.fps if info and info.fps else video.fps
    if info and info.intrinsics:
        about["intrinsics"] = dict(vars(info.intrinsics))
    if len(video.capture_ns) == len(video.indexes):
        about["capture_ns"] = video.capture_ns
    return about


def _results(coco: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """COCO's form of detections; camera and frame_index say which image is meant."""
    images = {image["id"]: image for image in coco["images"]}
    for found in coco["annotations"]:
        image = images[found["image_id"]]
        yield {
            "image_id": found["image_id"],
            "camera": image["camera"],
            "frame_index": image["frame_index"],
            **{key: found[key] for key in ("category_id", "bbox", "score", "track_id")},
        }


# ---------------------------------------------------------------- COCO


def _write_coco(recording: Recording, work: Path) -> Exported:
    """labels.json in the form of a drive's, made of what the pipeline saw."""
    coco = _coco(recording)
    if not coco["images"]:
        raise SourceError(
            f"{recording.paths[0].parent} has no detections to export. Record `det` messages."
        )
    _write_json(work / "labels.json", coco)
    frames: dict[str, int] = dict.fromkeys(recording.cameras, 0)
    for image in coco["images"]:
        frames[image["camera"]] += 1
    return Exported(work, [], frames)


def _coco(
    recording: Recording, positions: dict[str, dict[int, int]] | None = None
) -> dict[str, Any]:
    """`positions` says which frame of an exported file is which of the recording; frames that are
    in no file are left out."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    classes: tuple[str, ...] = ()
    for message in _detections(recording):
        of_camera = None if positions is None else positions.get(message.camera, {})
        index = message.frame_index if of_camera is None else of_camera.get(message.frame_index)
        if index is None:
            continue
        classes = message.model.classes
        images.append(_image(message, len(images) + 1, index))
        annotations.extend(_annotations(message, len(images), len(annotations)))
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(classes)]
    return {"categories": categories, "images": images, "annotations": annotations}


def _detections(recording: Recording) -> Iterator[DetMessage]:
    for recorded in recording.messages(["det"]):
        message = wire.decode(recorded.parts)
        assert isinstance(message, DetMessage)
        yield message


def _image(message: DetMessage, number: int, index: int) -> dict[str, Any]:
    width, height = message.source_size
    about = {"id": number, "camera": message.camera, "frame_index": index}
    if message.capture.source != "none":
        about["capture_ns"] = message.capture.t_ns
    return {**about, "width": width, "height": height}


def _annotations(message: DetMessage, image_id: int, count: int) -> Iterator[dict[str, Any]]:
    found = message.detections
    rows = zip(found.xyxy, found.score, found.class_id, found.track_id, strict=True)
    for number, (box, score, class_id, track_id) in enumerate(rows, count + 1):
        x0, y0, x1, y1 = (round(float(value), 3) for value in box)
        width, height = round(x1 - x0, 3), round(y1 - y0, 3)
        yield {
            "id": number,
            "image_id": image_id,
            "category_id": int(class_id) + 1,
            "bbox": [x0, y0, width, height],
            "area": round(width * height, 3),
            "iscrowd": 0,
            "score": round(float(score), 6),
            "track_id": int(track_id),
        }


# ---------------------------------------------------------------- files


def _check_target(folder: Path, mark: str, replace: bool) -> None:
    if not folder.exists():
        return
    if not replace:
        raise OutputError(f"{folder} exists already. Choose another folder, or pass --force.")
    if not (folder / mark).is_file():
        raise OutputError(f"{folder} has no {mark}, so it is not replaced. Choose another folder.")


@contextmanager
def _pending_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place if all went well."""
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield work
        work.chmod(0o755)  # mkdtemp keeps others out
        if out.exists():
            shutil.rmtree(out)
        work.rename(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n")
