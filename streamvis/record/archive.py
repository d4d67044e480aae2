"""The folder of one recording: segments, each of which stands alone."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from streamvis import wire
from streamvis.errors import OutputError
from streamvis.record.about import About
from streamvis.record.channels import (
    Entry,
    boxes_entry,
    calibration_entry,
    video_entry,
    why_no_video,
    wire_channel,
)
from streamvis.record.config import RecordConfig
from streamvis.record.reader import CONFIG, METADATA
from streamvis.record.retention import FreeBytes, Retention, free_bytes
from streamvis.record.segment import OpenFile, Segment, open_unbuffered
from streamvis.record.world_time import WorldTime
from streamvis.render.output_file import output_error
from streamvis.wire import DetMessage, Observed, Parts, VidMessage

_TIDY_NS = 5_000_000_000
_RESERVE_BYTES = 2 << 20  # for the end of a segment when the disk is full: a chunk and the indexes
_MAX_EARLY = 256  # messages that wait for the first frame's time


class Archive:
    """Write messages, then close. Not thread-safe. Times are Unix ns and given by the caller.

    Raises OutputError when it can write no more; what was written until then is finished if the
    disk allows it, and an unfinished `.part` file otherwise.
    """

    def __init__(
        self,
        config: RecordConfig,
        pipeline: str,
        now_ns: int,
        *,
        open_file: OpenFile = open_unbuffered,
        measure_free: FreeBytes = free_bytes,
    ) -> None:
        """Makes the folder, so that a place that cannot be written to is found at once."""
        self.num_repeats = 0  # of the info, which is written only when it changed
        self._config = config
        self._open_file = open_file
        self._about = About(pipeline)
        self._time = WorldTime()
        self._early: list[tuple[Observed, Parts, int]] = []
        self._segment: Segment | None = None
        self._segment_began_ns = 0
        self._num_segments = 0
        self._finished_bytes = 0
        self._finished_messages = 0
        self._is_full = False
        self._is_over = False
        with _as_output_error(config.dir):
            config.dir.mkdir(parents=True, exist_ok=True)
            self.path = _make_folder(config.dir, pipeline, now_ns)
        self._reserve: IO[bytes] | None = None
        self._retention = Retention(config, pipeline, measure_free)
        self._tidied_ns = now_ns
        self._tidy(now_ns)
        self._guard(self._take_reserve)

    @property
    def num_bytes(self) -> int:
        """On the disk."""
        return self._finished_bytes + (self._segment.size if self._segment else 0)

    @property
    def has_video(self) -> bool:
        """At least one camera's bitstream is among the messages."""
        return self._about.has_units

    @property
    def num_messages(self) -> int:
        """In closed chunks: safe, whatever happens to this process."""
        return self._finished_messages + (self._segment.num_safe if self._segment else 0)

    def write(self, seen: Observed, parts: Parts, receipt_ns: int) -> None:
        assert not self._is_over, "the archive is closed"
        t_ns = self._time.of(seen, receipt_ns)
        if t_ns is None and len(self._early) < _MAX_EARLY:
            self._early.append((seen, parts, receipt_ns))
            return
        self._guard(lambda: self._write_all(seen, parts, t_ns or receipt_ns, receipt_ns))

    def tick(self, now_ns: int) -> None:
        """While nothing comes: the open chunk must not grow old, nor the disk full."""
        if self._segment:
            segment = self._segment
            self._guard(lambda: segment.flush_if_old(now_ns))
        if now_ns - self._tidied_ns >= _TIDY_NS:
            self._tidy(now_ns)

    def close(self) -> None:
        """Finish the last segment; what never got a time gets that of its receipt."""
        if not self._is_over:
            self._guard(self._write_early)
            self._guard(self._finish_segment, is_end=True)
            self._over()

    # ------------------------------------------------------------ messages

    def _write_all(self, seen: Observed, parts: Parts, t_ns: int, receipt_ns: int) -> None:
        self._write_early()
        self._write_one(seen, parts, t_ns, receipt_ns)
        self.tick(receipt_ns)

    def _write_early(self) -> None:
        early, self._early = self._early, []
        for seen, parts, receipt_ns in early:
            self._write_one(seen, parts, self._time.of(seen, receipt_ns) or receipt_ns, receipt_ns)

    def _write_one(self, seen: Observed, parts: Parts, t_ns: int, receipt_ns: int) -> None:
        is_news = self._about.see(seen)
        if seen.kind == "info":
            self._write_info(parts, t_ns, receipt_ns)
            return
        message = wire.decode(parts) if seen.kind in ("det", "vid") else None
        if isinstance(message, VidMessage):
            is_news |= self._about.see_unit(seen.camera, message.unit)
        segment = self._open(t_ns, receipt_ns)
        if is_news:
            segment.about(METADATA, self._about.metadata)
        group = [_wire_entry(seen, parts, t_ns, receipt_ns)]
        if isinstance(message, VidMessage) and why_no_video(message.unit) is None:
            group.append(video_entry(seen.camera, message.unit, t_ns, receipt_ns))
        elif isinstance(message, DetMessage):
            group.append(boxes_entry(message, t_ns, receipt_ns))
        segment.add(group, receipt_ns)

    def _write_info(self, parts: Parts, t_ns: int, receipt_ns: int) -> None:
        """Only what is new: the pipeline repeats it every second."""
        if not self._about.see_info(parts):
            self.num_repeats += 1
        elif self._segment is None:
            self._open(t_ns, receipt_ns, is_repeat=False)
        else:
            self._write_head(self._open(t_ns, receipt_ns), t_ns, receipt_ns, is_repeat=False)

    # ------------------------------------------------------------ segments

    def _open(self, t_ns: int, now_ns: int, *, is_repeat: bool = True) -> Segment:
        """The segment that is to be written to now."""
        if self._segment and now_ns - self._segment_began_ns >= self._config.segment:
            self._finish_segment()
            self._tidy(now_ns)
        if self._segment is None:
            path = self.path / f"{self._num_segments:04d}.mcap"
            self._segment = Segment(path, open_file=self._open_file, on_full=self._make_room)
            self._segment_began_ns = now_ns
            self._num_segments += 1
            self._segment.about(METADATA, self._about.metadata)
            self._write_head(self._segment, t_ns, now_ns, is_repeat=is_repeat)
        return self._segment

    def _write_head(self, segment: Segment, t_ns: int, now_ns: int, *, is_repeat: bool) -> None:
        """What a reader needs to know beforehand, as far as it is known."""
        info = self._about.info
        if info is None:
            return
        segment.about(METADATA, self._about.metadata)
        segment.attach(CONFIG, "application/json", info.config.encode(), t_ns)
        parts = self._about.info_parts
        group = [_wire_entry(wire.peek(parts), parts, t_ns, now_ns)]
        for camera, about in info.cameras.items():
            calibration = calibration_entry(camera, about, t_ns, now_ns)
            if calibration:
                group.append(calibration)
        segment.add(group, now_ns, is_repeat=is_repeat)

    def _finish_segment(self) -> None:
        if self._segment:
            self._segment.finish()
            self._close_books(self._segment)
            self._segment = None

    # ------------------------------------------------------------ the disk

    def _tidy(self, now_ns: int) -> None:
        self._tidied_ns = now_ns
        with _as_output_error(self._config.dir):
            is_enough = self._retention.tidy(now_ns)
        if not is_enough:
            self._give_up()
            raise OutputError(
                f"recording stopped: less than {self._config.min_free / 1e9:.1f} GB are free in "
                f"{self._config.dir}. Free some space, or lower min_free."
            )

    def _guard(self, act: Callable[[], None], *, is_end: bool = False) -> None:
        try:
            with _as_output_error(self._segment.part if self._segment else self.path):
                act()
                if self._is_full and not self._is_over and not is_end:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OutputError:
            self._give_up()
            raise

    def _give_up(self) -> None:
        """Finish what can be finished."""
        if self._is_over:
            return
        segment, self._segment = self._segment, None
        if segment:
            with suppress(OSError):
                segment.finish_or_abandon()
            self._close_books(segment)
        self._over()

    def _close_books(self, segment: Segment) -> None:
        self._finished_bytes += segment.size
        self._finished_messages += segment.num_safe

    def _over(self) -> None:
        self._is_over = True
        self._free_reserve()
        if self._num_segments == 0:
            with suppress(OSError):
                self.path.rmdir()

    def _take_reserve(self) -> None:
        self._reserve = _allocate(self.path, _RESERVE_BYTES)

    def _make_room(self) -> bool:
        """On a full disk: the end of this segment still fits."""
        self._is_full = True
        return self._free_reserve()

    def _free_reserve(self) -> bool:
        """False if it was used already."""
        if self._reserve is None:
            return False
        self._reserve.close()
        self._reserve = None
        return True


def _wire_entry(seen: Observed, parts: Parts, t_ns: int, receipt_ns: int) -> Entry:
    return Entry(seen.topic, wire_channel(seen.kind), t_ns, receipt_ns, seen.seq, wire.join(parts))


def _make_folder(parent: Path, pipeline: str, now_ns: int) -> Path:
    stamp = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"{pipeline}_{stamp}"
    for number in itertools.count(2):
        try:
            (parent / name).mkdir()
            return parent / name
        except FileExistsError:  # another run of this second
            name = f"{pipeline}_{stamp}_{number}"
    raise AssertionError("unreachable")


def _allocate(folder: Path, num_bytes: int) -> IO[bytes]:
    """Space on the disk without a name: it is free again when closed, or when the process dies."""
    file = TemporaryFile(dir=folder)  # noqa: SIM115  (the archive closes it)
    os.posix_fallocate(file.fileno(), 0, num_bytes)
    return file


@contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise output_error(path, error) from error
