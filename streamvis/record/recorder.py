"""Records a pipeline: one thread reads what it publishes, a second one writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from streamvis import wire
from streamvis.client.curve import ClientKeys
from streamvis.client.subscriber import Subscriber
from streamvis.errors import OutputError, StreamvisError
from streamvis.record.archive import Archive
from streamvis.record.byte_queue import ByteQueue
from streamvis.record.config import RecordConfig
from streamvis.record.segment import OpenFile, open_unbuffered
from streamvis.wire import Observed, Parts

# Pictures are not among them: they are in the bitstream.
KINDS = tuple(kind for kind in wire.KINDS if kind != "img")

_POLL_MS = 250
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class RecordSummary:
    """What became of the messages."""

    path: Path
    messages: int  # written
    num_bytes: int  # on the disk
    lost_gap: int  # published, and never reached the recorder
    lost_queue: int  # the disk was too slow
    lost_disk: int  # after the disk failed

    @property
    def lost(self) -> dict[str, int]:
        return {"gap": self.lost_gap, "queue": self.lost_queue, "disk": self.lost_disk}

    def to_dict(self) -> dict[str, object]:
        return {
            "path": str(self.path.resolve()),
            "messages": self.messages,
            "bytes": self.num_bytes,
            "lost": self.lost,
        }


class Recorder:
    """`start`, and `join` after the pipeline said that it stopped, or after `stop`.

    A recording that cannot be written stops itself and nothing else: `error` says why. Live it
    never makes the pipeline wait; with `is_lossless` (clock: replay) the pipeline waits for the
    disk instead of losing messages.
    """

    def __init__(
        self,
        config: RecordConfig,
        address: str,
        pipeline: str,
        *,
        is_lossless: bool = False,
        keys: ClientKeys | None = None,
        open_file: OpenFile = open_unbuffered,
    ) -> None:
        """Raises OutputError at once if nothing can be written there."""
        self.error: StreamvisError | None = None
        self._archive = Archive(config, pipeline, time.time_ns(), open_file=open_file)
        self._is_lossless = is_lossless
        self._queue: ByteQueue[tuple[Observed, Parts, int]] = ByteQueue(config.queue)
        self._subscriber = Subscriber(
            address, kinds=KINDS, pipeline=pipeline, timeout_ms=_POLL_MS, keys=keys
        )
        self._stopping = threading.Event()
        self._lost_queue = 0
        self._num_taken = 0  # from the queue
        self._reader = threading.Thread(target=self._read, name="record-reader", daemon=True)
        self._writer = threading.Thread(target=self._write, name="record-writer", daemon=True)

    def start(self) -> None:
        self._writer.start()
        self._reader.start()

    def stop(self) -> None:
        """Take nothing more; what was taken is still written."""
        self._stopping.set()

    @property
    def is_running(self) -> bool:
        return self._writer.is_alive()

    def join(self, timeout_s: float = _PATIENCE_S) -> None:
        self._reader.join(timeout_s)
        self._writer.join(timeout_s)
        if self.is_running:
            self.error = OutputError(f"the recording was not finished within {timeout_s:.0f} s")

    @property
    def has_video(self) -> bool:
        """At least one camera's bitstream came."""
        return self._archive.has_video

    @property
    def summary(self) -> RecordSummary:
        """Final after `join`."""
        return RecordSummary(
            path=self._archive.path,
            messages=self._archive.num_messages,
            num_bytes=self._archive.num_bytes,
            lost_gap=self._subscriber.gaps.total(),
            lost_queue=self._lost_queue,
            lost_disk=self._num_taken - self._archive.num_messages - self._archive.num_repeats,
        )

    def _read(self) -> None:
        try:
            with self._subscriber:
                while not self._stopping.is_set() and not self._subscriber.is_stopped:
                    self._read_some()
        except StreamvisError as error:
            self.error = error
        finally:
            self._queue.close()

    def _read_some(self) -> None:
        try:
            for seen, parts in self._subscriber.raw():
                num_bytes = sum(map(len, parts))
                item = (seen, parts, time.time_ns())
                if not self._queue.put(item, num_bytes, wait=self._is_lossless):
                    self._lost_queue += 1
                if self._stopping.is_set():
                    return
        except TimeoutError:
            return

    def _write(self) -> None:
        while not self._queue.is_over:
            item = self._queue.take(_POLL_MS / 1000)
            self._num_taken += item is not None
            if self.error is None:
                self._guard(partial(self._write_one, item))
        self._guard(self._archive.close)

    def _write_one(self, item: tuple[Observed, Parts, int] | None) -> None:
        if item:
            self._archive.write(*item)
        else:
            self._archive.tick(time.time_ns())

    def _guard(self, act: Callable[[], None]) -> None:
        try:
            act()
        except StreamvisError as error:
            self.error = self.error or error
        except Exception as error:  # whatever it is, the pipeline must not wait for the queue
            self.error = self.error or OutputError(f"the recording was given up: {error!r}")
