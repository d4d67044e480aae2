"""The pictures of a report: frames that went wrong, decoded again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing

import numpy as np

from streamvis.encode.config import NONE
from streamvis.eval.assemble import labels_for
from streamvis.eval.detection import MatchSettings, groups_of
from streamvis.eval.labels import DriveLabels
from streamvis.eval.probe import disturb
from streamvis.eval.report.pictures import FramePicture
from streamvis.eval.report.tiles import TileUse
from streamvis.eval.result import FrameKey
from streamvis.eval.rounds import Footage, RoundReader
from streamvis.eval.runner import RunRecord
from streamvis.eval.worst import worst_frames
from streamvis.types import Frame

PICTURES_PER_RUN = 4
_SHOWN_SCORE = 0.3  # weaker ones would take most of the time, and match what is left
_GROUPS = ("vehicle", "person")  # whose errors are shown: the first that is labelled

_Size = tuple[int, int]  # (width, height) px


def gather_pictures(
    footage: Footage, labels: DriveLabels, records: Sequence[RunRecord]
) -> list[FramePicture]:
    """The worst frames of every run, in the order of the runs. Raises SourceError."""
    scored = labels.only(records[0].log.keys)
    chosen = [_choose(record, scored) for record in records]
    wanted: dict[_Size, set[FrameKey]] = {}
    for record, frames in zip(records, chosen, strict=True):
        wanted.setdefault(_size(record), set()).update(key for key, _ in frames)
    films = {size: _Film(footage, size, keys) for size, keys in wanted.items()}
    return [
        _picture(record, scored, films[_size(record)].frame(record, key), why)
        for record, frames in zip(records, chosen, strict=True)
        for key, why in frames
    ]


def gather_tile_use(footage: Footage, records: Sequence[RunRecord]) -> list[TileUse]:
    """How every run with an encoder served each camera's tiles. Raises SourceError."""
    records = [record for record in records if record.run.config.encoder.name != NONE]
    log = records[0].log if records else None
    first = {} if log is None else {camera: (camera, i) for camera, i in reversed(log.keys)}
    films = {size: _Film(footage, size, first.values()) for size in map(_size, records)}
    return [
        _tile_use(record, camera, films[_size(record)].frame(record, first[camera]))
        for record in records
        for camera in footage.cameras
        if camera in first
    ]


def _tile_use(record: RunRecord, camera: str, frame: Frame) -> TileUse:
    rows = record.log.camera == camera
    width, height = frame.letterbox.content_size
    return TileUse(
        config=record.run.name,
        camera=camera,
        image=np.ascontiguousarray(frame.image[:height, :width]),
        media_s=record.log.media_ns[rows] / 1e9,
        tiles=record.log.tiles[rows],
    )


class _Film:
    """Some frames of the footage, at one input size."""

    def __init__(self, footage: Footage, size: _Size, keys: Collection[FrameKey]) -> None:
        self._frames: dict[FrameKey, Frame] = {}
        with closing(RoundReader(footage, size)) as reader:
            self._fps = reader.fps
            rounds = iter(reader)
            while len(self._frames) < len(keys):
                frames = [timed.frame for timed in next(rounds).frames]
                self._frames |= {_key(f): f for f in frames if _key(f) in keys}

    def frame(self, record: RunRecord, key: FrameKey) -> Frame:
        """As the run saw it."""
        plain, probe = self._frames[key], record.run.probe
        return disturb(probe, plain, self._fps[key[0]]) if probe else plain


def _choose(record: RunRecord, labels: DriveLabels) -> list[tuple[FrameKey, str]]:
    groups = groups_of(labels)
    group = next((name for name in (*_GROUPS, *groups) if name in groups), None)
    if group is None:
        return []
    own, sure = labels_for(record.run, labels), MatchSettings(score_floor=_SHOWN_SCORE)
    return worst_frames(own, record.log.found(), group, PICTURES_PER_RUN, settings=sure)


def _picture(record: RunRecord, labels: DriveLabels, frame: Frame, why: str) -> FramePicture:
    key = _key(frame)
    width, height = frame.letterbox.content_size
    detections = record.log.found()[key]
    return FramePicture(
        config=record.run.name,
        camera=frame.camera,
        frame_index=frame.index,
        image=np.ascontiguousarray(frame.image[:height, :width]),
        labels=labels_for(record.run, labels).frames[key],
        detections=detections[detections.score >= _SHOWN_SCORE],
        source_size=(frame.letterbox.source_width, frame.letterbox.source_height),
        tiles=record.log.tiles[record.log.keys.index(key)],
        why=why,
    )


def _key(frame: Frame) -> FrameKey:
    return frame.camera, frame.index


def _size(record: RunRecord) -> _Size:
    return record.run.config.encoder.input_size
