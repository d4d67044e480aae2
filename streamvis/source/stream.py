"""A live camera through FFmpeg: RTSP, HTTP and HLS, MPEG-TS over UDP, USB.

What is here runs in the camera's decode process: any call may block for as long as its time-outs
allow, and a driver may hang it for ever.
"""

from __future__ import annotations

import errno
import ssl
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import islice

import av
from av.codec.context import Flags

from streamvis.errors import SourceError
from streamvis.redact import redact
from streamvis.source.bitstream import UnitWriter
from streamvis.source.config import DEVICE_FOLDER
from streamvis.source.decode_link import Order
from streamvis.source.pictures import NO_TIME, Coded, Packet
from streamvis.types import AccessUnit, CameraInfo, CaptureSource, CaptureTime

_S = 1_000_000_000  # ns
_MAX_STEP_NS = 10 * _S  # more between two packets is a jump of the camera's clock
_MAX_BACK_NS = _S  # pictures come in another order than they are shown; no further than this
_SANE_FPS = range(1, 241)  # what else is declared is a clock rate, not a frame rate
_MAX_KNOWN = 512  # capture times of packets whose picture has not come yet

# What is kept of a stream while FFmpeg looks at it is decoded afterwards, so that nothing is lost;
# it is only late.
_PROBE = {"analyzeduration": "1000000", "fpsprobesize": "0"}

# FFmpeg says of one RTCP report which Unix time belongs to pts 0. Afterwards the two clocks drift.
_RTCP_UNCERTAINTY_NS = 20_000_000
_DRIFT = 100e-6  # a quartz oscillator out of its box, both sides together
_ARRIVAL_UNCERTAINTY_NS = _S // 2  # exposure, encoder and network take up to about so long
_PLAUSIBLE_NS = 2 * _S  # a camera's clock that is further off ours than this was never set
_DEVICE_UNCERTAINTY_NS = 50_000_000
_CONTAINER_UNCERTAINTY_NS = _S


class StreamPackets:
    """The packets of a camera's first video stream (`pictures.Packets`).

    Media time goes on from connection to connection; when the camera's clock jumps or runs
    backwards, that is taken out too. The packet after it is a discontinuity.
    """

    first_index = 0

    def __init__(self, order: Order) -> None:
        """Raises SourceError; `state` is "lost" where trying again is all that can be done."""
        self._order = order
        self._where = redact(order.uri)
        self._opened_ns = time.monotonic_ns()
        self._container = _open(order)
        try:
            self._stream = _video_stream(self._container, self._where)
            self.context = self._stream.codec_context
            self.time_base = self._stream.time_base or Fraction(1, 90_000)
            self._media_clock = _MediaClock(self.time_base, order, self._step_ns)
            self._world_clock = _WorldClock(self._container, order.uri, self._opened_ns)
            is_reordered = bool(self.context.has_b_frames)
            self._packets = _Ahead(self._container.demux(self._stream), 4 if is_reordered else 2)
        except BaseException:
            self._container.close()
            raise
        if not self.context.has_b_frames and order.is_low_delay:
            self.context.flags |= Flags.low_delay
        self.info = CameraInfo(
            self.context.width, self.context.height, self.declared_fps, self.context.name
        )
        self.num_packets = 0
        self._is_over = False
        self._is_discont = False  # the packet read last
        self._ending: SourceError | None = None
        self._captures: dict[int, CaptureTime] = {}  # by pts

    @property
    def declared_fps(self) -> float:
        """0 when the stream does not say, or nothing that can be true."""
        fps = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        return fps if round(fps) in _SANE_FPS else 0.0

    @property
    def creation_time(self) -> str:
        """As a file's container says; "" if it does not."""
        return self._container.metadata.get("creation_time", "")

    def read(self) -> Coded | None:
        """As `Packets.read`. What the decoder still holds comes out before the error does."""
        if self._is_over:
            self._raise_ending()
            return None
        packet = self._next()
        if packet is None:
            self._is_over = True
            return Coded(av.Packet())
        self.num_packets += 1
        now_ns = time.monotonic_ns()
        raw = packet.pts if packet.pts is not None else packet.dts
        is_jump = self._media_clock.place(packet, now_ns)
        self._world_clock.lose_anchor(is_jump)
        if packet.pts is not None:
            self._note_capture(packet.pts, self._world_clock.capture(raw, self.time_base))
        is_first = self.num_packets == 1 and self._order.is_again
        self._is_discont = is_first or is_jump
        return Coded(packet, is_discont=is_first, is_jump=is_jump)

    def unit(self, packet: Packet, index: int) -> AccessUnit:
        capture = self._captures.get(packet.pts or 0, NO_TIME)
        return self._writer.unit(
            packet, self.context, index, self.time_base, capture, self._is_discont
        )

    def capture_time(self, index: int, pts: int) -> CaptureTime:
        del index
        return self._captures.pop(pts, NO_TIME)

    def close(self) -> None:
        """Says goodbye to the camera: many serve only few clients at a time."""
        self._container.close()

    @cached_property
    def _writer(self) -> UnitWriter:
        return UnitWriter(self._stream)

    @property
    def _step_ns(self) -> int:
        return round(_S / (self.declared_fps or 25.0))

    def _next(self) -> Packet | None:
        with suppress(StopIteration):
            try:
                packet = self._packets.next()
                if packet.size:
                    return packet
            except av.FFmpegError as error:
                self._ending = _refusal(error, self._where)
                return None
        if not self._has_length:
            self._ending = SourceError(f"{self._where}: the camera ended the stream", "lost")
        return None

    def _raise_ending(self) -> None:
        if self._ending is not None:
            raise self._ending

    @property
    def _has_length(self) -> bool:
        """A film that is served has one and may end; a camera has none and may not."""
        return bool(self._container.duration)

    def _note_capture(self, pts: int, capture: CaptureTime) -> None:
        self._captures[pts] = capture
        if len(self._captures) > _MAX_KNOWN:
            del self._captures[next(iter(self._captures))]


