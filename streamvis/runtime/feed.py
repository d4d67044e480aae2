"""One camera's decoding thread: paces the source and leaves its frames in an inbox."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Container
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import zmq

from streamvis.errors import SourceError
from streamvis.front import CameraFront
from streamvis.publish.publisher import Publisher
from streamvis.runtime.engine import Hops
from streamvis.runtime.report import CameraReport
from streamvis.runtime.rounds import Inbox
from streamvis.source.base import Source
from streamvis.topology import PipelineConfig
from streamvis.types import NO_FRAMES, Frame, Ledger, SourceCounts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeedPlan:
    """How the frames of a camera are let through."""

    is_live: bool
    speed: float = 1.0  # live: seconds of media a second
    wanted: Container[int] | None = None  # frames that go on, the others are dropped; None: all
    open_publisher: Callable[[], Publisher] | None = None  # for the bitstream, if it is wanted


def plan_feed(config: PipelineConfig, hops: Hops, wanted: Container[int] | None = None) -> FeedPlan:
    """As the pipeline file says; `wanted` are the frames to let through, None means all."""
    is_live = config.clock == "live"
    open_publisher = None
    if "vid" in config.opt_in:
        open_publisher = partial(
            Publisher,
            config.name,
            hops.results,
            zmq.Context.instance(),
            is_lossless=not is_live,
            run_keys=hops.keys,
        )
    return FeedPlan(is_live, config.speed, wanted, open_publisher)


def follow(dropped: Frame, frame: Frame) -> Frame:
    """The frame that goes on instead of the dropped one: what was anew there is anew here."""
    return replace(frame, is_discont=True) if dropped.is_discont else frame


class CameraFeed:
    """Owns a source. Live, frames are released at their media time and the newest wins;
    in a replay every frame waits until it is taken."""

    def __init__(
        self,
        camera: str,
        source: Source,
        inbox: Inbox[Frame],
        plan: FeedPlan,
        before: Ledger = NO_FRAMES,
    ) -> None:
        """`source` and `before` as of `open_continued`."""
        self._camera = camera
        self._source = source
        self._plan = plan
        self._inbox = inbox
        self._stopping = threading.Event()
        self._before = before
        self._num_frames = before.source_frames - before.lost["source"] - before.lost["decode"]
        self._unwanted: Frame | None = None  # the newest one
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"feed-{camera}", daemon=True)

    def start(self, start_ns: int) -> None:
        """Begin; live, media time 0 is released at `start_ns` on the monotonic clock."""
        self._start_ns = start_ns
        self._thread.start()

    def stop(self) -> None:
        """End early."""
        self._stopping.set()
        if self._source.live:
            self._source.live.stop()
        self._inbox.close(self._camera)

    def join(self, timeout_s: float | None = None) -> None:
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def before_start(self) -> CameraReport:
        return CameraReport(self._camera, "connecting", info=self._source.info)

    def report(self, front: CameraFront, is_drained: bool) -> CameraReport:
        """How the camera is. It is over only when the front has taken all that was decoded:
        until then a frame that waits would look like one that was dropped."""
        state, error = self._ending() if is_drained else self._condition()
        counts = front.account(self.seen)
        info = self._source.info
        return CameraReport(
            self._camera, state, counts, error, self._rate_hz, info, is_last=is_drained
        )

    def _condition(self) -> tuple[str, str]:
        """(state, what is wrong) while it runs."""
        live = self._source.live
        return (live.condition.state, live.condition.error) if live else ("live", "")

    @property
    def _rate_hz(self) -> float | None:
        """Frames a second to expect: as measured, else as declared."""
        live, info = self._source.live, self._source.info
        if live and live.rate_hz:
            return live.rate_hz
        return info.fps * self._plan.speed if self._plan.is_live and info else None

    def _ending(self) -> tuple[str, str]:
        """(state, what went wrong)"""
        if isinstance(self._error, SourceError):
            return self._error.state, str(self._error)
        if self._error is not None:
            return "error", f"broke off: {self._error!r}"
        if self._source.live and self._source.live.condition.state not in ("live", "stale"):
            return self._condition()
        missing = self._source.lost_source - self._before.lost["source"]
        if missing and not self._stopping.is_set():
            return "ended_early", f"ended {missing} frames early; check or repeat the recording"
        return "ended", ""

    @property
    def seen(self) -> SourceCounts:
        """Frames the source had so far, and those it lost itself; final after the end."""
        lost_source, lost_decode = self._source.lost_source, self._source.lost_decode
        decoded = self._num_frames + (self._source.live.num_dropped if self._source.live else 0)
        return SourceCounts(decoded + lost_source + lost_decode, lost_source, lost_decode)

    def _run(self) -> None:
        try:
            with ExitStack() as stack:
                if self._plan.open_publisher:
                    publisher = stack.enter_context(self._plan.open_publisher())
                    self._source.on_unit = partial(publisher.send_unit, self._camera)
                self._step_all()
        except SourceError as error:
            self._error = error
        except Exception as error:  # a bug in a decoder must not take the other cameras along
            log.exception("camera %s broke off", self._camera)
            self._error = error
        finally:
            self._inbox.close(self._camera)
            self._source.close()

    def _step_all(self) -> None:
        media_ns = self._source.grab()
        self._start_ns = max(self._start_ns, time.monotonic_ns())  # it may have had to seek
        while media_ns is not None and self._step(media_ns):
            media_ns = self._source.grab()

    def _step(self, media_ns: int) -> bool:
        if self._stopping.is_set():
            return False
        t_ingest_ns = self._release(media_ns)
        frame = self._source.retrieve(t_ingest_ns)
        if frame is not None:
            self._num_frames += 1
            self._hand_on(follow(self._unwanted, frame) if self._unwanted else frame)
        return not self._stopping.is_set()

    def _hand_on(self, frame: Frame) -> None:
        is_wanted = self._plan.wanted is None or frame.index in self._plan.wanted
        self._unwanted = None if is_wanted else frame
        if is_wanted:
            self._inbox.put(self._camera, frame)

    def _release(self, media_ns: int) -> int:
        """Wait until the frame is due; returns the moment it came in, monotonic ns. In a replay
        it comes in when there is room for it: waiting for its turn is not latency."""
        if self._source.live:
            return time.monotonic_ns()
        if not self._plan.is_live:
            self._inbox.wait_for_room(self._camera)
            return time.monotonic_ns()
        due_ns = self._start_ns + round(media_ns / self._plan.speed)
        self._stopping.wait(max(0, due_ns - time.monotonic_ns()) / 1e9)
        return due_ns
