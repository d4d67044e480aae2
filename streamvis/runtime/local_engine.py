"""Everything in this process: a decoding thread a camera, and one thread for the pipeline."""

from __future__ import annotations

import threading
import time
from collections.abc import Container

import zmq

from streamvis.errors import SourceError
from streamvis.pipeline import Pipeline
from streamvis.publish.publisher import Publisher
from streamvis.runtime.as_recorded import Decisions, read_decisions
from streamvis.runtime.engine import ShouldStop, Stopped
from streamvis.runtime.feed import CameraFeed, plan_feed
from streamvis.runtime.report import CameraReport
from streamvis.runtime.rounds import Inbox
from streamvis.source.open import open_source
from streamvis.topology import PipelineConfig
from streamvis.types import Frame


class LocalEngine:
    """The runtime without Ray: quick to start, one process to debug."""

    def __init__(self, config: PipelineConfig, results_endpoint: str) -> None:
        self._config = config
        self._feeds: dict[str, CameraFeed] = {}
        self._failed: dict[str, CameraReport] = {}
        self._results_endpoint = results_endpoint
        self._publisher = Publisher(
            config.name,
            results_endpoint,
            zmq.Context.instance(),
            is_lossless=config.clock == "replay",
        )
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)
        self._has_started = False
        self._drained: set[str] = set()  # cameras whose last frame went through the pipeline
        self._error: BaseException | None = None

    def open(self, should_stop: ShouldStop) -> None:
        config, recorded = self._config, Decisions({}, [])
        if config.as_recorded:
            recorded = read_decisions(config, list(config.sources))
        self._inbox: Inbox[Frame] = Inbox(
            list(config.sources), config.clock, config.runtime.batch_window, recorded.batches
        )
        for camera in config.sources:
            self._open_camera(camera, recorded.plans.get(camera))
        if self._feeds:
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
        self._thread.join(timeout_s)
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()

    def stop(self) -> None:
        for feed in self._feeds.values():
            feed.stop()

    def reports(self) -> list[CameraReport]:
        return [self._failed.get(camera) or self._report(camera) for camera in self._config.sources]

    def close(self) -> None:
        self.stop()
        for feed in self._feeds.values():
            feed.join()
        if self._thread.ident is not None:
            self._thread.join()
        self._publisher.close()

    def _open_camera(self, camera: str, wanted: Container[int] | None) -> None:
        config = self._config
        try:
            size, with_motion = config.encoder.input_size, config.tiling.wants_codec_motion
            source = open_source(camera, config.sources[camera], size, with_motion)
        except SourceError as error:
            self._failed[camera] = CameraReport(camera, error.state, error=str(error))
            self._inbox.close(camera)
        else:
            plan = plan_feed(config, self._results_endpoint, wanted)
            self._feeds[camera] = CameraFeed(camera, source, self._inbox, plan)

    def _report(self, camera: str) -> CameraReport:
        if camera not in self._feeds:
            return CameraReport(camera, "connecting")
        if not self._has_started:
            return self._feeds[camera].before_start()
        front = self._pipeline.front(camera)
        return self._feeds[camera].report(front, camera in self._drained)

    def _run(self) -> None:
        try:
            while frames := self._inbox.take_round():
                self._pipeline.step(frames)
                self._drained = {name for name in self._feeds if self._inbox.is_drained(name)}
        except BaseException as error:  # handed to whoever waits
            self._error = error
            self.stop()
        finally:
            self._drained = set(self._feeds)