class _Ahead:
    """Packets, the first of which has a time, too: FFmpeg's RTP leaves it out."""

    def __init__(self, packets: Iterator[Packet], depth: int) -> None:
        """`depth` is how many packets are looked at to tell."""
        self._packets = packets
        self._depth = depth
        self._waiting: deque[Packet] = deque()
        self._has_begun = False

    def next(self) -> Packet:
        """Raises StopIteration at the end."""
        if not self._has_begun:
            self._has_begun = True
            self._begin()
        return self._waiting.popleft() if self._waiting else next(self._packets)

    def _begin(self) -> None:
        first = next(self._packets)
        self._waiting.append(first)
        if first.pts is not None or first.dts is not None:
            return
        self._waiting.extend(islice(self._packets, self._depth))
        times = sorted(packet.pts for packet in self._waiting if packet.pts is not None)
        if len(times) > 1:  # the declared frame rate, and with it `duration`, may be wrong
            first.pts = 2 * times[0] - times[1]


class _MediaClock:
    """Moves the packets' times so that they only go on, from connection to connection too."""

    def __init__(self, time_base: Fraction, order: Order, step_ns: int) -> None:
        self._time_base = time_base
        self._order = order
        self._step_ns = step_ns
        self._shift: int | None = None  # ticks
        self._last: int | None = None  # moved, ticks
        self._last_arrival_ns = 0

    def place(self, packet: Packet, now_ns: int) -> bool:
        """Move its times; whether it is the first after a jump."""
        has_dts = packet.dts is not None
        raw = packet.dts if has_dts else packet.pts
        if raw is None:
            raw = packet.pts = self._last_raw + self._ticks(self._step_ns)
        is_jump = self._shift is not None and self._is_jump(raw + self._shift, has_dts)
        if self._shift is None:
            self._shift = self._ticks(self._first_ns(now_ns)) - raw
        elif is_jump:
            self._shift = (self._last or 0) + self._ticks(self._since_last_ns(now_ns)) - raw
        if packet.pts is not None:
            packet.pts += self._shift
        if packet.dts is not None:
            packet.dts += self._shift
        self._last, self._last_arrival_ns = raw + self._shift, now_ns
        return is_jump

    def _first_ns(self, now_ns: int) -> int:
        if self._order.zero_ns is None:
            return 0
        return max(now_ns - self._order.zero_ns, self._order.last_ns + self._step_ns)

    @property
    def _last_raw(self) -> int:
        return (self._last or 0) - (self._shift or 0)

    def _is_jump(self, moved: int, has_dts: bool) -> bool:
        step_ns = self._ns(moved - (self._last or 0))
        return step_ns > _MAX_STEP_NS or step_ns < (0 if has_dts else -_MAX_BACK_NS)

    def _since_last_ns(self, now_ns: int) -> int:
        return max(self._step_ns, now_ns - self._last_arrival_ns)

    def _ticks(self, ns: int) -> int:
        return round(ns / (self._time_base * _S))

    def _ns(self, ticks: int) -> int:
        return round(ticks * self._time_base * _S)


