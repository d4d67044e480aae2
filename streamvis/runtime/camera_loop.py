"""A camera's process: source and front, and the link to the back. No torch is loaded here."""

from __future__ import annotations

import threading
from dataclasses import replace

from streamvis.front import build_front
from streamvis.runtime.feed import CameraFeed
from streamvis.runtime.report import CameraReport
from streamvis.runtime.rounds import Inbox
from streamvis.runtime.tile_link import FrontLink
from streamvis.source.open import open_source
from streamvis.topology import PipelineConfig
from streamvis.types import Feedback, Frame

_POLL_MS = 100


class CameraLoop:
    """Runs one camera from its first frame to its last."""

    def __init__(self, config: PipelineConfig, camera: str, endpoint: str) -> None:
        self._config = config
        self._camera = camera
        self._endpoint = endpoint
        self._front = build_front(config.encoder, config.tiling)
        self._inbox: Inbox[Frame] = Inbox([camera], config.clock)
        self._feed: CameraFeed | None = None
        self._aborting = threading.Event()
        self._has_started = False
        self._is_drained = False

    def open(self) -> None:
        """Open the source; raises SourceError."""
        source = open_source(
            self._camera, self._config.sources[self._camera], self._config.encoder.input_size
        )
        self._feed = CameraFeed(self._camera, source, self._config.clock, self._inbox)

    def run(self, start_ns: int) -> None:
        """Until the source is over or `stop` is called; `report` says how it ended."""
        feed = self._feed
        assert feed is not None, "open() comes before run()"
        link = FrontLink(self._endpoint, self._camera)
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
        if self._feed is None or not self._has_started:
            return CameraReport(self._camera, "connecting")
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
