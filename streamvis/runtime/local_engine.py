"""Everything in this process: a decoding thread a camera, and one thread for the pipeline."""

from __future__ import annotations

import threading
import time
from collections.abc import Container

import zmq

from streamvis.errors import ControlError, SourceError
from streamvis.pipeline import Pipeline
from streamvis.publish.publisher import Publisher
from streamvis.runtime.as_recorded import Decisions, read_decisions
from streamvis.runtime.continued import open_continued
from streamvis.runtime.engine import BeginLife, Hops, ShouldStop, Stopped
from streamvis.runtime.feed import CameraFeed, follow, plan_feed
from streamvis.runtime.report import CameraReport
from streamvis.runtime.rounds import Inbox
from streamvis.topology import PipelineConfig
from streamvis.types import NO_FRAMES, Frame, Ledger

_JOIN_S = 5.0


class LocalEngine:
    """The runtime without Ray: quick to start, one process to debug."""

    def __init__(self, config: PipelineConfig, hops: Hops, begin_life: BeginLife) -> None:
        self._config = config
        self._begin_life = begin_life
        self._feeds: dict[str, CameraFeed] = {}
        self._failed: dict[str, CameraReport] = {}
        self._gone: list[CameraReport] = []
        self._hops = hops
        self._publisher = Publisher(
            config.name,
            hops.results,
            zmq.Context.instance(),
            is_lossless=config.clock == "replay",
        )
        self._pipeline: Pipeline | None = None
        self._stepping = threading.Lock()  # cameras are removed between two steps
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)
        self._has_started = self._is_stopping = False
        self._drained: set[str] = set()  # cameras of which no frame is looked at any more
        self._error: BaseException | None = None

    def open(self, should_stop: ShouldStop) -> None:
        config, recorded = self._config, Decisions({}, [])
        if config.as_recorded:
            recorded = read_decisions(config, list(config.sources))
        self._inbox: Inbox[Frame] = Inbox(
            list(config.sources),
            config.clock,
            config.runtime.batch_window,
            recorded.batches,
            displace=follow,
        )
        self._inbox.hold(True)  # until `wait` sees that it is ending
        for camera in config.sources:
            self._open_camera(camera, recorded.plans.get(camera))
        if self._feeds or self._stays:
            self._pipeline = Pipeline(
                config, list(self._feeds), self._publisher, self._publisher.epoch, recorded.plans
            )
        if should_stop():
            raise Stopped

    def start(self) -> None:
        start_ns = time.monotonic_ns()
        for feed in self._feeds.values():
            feed.start(start_ns)
        self._thread.start()
        self._has_started = True

    def wait(self, timeout_s: float) -> bool:
        if self._is_ending:
            self._inbox.hold(False)
        self._thread.join(timeout_s)
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()

    def stop(self) -> None:
        self._is_stopping = True
        self._stop_feeds()

    def add(self, config: PipelineConfig, camera: str) -> None:
        if not self._thread.is_alive():
            raise ControlError("all cameras have ended; start the run again")
        self._config = config
        before = self._begin_life(camera)
        self._open_camera(camera, before=before)
        if camera in self._feeds:
            assert self._pipeline is not None, "a run without any camera is over"
            with self._stepping:
                self._pipeline.add(camera, before)
                self._drained.discard(camera)
            self._inbox.open(camera)
            self._feeds[camera].start(time.monotonic_ns())

    def remove(self, camera: str) -> None:
        feed = self._feeds.get(camera)
        if feed is None:
            self._gone.append(self._failed.pop(camera))
            return
        feed.stop()
        feed.join(_JOIN_S)
        with self._stepping:
            self._drained.add(camera)
            self._gone.append(self._report(camera))
            del self._feeds[camera]
            if self._pipeline:
                self._pipeline.remove(camera)

    def gone(self) -> list[CameraReport]:
        gone, self._gone = self._gone, []
        return gone

    def reports(self) -> list[CameraReport]:
        failed = list(self._failed.values())
        return [*failed, *(self._report(camera) for camera in list(self._feeds))]

    @property
    def num_worker_deaths(self) -> int:
        return 0  # this process would be gone with it

    @property
    def dead_epochs(self) -> frozenset[str]:
        return frozenset()

    def close(self) -> None:
        self._stop_feeds()
        for feed in self._feeds.values():
            feed.join()
        if self._thread.ident is not None:
            self._inbox.hold(False)
            self._thread.join()
        self._publisher.close()

    @property
    def _stays(self) -> bool:
        return self._config.runtime.run_until == "stopped"

    @property
    def _is_ending(self) -> bool:
        """No camera will give anything more, and none that goes may be about to come back."""
        is_over = all(self._inbox.is_drained(camera) for camera in self._feeds)
        return is_over and (self._is_stopping or not (self._stays or self._gone))

    def _open_camera(
        self, camera: str, wanted: Container[int] | None = None, before: Ledger = NO_FRAMES
    ) -> None:
        config = self._config
        self._failed.pop(camera, None)
        try:
            source = open_continued(config, camera, before)
        except SourceError as error:
            self._failed[camera] = CameraReport(camera, error.state, error=str(error))
            self._inbox.close(camera)
        else:
            plan = plan_feed(config, self._hops, wanted)
            self._feeds[camera] = CameraFeed(camera, source, self._inbox, plan, before)

    def _report(self, camera: str) -> CameraReport:
        if not self._has_started or self._pipeline is None:
            return self._feeds[camera].before_start()
        front = self._pipeline.front(camera)
        is_drained = camera in self._drained or self._inbox.is_drained(camera)
        return self._feeds[camera].report(front, is_drained)

    def _stop_feeds(self) -> None:
        for feed in list(self._feeds.values()):
            feed.stop()

    def _run(self) -> None:
        try:
            while frames := self._inbox.take_round():
                self._step(frames)
        except BaseException as error:  # handed to whoever waits
            self._error = error
            self._stop_feeds()
        finally:
            self._drained = set(self._feeds)

    def _step(self, frames: list[Frame]) -> None:
        assert self._pipeline is not None, "frames come of cameras that are open"
        with self._stepping:
            there = [frame for frame in frames if self._pipeline.has(frame.camera)]
            self._pipeline.step(there)