class _WorldClock:
    """When was a picture taken, as well as this kind of source can tell."""

    def __init__(self, container: av.container.InputContainer, uri: str, opened_ns: int) -> None:
        """`opened_ns` is when opening it began, monotonic."""
        self._container = container
        scheme = uri.partition("://")[0]
        self._is_device = _is_device(uri)
        self._named: CaptureSource = "rtcp" if scheme in ("rtsp", "rtsps") else "container"
        self._anchor_ns: int | None = None  # monotonic: when the anchor became known
        self._has_anchor = True
        now_ns = time.monotonic_ns()
        self._offset_ns = time.time_ns() - now_ns
        self._opening_ns = now_ns - opened_ns  # packets waited while FFmpeg looked at the stream
        self._first_raw: int | None = None

    def lose_anchor(self, is_lost: bool) -> None:
        """The media's clock jumped: what belonged to its zero does no more."""
        self._has_anchor = self._has_anchor and not is_lost

    def capture(self, raw: int | None, time_base: Fraction) -> CaptureTime:
        """Of the picture whose pts was `raw` when it came; it just came."""
        arrived = self._arrived(self._waited_ns(raw, time_base))
        if raw is None:
            return arrived
        media_ns = round(raw * time_base * _S)
        if self._is_device:
            return _plausible(CaptureTime(media_ns, "device", _DEVICE_UNCERTAINTY_NS), arrived)
        zero_us = self._container.start_time_realtime
        if zero_us is None or not self._has_anchor:
            return arrived
        known = CaptureTime(zero_us * 1000 + media_ns, self._named, self._uncertainty_ns())
        return _plausible(known, arrived)

    def _waited_ns(self, raw: int | None, time_base: Fraction) -> int:
        """How long a packet may have been here unread: those of the opening were."""
        if self._first_raw is None:
            self._first_raw = raw
        if raw is None or self._first_raw is None:
            return 0
        media_ns = round((raw - self._first_raw) * time_base * _S)
        return max(0, self._opening_ns - max(0, media_ns))

    def _arrived(self, waited_ns: int) -> CaptureTime:
        """Now; where this host's clock was set meanwhile, as uncertain as it was moved."""
        now_ns = time.time_ns()
        moved_ns = abs(now_ns - time.monotonic_ns() - self._offset_ns)
        step_ns = moved_ns if moved_ns >= _PLAUSIBLE_NS else 0
        return CaptureTime(now_ns, "arrival", _ARRIVAL_UNCERTAINTY_NS + step_ns + waited_ns)

    def _uncertainty_ns(self) -> int:
        if self._named != "rtcp":
            return _CONTAINER_UNCERTAINTY_NS
        now_ns = time.monotonic_ns()
        self._anchor_ns = self._anchor_ns or now_ns
        return _RTCP_UNCERTAINTY_NS + round((now_ns - self._anchor_ns) * _DRIFT)


def _plausible(said: CaptureTime, arrived: CaptureTime) -> CaptureTime:
    """As the camera says; where that cannot be, as uncertain as the two clocks are apart."""
    apart_ns = abs(arrived.t_ns - said.t_ns)
    if apart_ns < _PLAUSIBLE_NS:
        return said
    return CaptureTime(said.t_ns, said.source, max(said.uncertainty_ns, apart_ns))


