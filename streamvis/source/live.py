"""A live camera: read by a process of its own, watched, and tried again until it comes."""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from dataclasses import replace
from itertools import pairwise

from streamvis.redact import redact
from streamvis.source.base import OnUnit
from streamvis.source.config import SourceConfig
from streamvis.source.decode_link import Dropped, LinkBroken, Order, Over, Report
from streamvis.source.decoder import Decoder
from streamvis.source.live_state import CameraState, Condition, LiveState
from streamvis.source.reconnect import Backoff
from streamvis.source.watchdog import Watchdog
from streamvis.types import AccessUnit, CameraInfo, Frame

log = logging.getLogger(__name__)

_POLL_S = 0.1
_RATE_WINDOW = 32  # frames the rate is measured over
_RATE_MIN = 8
_STALE_STEPS = 3  # a slow camera is stale when it missed so many pictures
_TYPED: dict[str, CameraState] = {
    "auth_failed": "auth_failed",
    "not_found": "not_found",
    "timeout": "timeout",
    "codec_unsupported": "codec_unsupported",
}


class LiveSource:
    """A Source whose frames come when they come: `grab` waits for the next one, and `retrieve`
    gives it with the moment it came in.

    It never fails: `live.condition` says how the camera is, and it is tried again for ever.
    Frame numbers and media time go on from connection to connection.
    """

    lost_source = 0  # what a camera made while nobody was connected, nobody can count

    def __init__(
        self,
        camera: str,
        config: SourceConfig,
        input_size: tuple[int, int],
        jitter: random.Random | None = None,
        with_motion: bool = False,
    ) -> None:
        """Nothing is opened before the first `grab`. `with_motion`: frames carry the codec's
        motion where it tells."""
        self.info: CameraInfo | None = None
        self.live = LiveState()
        self.on_unit: OnUnit | None = None
        self._camera = camera
        self._config = config
        self._where = redact(config.uri)
        self._with_motion = with_motion
        self._decoder = Decoder(camera, input_size)
        self._backoff = Backoff(config.live, jitter or random.Random())
        self._max_frames = config.max_frames
        self._connection: _Connection | None = None
        self._retry_ns = 0  # monotonic
        self._frame: Frame | None = None  # grabbed
        self._zero_ns: int | None = None  # monotonic: when media time 0 came in
        self._last_ns = 0  # media time of the newest frame
        self.lost_decode = 0
        self._num_before = 0  # frames of earlier connections
        self._lost_before = 0  # of them, those that gave no picture
        self._num_frames = 0  # handed out

    @property
    def decoder_pid(self) -> int | None:
        """Of the process that reads it now."""
        return self._decoder.pid

    def grab(self) -> int | None:
        if self._num_frames == self._max_frames:
            return None
        while not (self.live.is_stopping or self.live.condition.state == "ended"):
            if self._frame is not None:
                return _media_ns(self._frame)
            self._turn(time.monotonic_ns())
        return None

    def retrieve(self, t_ingest_ns: int) -> Frame | None:
        del t_ingest_ns  # the decode process knows better
        frame, self._frame = self._frame, None
        self._num_frames += frame is not None
        return frame

    def close(self) -> None:
        self._decoder.close()

    def _turn(self, now_ns: int) -> None:
        """At most a fraction of a second of what is to be done next."""
        if self._connection is None:
            if now_ns < self._retry_ns:
                self.live.sleep(min(_POLL_S, (self._retry_ns - now_ns) / 1e9))
            else:
                self._connect(now_ns)
            return
        try:
            report = self._decoder.receive(_POLL_S)
        except LinkBroken as error:
            self._give_up(self._connection, "lost", str(error))
            return
        now_ns = time.monotonic_ns()
        if report is not None:
            self._take(report, self._connection, now_ns)
        if self._connection is not None:
            self._note_silence(self._connection, now_ns)

    def _connect(self, now_ns: int) -> None:
        live = self._config.live
        connection = self._connection = _Connection(Watchdog(live.timeout, now_ns))
        order = Order(
            uri=self._config.uri,
            transport=live.transport,
            timeout_s=live.timeout / 1e9,
            is_low_delay=live.low_delay,
            options=live.options,
            zero_ns=self._zero_ns,
            last_ns=self._last_ns,
            wants_units=self.on_unit is not None,
            with_motion=self._with_motion,
            is_verifying=live.tls_verify,
        )
        try:
            self._decoder.give(order)
        except (LinkBroken, OSError) as error:  # no memory, no file left: a matter of time
            self._decoder.kill()
            self._over(connection, Over("lost", f"{self._where}: no decode process ({error})"))

    def _take(self, report: Report, now: _Connection, now_ns: int) -> None:
        match report:
            case CameraInfo():
                now.declared = report
                now.watchdog.opened(now_ns)
            case AccessUnit() if self.on_unit:
                self.on_unit(replace(report, index=report.index + self._num_before))
            case Frame():
                self._take_frame(report, now, now_ns)
            case Dropped():
                self._note_decoded(report, now, now_ns)
                self.live.num_dropped += 1
            case Over():
                self._over(now, report)

    def _note_decoded(self, report: Frame | Dropped, now: _Connection, now_ns: int) -> None:
        now.see(report, now_ns)
        self.lost_decode = self._lost_before + report.lost_decode

    def _take_frame(self, frame: Frame, now: _Connection, now_ns: int) -> None:
        self._note_decoded(frame, now, now_ns)
        self._last_ns = _media_ns(frame)
        if self._zero_ns is None:
            self._zero_ns = frame.t_ingest_ns - self._last_ns
        self.live.rate_hz = now.rate_hz or self.live.rate_hz
        if self.live.condition.state != "live":
            self._become("live")
        if now.is_new:
            now.is_new = False
            self.live.num_connections += 1
        self._note_size(frame, now.declared)
        self._frame = replace(
            frame,
            index=self._num_before + frame.index,
            lost_decode=self.lost_decode,
        )

    def _note_size(self, frame: Frame, declared: CameraInfo | None) -> None:
        """Some cameras tell their size only in the stream, and some change it there."""
        size = frame.letterbox.source_width, frame.letterbox.source_height
        if declared is not None:
            self.info = replace(declared, width=size[0], height=size[1])

    def _note_silence(self, now: _Connection, now_ns: int) -> None:
        limit_ns = max(self._config.live.stale_after, now.patience_ns)
        if self.live.condition.state == "live" and now_ns - now.last_ns > limit_ns:
            self._become("stale", f"{self._where}: no picture came for {limit_ns / 1e9:.1f} s")
        now.watchdog.see_packets(self._decoder.num_packets, now_ns)
        complaint = now.watchdog.complaint(now_ns)
        if complaint:
            self._give_up(now, "timeout", complaint)

    def _over(self, now: _Connection, over: Over) -> None:
        """The connection ended: count its frames, and say when the next one is tried. A damaged
        packet may have given two pictures: no number comes again."""
        self._num_before += max(over.num_packets, now.index + 1)
        self._lost_before += over.lost_decode
        self.lost_decode = self._lost_before
        self._connection = None
        state = self._state_after(over.state, now)
        self._become(state, over.error)
        wait_ns = self._backoff.next_ns(state, now.last_ns - now.first_ns)
        self._retry_ns = time.monotonic_ns() + wait_ns

    def _give_up(self, now: _Connection, reason: str, error: str) -> None:
        """Its process died or must: what that read and did not report on gave no picture."""
        self._decoder.kill()
        num_packets = max(self._decoder.num_packets, now.index + 1)
        lost = now.lost_decode + num_packets - (now.index + 1)
        self._over(now, Over(reason, f"{self._where}: {error}", num_packets, lost))

    def _state_after(self, reason: str, now: _Connection) -> CameraState:
        if reason == "ended":
            return "ended"
        if now.is_new and reason in _TYPED:
            return _TYPED[reason]
        if self.live.num_connections:
            return "reconnecting"
        return "not_found" if reason == "refused" else "connecting"

    def _become(self, state: CameraState, error: str = "") -> None:
        before, self.live.condition = self.live.condition, Condition(state, error)
        if before.state == state:
            return
        if error:
            log.warning("camera %s: %s: %s", self._camera, state, redact(error))
        else:
            log.info("camera %s: %s", self._camera, state)


