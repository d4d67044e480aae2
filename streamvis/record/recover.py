"""Finish what a crash or a bad disk left of a recording's file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns

from mcap.records import Attachment, Channel, McapRecord, Message, Metadata, Schema

from streamvis.errors import OutputError, SourceError
from streamvis.record.channels import ChannelKind, Entry
from streamvis.record.mcap_file import RECOVERED, UNFINISHED, McapFile
from streamvis.record.segment import Segment
from streamvis.render.output_file import output_error


@dataclass(frozen=True)
class Recovered:
    path: Path
    num_messages: int  # of all channels, those for viewers too
    num_bytes: int
    damage: str | None  # what was lost; None if the file was whole


def recover(path: Path, out: Path | None = None, *, replace: bool = False) -> Recovered:
    """Write all that can be read of `path` to `out`, indexed; `path` stays as it is.

    Raises SourceError if `path` is no MCAP file, OutputError if `out` exists or cannot be written.
    """
    if path.is_dir():
        parts = ", ".join(sorted(part.name for part in path.glob(f"*{UNFINISHED}")))
        raise SourceError(
            f"{path} is a folder; name the file in it that is to be mended"
            + (f": {parts}" if parts else ", if one is damaged"),
            "not_found",
        )
    source = McapFile(path)
    out = recovered_path(path) if out is None else out
    if out.resolve() == path.resolve():
        raise OutputError(f"{out} is the file to read. Name another one with -o.")
    if out.exists() and not replace:
        raise OutputError(f"{out} exists already. Name another file with -o, or pass --force.")
    try:
        return _copy(source, out)
    except OSError as error:
        raise output_error(out, error) from error


def recovered_path(path: Path) -> Path:
    """0002.mcap.part and 0002.mcap become 0002.recovered.mcap."""
    name = path.name.removesuffix(UNFINISHED).removesuffix(".mcap")
    return path.with_name(name + RECOVERED)


def _copy(source: McapFile, out: Path) -> Recovered:
    out.parent.mkdir(parents=True, exist_ok=True)
    segment = Segment(out)
    try:
        copier = _Copier(segment)
        for record in source:
            copier.see(record)
        segment.finish()
    except BaseException:
        segment.discard()
        raise
    return Recovered(out, segment.num_safe, segment.size, source.damage)


class _Copier:
    """Writes records again, as they come."""

    def __init__(self, segment: Segment, now_ns: Callable[[], int] = monotonic_ns) -> None:
        self._segment = segment
        self._now_ns = now_ns
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, tuple[str, ChannelKind]] = {}

    def see(self, record: McapRecord) -> None:
        match record:
            case Metadata():
                self._segment.about(record.name, record.metadata)
            case Attachment():
                self._segment.attach(record.name, record.media_type, record.data, record.log_time)
            case Schema():
                self._schemas[record.id] = record
            case Channel():
                self._channels[record.id] = (record.topic, self._kind_of(record))
            case Message():
                self._segment.add([self._entry(record)], self._now_ns())

    def _kind_of(self, channel: Channel) -> ChannelKind:
        schema = self._schemas.get(channel.schema_id)
        if schema is None:
            return ChannelKind("", "", b"", channel.message_encoding)
        return ChannelKind(schema.name, schema.encoding, schema.data, channel.message_encoding)

    def _entry(self, message: Message) -> Entry:
        topic, kind = self._channels[message.channel_id]
        return Entry(
            topic, kind, message.log_time, message.publish_time, message.sequence, message.data
        )
