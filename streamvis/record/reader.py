"""Recordings, read: the messages as they were published, whatever state the files are in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcap.reader import SeekingReader
from mcap.records import Attachment, Channel, McapRecord, Message, Metadata, Schema
from mcap.summary import Summary

from streamvis import wire
from streamvis.errors import SourceError, VersionError, WireError
from streamvis.record.mcap_file import BROKEN, RECOVERED, UNFINISHED, McapFile
from streamvis.types import AccessUnit, ModelId
from streamvis.wire import InfoMessage, PlanMessage, VidMessage

METADATA = "streamvis"  # name of the metadata record; the newest one in a file counts
CONFIG = "pipeline.json"  # name of the attachment
ENCODING, SCHEMA_ENCODING = "msgpack", "jsonschema"
_OURS = re.compile(r"sv\d+/")


@dataclass(frozen=True)
class Recorded:
    """One message of a recording."""

    kind: str
    camera: str
    log_time_ns: int  # the world's time of the frame, Unix epoch
    publish_time_ns: int  # Unix time of receipt
    parts: list[bytes]  # as published


@dataclass
class _Survey:
    """What one file says about itself."""

    channels: dict[int, Channel] = field(default_factory=dict)
    schemas: dict[int, Schema] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] | None = None
    info: InfoMessage | None = None
    damage: str | None = None

    def see(self, record: McapRecord) -> None:
        match record:
            case Schema():
                self.schemas[record.id] = record
            case Channel():
                self.channels[record.id] = record
            case Metadata() if record.name == METADATA:
                self.metadata = dict(record.metadata)
            case Attachment() if record.name == CONFIG:
                self.config = _read_object(record.data)
            case Message() if _kind(self.channels[record.channel_id].topic) == "info":
                message = wire.decode(wire.split(record.data))
                assert isinstance(message, InfoMessage)
                self.info = message


class Recording:
    """A folder of segments, or one file of it."""

    def __init__(self, files: list[McapFile]) -> None:
        self._files = files
        self._surveys = [_survey(file) for file in files]
        for file, survey in zip(files, self._surveys, strict=True):
            _check_channels(file.path, survey)
        self._check_is_one_run()
        self._damage = {s.damage: None for s in self._surveys if s.damage}

    @classmethod
    def open(cls, path: Path) -> Recording:
        """Raises SourceError if nothing of it can be read, VersionError if another major version
        of the wire protocol recorded it. What is damaged in part is opened: see `damage`."""
        if not path.is_dir():
            return cls([McapFile(path)])
        paths = _segments(path)
        if not paths:
            raise SourceError(
                f"{path} holds no recording (*.mcap). Name the folder of one run.", "not_found"
            )
        return cls([McapFile(p) for p in paths])

    @property
    def paths(self) -> tuple[Path, ...]:
        """The segments, in order."""
        return tuple(file.path for file in self._files)

    @property
    def damage(self) -> str | None:
        """What could not be read, as far as is known by now; None if everything could."""
        return "; ".join(self._damage) or None

    @property
    def metadata(self) -> dict[str, str]:
        """Of the newest segment that has any: version, pipeline, epochs, flags of the cameras."""
        return next((s.metadata for s in reversed(self._surveys) if s.metadata), {})

    @property
    def info(self) -> InfoMessage | None:
        """The newest."""
        return next((s.info for s in reversed(self._surveys) if s.info), None)

    @property
    def config(self) -> dict[str, Any] | None:
        """The resolved pipeline file."""
        attached = next((s.config for s in reversed(self._surveys) if s.config), None)
        if attached is None and self.info is not None:
            return dict(json.loads(self.info.config))
        return attached

    @property
    def model(self) -> ModelId | None:
        return self.info.model if self.info else None

    @property
    def cameras(self) -> tuple[str, ...]:
        """All that have a message of their own, sorted."""
        names = {camera for _, camera in self._topics()}
        return tuple(sorted(names - {wire.ALL_CAMERAS}))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Those that were recorded, in the order of wire.KINDS."""
        recorded = {kind for kind, _ in self._topics()}
        return tuple(kind for kind in wire.KINDS if kind in recorded)

    def messages(
        self, kinds: Iterable[str] | None = None, cameras: Iterable[str] | None = None
    ) -> Iterator[Recorded]:
        """In file order, segment after segment, a chunk in memory at a time; all if None.

        A damaged file gives what comes before the damage, and `damage` says so. Raises WireError
        for a message that is none.
        """
        wanted_kinds = set(wire.KINDS if kinds is None else kinds)
        wanted_cameras = None if cameras is None else set(cameras)
        for file in self._files:
            yield from _messages(file, wanted_kinds, wanted_cameras)
            if file.damage:
                self._damage[file.damage] = None

    def units(self, camera: str) -> Iterator[AccessUnit]:
        """The camera's bitstream, in decode order."""
        for message in self._decoded("vid", camera):
            assert isinstance(message, VidMessage)
            yield message.unit

    def plans(self, camera: str | None = None) -> Iterator[PlanMessage]:
        """Of one camera, or of all in the order they were published."""
        for message in self._decoded("plan", camera):
            assert isinstance(message, PlanMessage)
            yield message

    def _decoded(self, kind: str, camera: str | None) -> Iterator[wire.AnyMessage]:
        if camera is not None and camera not in self.cameras:
            raise ValueError(f"{camera!r} is not in the recording: {', '.join(self.cameras)}")
        for recorded in self.messages([kind], None if camera is None else [camera]):
            yield wire.decode(recorded.parts)

    def _topics(self) -> Iterator[tuple[str, str]]:
        """(kind, camera)"""
        for survey in self._surveys:
            for channel in survey.channels.values():
                if _OURS.match(channel.topic):
                    kind, _, camera = wire.split_topic(channel.topic)
                    yield kind, camera

    def _check_is_one_run(self) -> None:
        runs = {s.metadata["recording"] for s in self._surveys if "recording" in s.metadata}
        if len(runs) > 1:
            raise SourceError(
                f"{self._files[0].path.parent} mixes the segments of {len(runs)} recordings. "
                f"Put each into a folder of its own, or name one file.",
                "corrupt",
            )