class _Connection:
    """What is known of the one that is open. Times are monotonic ns."""

    def __init__(self, watchdog: Watchdog) -> None:
        self.watchdog = watchdog
        self.is_new = True  # it gave no picture so far
        self.declared: CameraInfo | None = None
        self.index = -1  # of the frame decoded last
        self.lost_decode = 0
        self.first_ns = self.last_ns = 0  # when pictures came
        self._media_ns: deque[int] = deque(maxlen=_RATE_WINDOW)

    def see(self, report: Frame | Dropped, now_ns: int) -> None:
        """A frame was decoded."""
        self.index, self.lost_decode = report.index, report.lost_decode
        self.first_ns, self.last_ns = self.first_ns or now_ns, now_ns
        self.watchdog.see_picture(now_ns)
        if isinstance(report, Frame):
            self._media_ns.append(_media_ns(report))

    @property
    def rate_hz(self) -> float | None:
        """By the media's clock: after the opening, frames come faster than they were taken. The
        longest step is left out: FFmpeg moves a stream's times once, when RTCP tells them."""
        if len(self._media_ns) < _RATE_MIN:
            return None
        steps_ns = [after - before for before, after in pairwise(self._media_ns)]
        span_ns = sum(steps_ns) - max(steps_ns)
        return (len(steps_ns) - 1) * 1e9 / span_ns if span_ns > 0 else None

    @property
    def patience_ns(self) -> int:
        rate_hz = self.rate_hz if self._media_ns else None
        return round(_STALE_STEPS * 1e9 / rate_hz) if rate_hz else 0


def _media_ns(frame: Frame) -> int:
    return round(frame.pts * frame.time_base * 1_000_000_000)
