"""One MCAP file as a stream of records, however it ends."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from mcap.exceptions import InvalidMagic, McapError
from mcap.reader import SeekingReader
from mcap.records import McapRecord
from mcap.stream_reader import StreamReader
from mcap.summary import Summary
from zstandard import ZstdError

from streamvis.errors import SourceError

MAGIC = b"\x89MCAP0\r\n"
UNFINISHED = ".part"  # ends the name of a file that is being written
RECOVERED = ".recovered.mcap"  # ends the name of a file that stands for a damaged one
_MAX_RECORD_BYTES = 1 << 28  # four times the largest message: more is damage, not data
_Bytes: TypeAlias = tuple[type[Exception], ...]

# What the mcap package raises when bytes are not what they should be.
BROKEN: _Bytes = (
    McapError,
    ZstdError,
    struct.error,
    ValueError,
    KeyError,
    MemoryError,
    RecursionError,
)


class McapFile:
    """Iterate over the records in file order. `damage` tells, afterwards, why it ended early."""

    def __init__(self, path: Path) -> None:
        """Raises SourceError if there is no such file, or if it is not an MCAP file."""
        self.path = path
        self.damage: str | None = None
        try:
            with path.open("rb") as file:
                magic = file.read(len(MAGIC))
        except OSError as error:
            raise SourceError(
                f"{path} cannot be read ({error.strerror}). Check the path.", "not_found"
            ) from None
        if magic != MAGIC:
            raise SourceError(
                f"{path} is not an MCAP file. Name a recording that streamvis made.", "corrupt"
            )

    @property
    def is_finished(self) -> bool:
        """Its end was written: there is a summary to seek by."""
        with self.path.open("rb") as file:
            file.seek(-len(MAGIC), 2)
            return file.tell() > 0 and file.read() == MAGIC

    def __iter__(self) -> Iterator[McapRecord]:
        self.damage = None
        with self.path.open("rb") as file:
            reader = StreamReader(file, validate_crcs=True, record_size_limit=_MAX_RECORD_BYTES)
            try:
                yield from reader.records
            except BROKEN as error:
                self.damage = self._describe(error, file.tell())

    def summary(self) -> Summary | None:
        """Channels, counts and indexes from the file's end; None if it has none."""
        if not self.is_finished:
            return None
        try:
            with self.path.open("rb") as file:
                return SeekingReader(file, record_size_limit=_MAX_RECORD_BYTES).get_summary()
        except BROKEN:
            return None

    def _describe(self, error: Exception, offset: int) -> str:
        size = self.path.stat().st_size
        if not self.is_finished and offset >= size:
            return (
                f"{self.path.name} was not finished: it ends after {size} bytes, and what was not "
                "on the disk by then is lost (a second or less, if its writer was killed)"
            )
        name = "bad magic" if isinstance(error, InvalidMagic) else type(error).__name__
        where = f"near byte {offset} of {size} ({name})"
        return f"{self.path.name} is damaged {where}: what comes behind it is lost"
