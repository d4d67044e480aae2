"""A camera's process: source and front, and the link to the back. No torch is loaded here."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace

from streamvis.front import build_front
from streamvis.runtime.as_recorded import read_decisions
from streamvis.runtime.continued import open_continued
from streamvis.runtime.engine import Hops, TilesAt
from streamvis.runtime.feed import CameraFeed, follow, plan_feed
from streamvis.runtime.quiet_memory import Trim, settle_memory
from streamvis.runtime.report import CameraReport, Process
from streamvis.runtime.rounds import Inbox
from streamvis.runtime.tile_link import FrontLink
from streamvis.topology import PipelineConfig
from streamvis.types import NO_FRAMES, Feedback, Frame, Ledger

log = logging.getLogger(__name__)

_POLL_MS = 100


class CameraLoop:
    """Runs one camera from its first frame to its last."""

    def __init__(
        self,
        config: PipelineConfig,
        camera: str,
        hops: Hops,
        before: Ledger = NO_FRAMES,
    ) -> None:
        """`before` is where the frames of the camera's earlier lives went: numbers go on."""
        self._config = config
        self._camera = camera
        self._tiles_at = TilesAt()
        self._hops = hops
        self._before = before
        self._inbox: Inbox[Frame] = Inbox([camera], config.clock, displace=follow)
        self._feed: CameraFeed | None = None
        self._trim = Trim()
        self._aborting = threading.Event()
        self._has_started = False
        self._is_drained = False
        self._link: FrontLink | None = None
        self._linked_to = TilesAt()

    def open(self) -> tuple[Process, CameraReport]:
        """Open the source; raises SourceError. Returns which process this is, and how it is."""
        config, recorded = self._config, None
        if config.as_recorded:
            recorded = read_decisions(config, [self._camera]).plans[self._camera]
        self._front = build_front(config.encoder, config.tiling, recorded, self._before)
        source = open_continued(config, self._camera, self._before)
        plan = plan_feed(config, self._hops, recorded)
        self._feed = CameraFeed(self._camera, source, self._inbox, plan, self._before)
        settle_memory()
        return Process.this(), self.report()

    def run(self, start_ns: int, tiles_at: TilesAt) -> None:
        """Send to the worker there, until the source is over or `stop` is called; `report` says
        how it ended."""
        feed = self._feed
        assert feed is not None, "open() comes before run()"
        self.pin(tiles_at)
        self._move()
        feed.start(start_ns)
        self._has_started = True
        try:
            self._send_all()
            feed.join()
            self._is_drained = True
            assert self._link is not None, "it was made above"
            self._link.end(self._front.account(feed.seen))
        finally:
            if self._link:
                self._link.close()

    def pin(self, tiles_at: TilesAt) -> None:
        """Thread-safe: send to the worker there from now on, beginning with an I
        packet. The one before is gone, and the packet it did not answer with it."""
        self._tiles_at = max(self._tiles_at, tiles_at)

    def stop(self, abort: bool = False) -> None:
        """End early; with `abort` do not even wait for the answer to the last packet."""
        if abort:
            self._aborting.set()
        if self._feed is not None:
            self._feed.stop()

    def report(self, tiles_at: TilesAt | None = None) -> CameraReport:
        """What the source had, what was dropped, and how the camera is. Said again here, where
        its worker is cannot be missed."""
        self._trim.tick()
        if tiles_at is not None and self._has_started:
            self.pin(tiles_at)
        if self._feed is None:
            return CameraReport(self._camera, "connecting")
        if not self._has_started:
            return self._feed.before_start()
        report = self._feed.report(self._front, self._is_drained)
        return replace(report, state="cut_off") if self._aborting.is_set() else report

    def _send_all(self) -> None:
        feedback: Feedback | None = Feedback()
        while feedback and (frames := self._inbox.take_round()):
            if self._is_moved:
                self._move()
                feedback = replace(feedback, need_i=True)
            assert self._link is not None, "it is made before the first frame"
            packet = self._front.step(frames[0], feedback)
            self._link.send(packet)
            feedback = self._wait_for_feedback(packet.seq)

    def _wait_for_feedback(self, seq: int) -> Feedback | None:
        """To the packet with this number; an empty one if none will come."""
        began_ns = time.monotonic_ns()
        while not self._aborting.is_set():
            assert self._link is not None, "a packet was sent"
            feedback = self._link.receive(_POLL_MS)
            if feedback is not None and not 0 <= feedback.acked_seq < seq:
                return feedback
            if self._is_moved:
                return Feedback()
            if self._is_live and time.monotonic_ns() - began_ns > self._patience_ns:
                self._connect_again()
                return Feedback()
        return None

    def _connect_again(self) -> None:
        """A worker that lives answers sooner: a connection broke, and took the packet or its
        answer with it."""
        log.warning("camera %s: its worker did not answer; it is connected anew", self._camera)
        self._move()

    @property
    def _patience_ns(self) -> int:
        """Whoever supervises the workers speaks first: a second packet for one that hangs would be
        lost as the first one is."""
        return 2 * self._config.runtime.worker_timeout

    @property
    def _is_live(self) -> bool:
        return self._config.clock == "live"

    @property
    def _is_moved(self) -> bool:
        return self._linked_to != self._tiles_at

    def _move(self) -> None:
        if self._link:
            self._link.drop()
        self._linked_to = self._tiles_at
        self._link = FrontLink(self._linked_to.endpoint, self._camera, self._hops.keys)