def _open(order: Order) -> av.container.InputContainer:
    began_s = time.monotonic()
    try:
        return av.open(
            order.uri,
            format="v4l2" if _is_device(order.uri) else None,
            options=stream_options(order),
            timeout=(order.timeout_s, order.timeout_s),
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        # FFmpeg calls an answer that did not come in time "invalid data" or "not permitted".
        is_late = time.monotonic() - began_s > 0.95 * order.timeout_s
        is_vague = isinstance(error, ValueError | PermissionError)
        reason: Exception = TimeoutError() if is_late and is_vague else error
        if _is_tls(order.uri) and getattr(error, "errno", 0) == errno.EIO:  # it tells no more
            reason = ssl.SSLError()
        raise _refusal(reason, redact(order.uri)) from None


def _is_device(uri: str) -> bool:
    return uri.startswith(DEVICE_FOLDER)


def _is_tls(uri: str) -> bool:
    return uri.startswith(("https://", "rtsps://"))


def _tls_options(order: Order) -> dict[str, str]:
    """FFmpeg believes any certificate unless it is told not to."""
    if not (_is_tls(order.uri) and order.is_verifying):
        return {}
    authorities = ssl.get_default_verify_paths().cafile  # the wheel's own place is another one
    return {"tls_verify": "1", **({"ca_file": authorities} if authorities else {})}


def stream_options(order: Order) -> dict[str, str]:
    """FFmpeg's options for this kind of camera; the order's own win."""
    timeout_us = str(round(order.timeout_s * 1e6))
    scheme, colon, _ = order.uri.partition("://")
    if _is_device(order.uri):
        own = {"timestamps": "abs"}
    elif not colon:
        own = {}
    elif scheme in ("rtsp", "rtsps"):
        own = {
            "rtsp_transport": order.transport,
            "timeout": timeout_us,
            # How long UDP packets wait for those that should come before them.
            "max_delay": "100000" if order.is_low_delay else "500000",
            "buffer_size": "2097152",
        }
    elif scheme == "udp":
        own = {"timeout": timeout_us, "overrun_nonfatal": "1", "buffer_size": "2097152"}
    else:
        own = {
            "rw_timeout": timeout_us,
            # A playlist must not name files of this host.
            "protocol_whitelist": "http,https,httpproxy,tcp,tls,crypto,data",
            "live_start_index": "-1" if order.is_low_delay else "-3",
        }
    return {**_PROBE, **own, **_tls_options(order), **order.options}


def _video_stream(container: av.container.InputContainer, where: str) -> av.VideoStream:
    if not container.streams.video:
        raise SourceError(
            f"{where}: it sends no video; check the path in its uri", "codec_unsupported"
        )
    stream = container.streams.video[0]
    context = stream.codec_context
    if context is None or context.name in ("none", "unknown_codec"):
        raise SourceError(
            f"{where}: FFmpeg here does not decode its video; set the camera to H.264",
            "codec_unsupported",
        )
    context.thread_count = 1  # frame threads add a frame of delay each
    return stream


@dataclass(frozen=True)
class _Reason:
    types: tuple[type[BaseException], ...]
    state: str
    text: str
    is_of_device: bool = False  # elsewhere it means nothing


_REASONS = (
    _Reason(
        (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError),
        "auth_failed",
        "it refuses the login; check user and password in its uri",
    ),
    _Reason(
        (av.error.HTTPNotFoundError, FileNotFoundError),
        "not_found",
        "it is not there; check the path in its uri",
    ),
    _Reason(
        (TimeoutError, av.error.ExitError),
        "timeout",
        "it did not answer in time; check that it is on, and `live.timeout`",
    ),
    _Reason(
        (ssl.SSLError,),
        "lost",
        "no TLS connection came about; if no authority signed its certificate, give that as "
        "`live.options.ca_file`, or set `live.tls_verify: false`",
    ),
    _Reason(
        (av.error.DecoderNotFoundError, av.error.PatchWelcomeError),
        "codec_unsupported",
        "FFmpeg here does not decode its video; set the camera to H.264",
    ),
    _Reason((PermissionError,), "auth_failed", "no permission to open it; change its mode", True),
    _Reason((ConnectionRefusedError,), "refused", "nothing listens there; check host and port"),
)


def _refusal(error: BaseException, where: str) -> SourceError:
    for reason in _REASONS:
        if isinstance(error, reason.types) and (_is_device(where) or not reason.is_of_device):
            return SourceError(f"{where}: {reason.text}", reason.state)
    text = getattr(error, "strerror", None) or str(error)
    return SourceError(f"{where}: the connection failed ({text}); check the camera", "lost")
