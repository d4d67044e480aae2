"""The supervisor's books: where every frame went, how old results are, how fast they come.

It lives where the proxy lives and counts what really left, so it survives the death of any
front or back.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamvis.runtime.report import REMOVED, CameraReport
from streamvis.types import LOSS_STAGES, STAGES, Ledger
from streamvis.wire import ALL_CAMERAS, Observed, Origin, StatMessage

log = logging.getLogger(__name__)

_KEPT_FRAMES = 20_000  # per camera, for the percentiles: bounds memory over weeks
_MAX_REMOVED = 256  # removed cameras with books of their own
_RECENT_FRAMES = 50  # for the figures of a live table


@dataclass(frozen=True)
class CameraStatus:
    """One row of the live table, one entry of the summary."""

    camera: str
    state: str
    error: str
    ledger: Ledger
    fps: float  # results a second, over the whole run or lately
    latency_p50_ms: float | None  # ingest until the proxy forwarded the result
    latency_p99_ms: float | None
    age_ms: float | None  # of the newest result, now
    stage_ms: Mapping[str, float]  # median duration of each stage
    num_detections: int  # in the newest result
    is_failed: bool

    def to_dict(self) -> dict[str, object]:
        """The keys scripts read in `--summary`."""
        return {
            "state": self.state,
            "error": self.error,
            "source_frames": self.ledger.source_frames,
            "published": self.ledger.published,
            "in_flight": self.ledger.in_flight,
            "lost": dict(self.ledger.lost),
            "fps": round(self.fps, 2),
            "latency_ms": {
                "p50": _rounded(self.latency_p50_ms),
                "p99": _rounded(self.latency_p99_ms),
            },
            "stage_ms": {name: round(ms, 3) for name, ms in self.stage_ms.items()},
        }


class RunLedger:
    """Observer of the proxy: counts results and publishes `stat` messages. Thread-safe: results
    come on the proxy's thread, the cameras' reports on the supervisor's."""

    def __init__(self, origin: Origin, cameras: Iterable[str], period_ns: int) -> None:
        self._origin = origin
        self._books = {camera: _CameraBook(camera) for camera in cameras}
        self._period_ns = period_ns
        self._due_ns = 0
        self._removed: dict[str, _CameraBook] = {}  # the newest of them at the end
        self._others: _CameraBook | None = None  # the sum of those that were removed before
        self.first_result_ns: int | None = None  # monotonic
        self._lock = threading.Lock()

    def see(self, seen: Observed) -> Iterable[StatMessage]:
        if seen.kind == "det":
            with self._lock:
                book = self._books.get(seen.camera) or self._removed.get(seen.camera)
                if book:
                    now_ns = time.monotonic_ns()
                    self.first_result_ns = self.first_result_ns or now_ns
                    book.see(seen, now_ns)
        return ()

    def tick(self, now_ns: int) -> Iterable[StatMessage]:
        if now_ns < self._due_ns:
            return
        self._due_ns = now_ns + self._period_ns
        yield from self._stats()

    def finish(self) -> Iterable[StatMessage]:
        """Everything was forwarded: what is still in flight was lost on the way."""
        with self._lock:
            for book in self._all_books():
                book.is_closed = True
        yield from self._stats()

    def update(self, report: CameraReport) -> None:
        """A camera's own counts; also when they come late or twice, and of one that could not
        begin again."""
        with self._lock:
            book = self._books.get(report.camera) or self._removed.get(report.camera)
            if book:
                book.report = report

    def begin_life(self, camera: str) -> Ledger:
        """A camera starts, anew or again: where its frames of earlier lives went. What was in
        flight then counts as lost until it comes after all."""
        with self._lock:
            book = self._books.get(camera) or self._removed.pop(camera, None)
            self._books[camera] = book or _CameraBook(camera)
            return self._books[camera].begin_life()

    def end_camera(self, camera: str) -> None:
        """It was removed: no more `stat` of it; its books stay for the summary. Of cameras removed
        long ago, with 256 others since, only the sum stays, as camera `*`."""
        with self._lock:
            book = self._removed[camera] = self._books.pop(camera)
            book.end()
            if len(self._removed) > _MAX_REMOVED:
                self._merge(self._removed.pop(next(iter(self._removed))))

    def status(self, recent: bool = False) -> list[CameraStatus]:
        """Of every camera; `recent` takes the figures of the last frames only."""
        with self._lock:
            now_ns = time.monotonic_ns()
            return [book.status(now_ns, recent) for book in self._all_books()]

    def _all_books(self) -> list[_CameraBook]:
        others = [self._others] if self._others else []
        return [*self._books.values(), *self._removed.values(), *others]

    def _merge(self, book: _CameraBook) -> None:
        if self._others is None:
            log.warning("more than %d cameras were removed: the first are summed up", _MAX_REMOVED)
            self._others = _CameraBook(ALL_CAMERAS)
            self._others.end()
        self._others.take_over(book)

    def _stats(self) -> Iterable[StatMessage]:
        with self._lock:
            now_ns, books = time.monotonic_ns(), self._books.values()
            numbered = [(next(book.stat_seq), book.status(now_ns, recent=True)) for book in books]
        for seq, status in numbered:
            yield StatMessage(
                origin=self._origin,
                camera=status.camera,
                seq=seq,
                state=status.state,
                fps=status.fps,
                latency_p50_ms=status.latency_p50_ms,
                latency_p99_ms=status.latency_p99_ms,
                age_ms=status.age_ms,
                stage_ms=status.stage_ms,
                num_detections=status.num_detections,
                ledger=status.ledger,
                error=status.error,
            )