def _segments(folder: Path) -> list[Path]:
    """In order; where a recovered file is there, it stands for the one it was made from."""
    by_stem: dict[str, Path] = {}
    for ending in (f".mcap{UNFINISHED}", ".mcap", RECOVERED):  # later ones are better
        for path in folder.glob(f"*{ending}"):
            by_stem[path.name.split(".mcap")[0].removesuffix(".recovered")] = path
    return [by_stem[stem] for stem in sorted(by_stem)]


def _survey(file: McapFile) -> _Survey:
    summary = file.summary()
    if summary is not None:
        try:
            return _survey_by_index(file, summary)
        except BROKEN:
            pass  # the index is wrong: go through the file
    survey = _Survey()
    try:
        for record in file:
            survey.see(record)
    except BROKEN as error:
        file.damage = f"{file.path.name} is damaged ({error})"
    survey.damage = file.damage
    return survey


def _survey_by_index(file: McapFile, summary: Summary) -> _Survey:
    survey = _Survey(dict(summary.channels), dict(summary.schemas))
    info = [c.topic for c in summary.channels.values() if _kind(c.topic) == "info"]
    with file.path.open("rb") as stream:
        reader = SeekingReader(stream, validate_crcs=True)
        for metadata in reader.iter_metadata():
            survey.see(metadata)
        for attachment in reader.iter_attachments():
            survey.see(attachment)
        if info:
            for _, _, message in reader.iter_messages(info, log_time_order=False):
                survey.see(message)
    return survey


def _check_channels(path: Path, survey: _Survey) -> None:
    """Of a recording that streamvis made, and can still read."""
    ours = [c for c in survey.channels.values() if _OURS.match(c.topic)]
    if not ours:
        lost = f" ({survey.damage})" if survey.damage else ""
        if survey.metadata.get("recording"):
            return  # a segment that broke off, or ended, before its first message
        raise SourceError(
            f"{path} holds no messages of streamvis{lost}. Name a recording that it made.",
            "corrupt",
        )
    for channel in ours:
        try:
            wire.split_topic(channel.topic)
        except VersionError as error:
            raise VersionError(f"{path}: {error}. Read it with that version.") from None
        except WireError as error:
            raise SourceError(f"{path}: {error}. Record it again.", "corrupt") from None
        schema = survey.schemas.get(channel.schema_id)
        encoding = schema.encoding if schema else "no schema"
        if (channel.message_encoding, encoding) != (ENCODING, SCHEMA_ENCODING):
            raise SourceError(
                f"{path}: {channel.topic} is {channel.message_encoding or 'raw'} with "
                f"{encoding}, not {ENCODING} with {SCHEMA_ENCODING}. Record it again.",
                "corrupt",
            )


def _messages(file: McapFile, kinds: set[str], cameras: set[str] | None) -> Iterator[Recorded]:
    wanted: dict[int, tuple[str, str]] = {}
    for record in file:
        if isinstance(record, Channel) and _OURS.match(record.topic):
            kind, _, camera = wire.split_topic(record.topic)
            if kind in kinds and (cameras is None or camera in cameras):
                wanted[record.id] = (kind, camera)
        elif isinstance(record, Message) and record.channel_id in wanted:
            kind, camera = wanted[record.channel_id]
            parts = wire.split(record.data)
            yield Recorded(kind, camera, record.log_time, record.publish_time, parts)


def _read_object(data: bytes) -> dict[str, Any]:
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError(f"{CONFIG} holds no object")
    return value


def _kind(topic: str) -> str | None:
    return topic.split("/")[1] if _OURS.match(topic) else None
