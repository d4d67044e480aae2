"""Deletes old segments: only those that a recording of this pipeline finished."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from mcap.records import Header, Metadata

from streamvis.record.config import RecordConfig
from streamvis.record.mcap_file import McapFile
from streamvis.record.reader import METADATA

FreeBytes = Callable[[Path], int]

_SEGMENT = re.compile(r"\d{4,}(\.recovered)?\.mcap")
_STAMP = r"_\d{8}T\d{6}Z(_\d+)?"  # of a run's folder
_MAX_HEAD_RECORDS = 8  # the metadata comes right behind the header


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


class Retention:
    """`tidy` as often as you like; the disk's free space is asked for, the time is given."""

    def __init__(
        self, config: RecordConfig, pipeline: str, measure_free: FreeBytes = free_bytes
    ) -> None:
        self._config = config
        self._pipeline = pipeline
        self._folder = re.compile(re.escape(pipeline) + _STAMP)
        self._free = measure_free
        self._ours: dict[Path, bool] = {}  # files that were looked into

    def tidy(self, now_ns: int) -> bool:
        """Delete what is too old, then the oldest while space lacks. False if it still lacks.

        `now_ns` is Unix time. The age of a segment counts from its last change.
        """
        segments = self._segments()
        while segments and self._is_old(segments[0][0], now_ns):
            self._delete(segments.pop(0)[1])
        while self._lacks_space() and segments:
            self._delete(segments.pop(0)[1])
        return not self._lacks_space()

    def _is_old(self, ended_ns: int, now_ns: int) -> bool:
        return self._config.keep is not None and now_ns - ended_ns > self._config.keep

    def _lacks_space(self) -> bool:
        return self._free(self._config.dir) < self._config.min_free

    def _segments(self) -> list[tuple[int, Path]]:
        """(end in Unix ns, path) of all finished segments of this pipeline, oldest first."""
        found = []
        for folder in self._config.dir.iterdir():
            if not self._folder.fullmatch(folder.name) or folder.is_symlink():
                continue
            for path in folder.glob("*.mcap"):
                if _SEGMENT.fullmatch(path.name) and self._is_ours(path):
                    found.append((path.stat().st_mtime_ns, path))
        return sorted(found)

    def _is_ours(self, path: Path) -> bool:
        if path not in self._ours:
            self._ours[path] = not path.is_symlink() and _pipeline_of(path) == self._pipeline
        return self._ours[path]

    def _delete(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        if not any(path.parent.iterdir()):
            path.parent.rmdir()


def _pipeline_of(path: Path) -> str | None:
    """Which pipeline a recording of streamvis was made of; None if it is none."""
    try:
        for number, record in enumerate(McapFile(path)):
            if isinstance(record, Header) and record.profile != METADATA:
                return None
            if isinstance(record, Metadata) and record.name == METADATA:
                return record.metadata.get("pipeline")
            if number >= _MAX_HEAD_RECORDS:
                return None
    except Exception:  # whatever it is, it is not ours to delete
        return None
    return None