class _CameraBook:
    def __init__(self, camera: str) -> None:
        self.report = CameraReport(camera, "connecting")
        self.is_closed = False
        self.stat_seq = itertools.count()  # of its own topic, over removals too
        self._published = 0
        self._newest = Ledger(0, 0, 0, dict.fromkeys(LOSS_STAGES, 0))
        self._times = _Times()
        self._newest_ingest_ns = 0
        self._num_detections = 0

    def begin_life(self) -> Ledger:
        known = self.report.counts.frames  # a process that died may have had frames in hand
        books = self._ledger(at_least=known)
        lost = {**books.lost, "infer": books.lost["infer"] + books.in_flight}
        self._newest = Ledger(books.source_frames, books.published, 0, lost)
        self.report = CameraReport(self.report.camera, "connecting")
        return self._newest

    def end(self) -> None:
        self.begin_life()
        self.report = CameraReport(self.report.camera, REMOVED)
        self._times = _Times()

    def take_over(self, other: _CameraBook) -> None:
        """Add the books of a camera that was removed, too."""
        mine, more = self._ledger(), other._ledger()
        lost = {stage: count + more.lost[stage] for stage, count in mine.lost.items()}
        self._published = mine.published + more.published
        frames = mine.source_frames + more.source_frames
        self._newest = Ledger(frames, self._published, 0, lost)

    def see(self, seen: Observed, now_ns: int) -> None:
        stamps = seen.stamps_ns
        self._published += 1
        if seen.ledger.source_frames >= self._newest.source_frames:  # not of an earlier life
            self._newest = seen.ledger
        if self.report.state != REMOVED:  # a late one: that keeps no memory again
            self._times.add([*(stamps[stage] for stage in STAGES), now_ns])
        self._newest_ingest_ns = stamps["ingest"]
        self._num_detections = seen.num_detections

    def status(self, now_ns: int, recent: bool) -> CameraStatus:
        count = _RECENT_FRAMES if recent else _KEPT_FRAMES
        times_ns = self._times.newest(count)
        p50, p99 = _latency_ms(times_ns)
        age_ms = (now_ns - self._newest_ingest_ns) / 1e6 if self._published else None
        return CameraStatus(
            camera=self.report.camera,
            state=self.report.state,
            error=self.report.error,
            ledger=self._ledger(),
            fps=_rate_hz(times_ns[:, -1]),
            latency_p50_ms=p50,
            latency_p99_ms=p99,
            age_ms=age_ms,
            stage_ms=_stage_medians(times_ns),
            num_detections=self._num_detections,
            is_failed=self.report.is_failed,
        )

    def _ledger(self, at_least: int = 0) -> Ledger:
        """While a camera runs its newest result knows best, once it ended by itself its own
        report: then nothing waits between its threads any more."""
        frames, lost = max(self._newest.source_frames, at_least), dict(self._newest.lost)
        counts = self.report.counts
        if self.report.is_settled and self.report.state != "crashed" and counts.frames >= frames:
            frames = counts.frames
            lost["source"] = counts.lost_source
            lost["decode"] = counts.lost_decode
            lost["policy"] = counts.lost_policy
        # Results keep their order, so one that the worker counts and we have not seen is lost;
        # and one that a camera gave up with its worker may have been on its way to us.
        late = self._published - self._newest.published - self._newest.lost["publish"]
        lost["publish"] = max(0, -late)
        lost["infer"] -= max(0, late)
        in_flight = frames - self._published - sum(lost.values())
        if in_flight < 0:  # a report that is not the last one takes what waits for dropped
            lost["policy"] += in_flight
            in_flight = 0
        if self.is_closed:
            lost["infer"] += in_flight
            in_flight = 0
        return Ledger(frames, self._published, in_flight, lost)


class _Times:
    """When the frames of the last hours passed each stage. All of it is there from the first one
    on: what fills only in hours looks like a leak."""

    def __init__(self) -> None:
        self._ring = np.zeros((0, len(STAGES) + 1), np.int64)  # monotonic ns
        self._count = 0  # frames ever added

    def add(self, times_ns: Sequence[int]) -> None:
        """Of the stages, and when its result was forwarded."""
        if self._count == 0:
            self._ring = np.full((_KEPT_FRAMES, len(STAGES) + 1), -1, np.int64)
        self._ring[self._count % _KEPT_FRAMES] = times_ns
        self._count += 1

    def newest(self, count: int) -> NDArray[np.int64]:
        """[frames, stages + 1], in order; at most `count` frames."""
        first = self._count - min(count, self._count, _KEPT_FRAMES)
        return self._ring[np.arange(first, self._count) % _KEPT_FRAMES]


def _latency_ms(times_ns: NDArray[np.int64]) -> tuple[float | None, float | None]:
    """Median and 99th percentile, ingest until forwarded."""
    if len(times_ns) == 0:
        return None, None
    p50, p99 = np.percentile((times_ns[:, -1] - times_ns[:, 0]) / 1e6, [50, 99]).tolist()
    return p50, p99


def _stage_medians(times_ns: NDArray[np.int64]) -> dict[str, float]:
    """How long each step took: named after the stamp it ends with."""
    if len(times_ns) == 0:
        return {}
    medians = np.median(np.diff(times_ns, axis=1) / 1e6, axis=0)
    return dict(zip([*STAGES[1:], "published"], medians.tolist(), strict=True))


def _rate_hz(times_ns: NDArray[np.int64]) -> float:
    if len(times_ns) < 2 or times_ns[-1] == times_ns[0]:
        return 0.0
    return float((len(times_ns) - 1) * 1e9 / (times_ns[-1] - times_ns[0]))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
