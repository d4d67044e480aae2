"""One MCAP file while it is written: in chunks that reach the kernel whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, cast

from mcap.writer import CompressionType, Writer

from streamvis import __version__
from streamvis.record.channels import ChannelKind, Entry
from streamvis.record.mcap_file import UNFINISHED

LIBRARY = f"streamvis {__version__}"
CHUNK_BYTES = 1 << 20
CHUNK_NS = 1_000_000_000  # a chunk is closed when its first message is so old
_ENTRY_BYTES = 31  # what MCAP puts before a message's data


class RawFile(Protocol):
    """What `open(path, "wb", buffering=0)` gives: `write` may take less than all."""

    def write(self, data: memoryview, /) -> int | None: ...
    def truncate(self, size: int, /) -> int: ...
    def close(self) -> None: ...


OpenFile = Callable[[Path], RawFile]


def open_unbuffered(path: Path) -> RawFile:
    return path.open("wb", buffering=0)


class _Sink:
    """Writes all or raises, and then leaves no half record behind."""

    def __init__(self, file: RawFile, on_full: Callable[[], bool]) -> None:
        self._file = file
        self._on_full = on_full
        self._size = 0
        self.is_broken = False  # a record is missing: the indexes would be wrong

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._write_some(rest) :]
        except OSError:
            self.is_broken = True
            with suppress(OSError):
                self._file.truncate(self._size)
            raise
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self._file.close()

    def _write_some(self, data: memoryview) -> int:
        try:
            return self._file.write(data) or 0
        except OSError as error:
            if error.errno == errno.ENOSPC and self._on_full():
                return 0  # try again
            raise


class Segment:
    """`add` groups of messages, then `finish`: only then the file has its final name."""

    def __init__(
        self,
        path: Path,
        *,
        open_file: OpenFile = open_unbuffered,
        on_full: Callable[[], bool] = lambda: False,
    ) -> None:
        """`on_full()` may make room on a full disk and say so, once. Raises OSError, as all do."""
        self.path = path
        self.part = path.with_name(path.name + UNFINISHED)
        self._sink = _Sink(open_file(self.part), on_full)
        # Any: of a stream the writer needs write, tell and flush, no more; and it is untyped
        self._writer: Any = Writer(cast(Any, self._sink), CHUNK_BYTES, CompressionType.ZSTD)
        self._writer.start(profile="streamvis", library=LIBRARY)
        self._schemas: dict[ChannelKind, int] = {}
        self._channels: dict[str, int] = {}
        self._chunk_bytes = 0
        self._chunk_began_ns = 0
        self._num_in_chunk = 0
        self._is_ended = False
        self.num_safe = 0  # groups in closed chunks

    @property
    def size(self) -> int:
        """Bytes in the file; the open chunk is not."""
        return self._sink.tell()

    def about(self, name: str, values: Mapping[str, str]) -> None:
        """A metadata record."""
        self._writer.add_metadata(name, dict(values))

    def attach(self, name: str, media_type: str, data: bytes, t_ns: int) -> None:
        self._writer.add_attachment(t_ns, t_ns, name, media_type, data)

    def add(self, group: Sequence[Entry], now_ns: int, *, is_repeat: bool = False) -> None:
        """All of a group go into one chunk: what they have in common is then stored once. A group
        that repeats what an earlier segment has is not counted."""
        num_bytes = sum(len(entry.data) + _ENTRY_BYTES for entry in group)
        if self._chunk_bytes and self._chunk_bytes + num_bytes > CHUNK_BYTES:
            self.flush()
        if not self._chunk_bytes:
            self._chunk_began_ns = now_ns
        self._chunk_bytes += num_bytes
        for entry in group:
            self._writer.add_message(
                self._channel(entry),
                log_time=entry.log_time_ns,
                publish_time=entry.publish_time_ns,
                sequence=entry.sequence % (1 << 32),
                data=entry.data,
            )
        self._num_in_chunk += not is_repeat
        self.flush_if_old(now_ns)

    def flush_if_old(self, now_ns: int) -> None:
        if self._chunk_bytes and now_ns - self._chunk_began_ns >= CHUNK_NS:
            self.flush()

    def flush(self) -> None:
        """Close the chunk: a crash of this process loses nothing of it any more."""
        self._chunk_bytes = 0
        self._writer.flush()
        self.num_safe += self._num_in_chunk
        self._num_in_chunk = 0

    def finish(self) -> None:
        """Write the indexes; the file appears under its name."""
        self._is_ended = True
        self.flush()
        self._writer.finish()
        self._sink.close()
        os.replace(self.part, self.path)

    def finish_or_abandon(self) -> None:
        """After an error: if it cannot be finished, it stays an unfinished file of whole chunks,
        which `streamvis rec recover` finishes."""
        try:
            if not self._sink.is_broken and not self._is_ended:
                self.finish()
        finally:
            self._sink.close()

    def discard(self) -> None:
        self._sink.close()
        self.part.unlink(missing_ok=True)

    def _channel(self, entry: Entry) -> int:
        number = self._channels.get(entry.topic)
        if number is None:
            kind = entry.channel
            if kind not in self._schemas:
                self._schemas[kind] = self._writer.register_schema(
                    kind.schema_name, kind.schema_encoding, kind.schema
                )
            number = self._writer.register_channel(entry.topic, kind.encoding, self._schemas[kind])
            self._channels[entry.topic] = number
        return number
