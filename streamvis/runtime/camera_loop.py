"""A camera's process: source and front, and the link to the back. No torch is loaded here."""

from __future__ import annotations

import threading
from dataclasses import replace

from streamvis.front import build_front
from streamvis.runtime.as_recorded import read_decisions
from streamvis.runtime.feed import CameraFeed, plan_feed
from streamvis.runtime.report import CameraReport
from streamvis.runtime.rounds import Inbox
from streamvis.runtime.tile_link import FrontLink
from streamvis.source.open import open_source
from streamvis.topology import PipelineConfig
from streamvis.types import Feedback, Frame

_POLL_MS = 100


class CameraLoop:
    """Runs one camera from its first frame to its last."""

    def __init__(
        self, config: PipelineConfig, camera: str, tiles_endpoint: str, results_endpoint: str
    ) -> None:
        self._config = config
        self._camera = camera
        self._tiles_endpoint = tiles_endpoint
        self._results_endpoint = results_endpoint
        self._inbox: Inbox[Frame] = Inbox([camera], config.clock)
        self._feed: CameraFeed | None = None
        self._aborting = threading.Event()
        self._has_started = False
        self._is_drained = False

    def open(self) -> None:
        """Open the source; raises SourceError."""
        config, recorded = self._config, None
        if config.as_recorded:
            recorded = read_decisions(config, [self._camera]).plans[self._camera]
        self._front = build_front(config.encoder, config.tiling, recorded)
        source = open_source(
            self._camera,
            config.sources[self._camera],
            config.encoder.input_size,
            config.tiling.wants_codec_motion,
        )
        plan = plan_feed(config, self._results_endpoint, recorded)
        self._feed = CameraFeed(self._camera, source, self._inbox, plan)

    def run(self, start_ns: int) -> None:
        """Until the source is over or `stop` is called; `report` says how it ended."""
        feed = self._feed
        assert feed is not None, "open() comes before run()"
        link = FrontLink(self._tiles_endpoint, self._camera)
        feed.start(start_ns)
        self._has_started = True
        try:
            self._send_all(link)
            feed.join()
            self._is_drained = True
            link.end(self._front.account(feed.seen))
        finally:
            link.close()

    def stop(self, abort: bool = False) -> None:
        """End early; with `abort` do not even wait for the answer to the last packet."""
        if abort:
            self._aborting.set()
        if self._feed is not None:
            self._feed.stop()

    def report(self) -> CameraReport:
        """What the source had, what was dropped, and how the camera is."""
        if self._feed is None:
            return CameraReport(self._camera, "connecting")
        if not self._has_started:
            return self._feed.before_start()
        report = self._feed.report(self._front, self._is_drained)
        return replace(report, state="cut_off") if self._aborting.is_set() else report

    def _send_all(self, link: FrontLink) -> None:
        feedback: Feedback | None = Feedback()
        while feedback and (frames := self._inbox.take_round()):
            link.send(self._front.step(frames[0], feedback))
            feedback = self._wait_for_feedback(link)

    def _wait_for_feedback(self, link: FrontLink) -> Feedback | None:
        while not self._aborting.is_set():
            feedback = link.receive(_POLL_MS)
            if feedback is not None:
                return feedback
        return None
