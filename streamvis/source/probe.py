"""What a camera or video sends, measured: before it is put into a pipeline."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags2
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from streamvis.errors import SourceError
from streamvis.redact import redact
from streamvis.source.base import LetterBoxer
from streamvis.source.config import LiveConfig, is_live
from streamvis.source.decode_link import Order
from streamvis.source.pictures import Packet
from streamvis.source.stream import StreamPackets
from streamvis.types import CaptureTime

_MAX_FILE_FRAMES = 300
_S = 1_000_000_000


@dataclass(frozen=True)
class ProbeReport:
    """Times are of this machine, with nothing else that is measured running beside it."""

    uri: str  # without credentials
    codec: str
    profile: str  # "" if the codec has none
    pixel_format: str
    width: int
    height: int
    declared_fps: float  # 0 if it is not declared, or cannot be true
    fps: float  # by the time stamps of the pictures
    bit_rate_kbps: float
    gop_frames: int  # longest distance between key frames; 0 if only one came
    gop_s: float
    has_b_frames: bool
    has_motion_vectors: bool
    capture_source: str
    capture_uncertainty_ms: float
    open_s: float  # until the stream was described
    first_picture_s: float  # from the beginning
    decode_ms_p50: float  # decoded and scaled to the encoder's input
    decode_ms_p99: float
    num_packets: int
    num_pictures: int
    advice: tuple[str, ...]  # what will be slow, late or unknown, and what to do about it


@dataclass
class _Tally:
    """What was seen so far."""

    pts_s: list[float] = field(default_factory=list)
    keys_s: list[float] = field(default_factory=list)
    key_numbers: list[int] = field(default_factory=list)
    num_bytes: int = 0
    num_packets: int = 0
    decode_ms: list[float] = field(default_factory=list)
    first_picture_ns: int = 0
    num_b: int = 0
    num_vectors: int = 0
    num_pictures: int = 0
    capture: CaptureTime | None = None

    def see_packet(self, packet: Packet, pts_s: float) -> None:
        if packet.is_keyframe:
            self.keys_s.append(pts_s)
            self.key_numbers.append(self.num_packets)
        self.pts_s.append(pts_s)
        self.num_packets += 1
        self.num_bytes += packet.size

    def see_picture(self, picture: av.VideoFrame) -> None:
        self.num_pictures += 1
        self.num_b += picture.pict_type == PictureType.B
        self.num_vectors += picture.side_data.get("MOTION_VECTORS") is not None

    @property
    def span_s(self) -> float:
        return max(self.pts_s) - min(self.pts_s) if self.pts_s else 0.0


def probe(
    uri: str, live: LiveConfig, duration_s: float, input_size: tuple[int, int]
) -> ProbeReport:
    """Read it for `duration_s` and decode every picture as a pipeline with this input size would.

    Raises SourceError.
    """
    _check(uri)
    began_ns = time.monotonic_ns()
    order = Order(
        uri=uri,
        transport=live.transport,
        timeout_s=live.timeout / 1e9,
        is_low_delay=live.low_delay,
        options=live.options,
        zero_ns=None,
        last_ns=0,
        wants_units=False,
        is_verifying=live.tls_verify,
    )
    packets = StreamPackets(order)
    try:
        open_s = (time.monotonic_ns() - began_ns) / 1e9
        packets.context.flags2 |= Flags2.export_mvs
        tally = _read(packets, is_live(uri), duration_s, input_size)
        return _report(packets, tally, uri, open_s, began_ns)
    finally:
        packets.close()


def _check(uri: str) -> None:
    if uri.startswith("srt://"):
        raise SourceError(
            f"{uri}: PyAV's FFmpeg is built without SRT; let a relay turn it into rtsp:// or udp://",
            "codec_unsupported",
        )
    if "://" in uri or is_live(uri):
        return
    if Path(uri).is_dir():
        raise SourceError(f"{uri}: this is a folder; probe one of the videos in it", "no_video")
    if not Path(uri).exists():
        raise SourceError(f"{uri}: there is no such file; check the path", "not_found")


def _read(
    packets: StreamPackets, is_live: bool, duration_s: float, size: tuple[int, int]
) -> _Tally:
    tally, boxer, scaler = _Tally(), LetterBoxer(size), VideoReformatter()
    for packet in _packets_for(packets, is_live, duration_s, tally):
        before_ns = time.monotonic_ns()
        for picture in _decode(packets, packet):
            width, height = boxer.box(picture.width, picture.height).content_size
            scaler.reformat(picture, width, height, "rgb24", interpolation="BILINEAR")
            tally.first_picture_ns = tally.first_picture_ns or time.monotonic_ns()
            tally.see_picture(picture)
            tally.capture = packets.capture_time(0, picture.pts or 0)
        tally.decode_ms.append((time.monotonic_ns() - before_ns) / 1e6)
    return tally


def _packets_for(
    packets: StreamPackets, is_live: bool, duration_s: float, tally: _Tally
) -> Iterator[Packet]:
    """A live camera for so long by the clock, a file for so long of its own time."""
    end_ns = time.monotonic_ns() + round(duration_s * _S)
    while (coded := packets.read()) is not None:
        packet = coded.packet
        if packet.size:
            time_of = packet.pts if packet.pts is not None else packet.dts
            tally.see_packet(packet, float((time_of or 0) * packets.time_base))
        yield packet
        is_enough = tally.span_s >= duration_s or tally.num_packets >= _MAX_FILE_FRAMES
        if time.monotonic_ns() > end_ns if is_live else is_enough:
            return


def _decode(packets: StreamPackets, packet: Packet) -> list[av.VideoFrame]:
    try:
        return packets.context.decode(packet)
    except av.FFmpegError:
        return []


def _report(
    packets: StreamPackets, tally: _Tally, uri: str, open_s: float, began_ns: int
) -> ProbeReport:
    if not tally.num_pictures:
        raise SourceError(
            f"{uri}: {tally.num_packets} packets came and no picture could be decoded; "
            "probe for longer than its key frame interval",
            "timeout",
        )
    context, capture = packets.context, tally.capture
    gop_frames = max(np.diff(tally.key_numbers), default=0)
    p50, p99 = np.percentile(tally.decode_ms, [50, 99]).tolist()
    source, uncertainty_ns = _capture_of(uri, packets, capture)
    report = ProbeReport(
        uri=redact(uri),
        codec=context.name,
        profile=context.profile or "",
        pixel_format=context.pix_fmt or "?",
        width=context.width,
        height=context.height,
        declared_fps=packets.declared_fps,
        fps=(len(tally.pts_s) - 1) / tally.span_s if tally.span_s else 0.0,
        bit_rate_kbps=tally.num_bytes * 8 / 1000 / tally.span_s if tally.span_s else 0.0,
        gop_frames=int(gop_frames),
        gop_s=float(max(np.diff(tally.keys_s), default=0.0)),
        has_b_frames=tally.num_b > 0,
        has_motion_vectors=tally.num_vectors > 0,
        capture_source=source,
        capture_uncertainty_ms=uncertainty_ns / 1e6,
        open_s=open_s,
        first_picture_s=(tally.first_picture_ns - began_ns) / 1e9,
        decode_ms_p50=p50,
        decode_ms_p99=p99,
        num_packets=tally.num_packets,
        num_pictures=tally.num_pictures,
        advice=(),
    )
    return ProbeReport(**{**vars(report), "advice": tuple(_advice(report, is_live(uri)))})


def _capture_of(uri: str, packets: StreamPackets, capture: CaptureTime | None) -> tuple[str, int]:
    """A file's pictures did not just arrive: it has its container's word, or none."""
    if is_live(uri):
        return (capture.source, capture.uncertainty_ns) if capture else ("none", 0)
    return ("container", _S) if packets.creation_time else ("none", 0)


_CORE_SHARE = 0.25  # of a core's time that one camera may take before it is worth a word
_LONG_GOP_S = 2.0
_WRONG_FPS = 0.1


def _advice(report: ProbeReport, is_live: bool) -> Iterator[str]:
    share = report.decode_ms_p50 / 1000 * report.fps
    if share > _CORE_SHARE:
        yield (
            f"decoding takes {share:.0%} of a core; use the camera's smaller stream if it has one"
        )
    if report.has_b_frames and is_live:
        yield "B-frames make every picture late by a few frames; switch them off in the camera"
    if is_live and report.gop_s > _LONG_GOP_S:
        yield (
            f"a key frame every {report.gop_s:.1f} s only: after a loss the first picture takes "
            "up to so long; set 1 to 2 s in the camera"
        )
    if is_live and not report.gop_frames:
        yield "fewer than two key frames came; probe for longer with --seconds"
    if report.declared_fps and abs(report.fps / report.declared_fps - 1) > _WRONG_FPS:
        yield f"it declares {report.declared_fps:g} frames/s and sends {report.fps:.1f}"
    if is_live and report.capture_source == "arrival":
        yield (
            "no RTCP report gave the camera's own time in this while: capture times are those of "
            f"arrival, ±{report.capture_uncertainty_ms:.0f} ms"
        )
    if report.capture_source == "rtcp" and report.capture_uncertainty_ms > 1000:
        yield "the camera's clock is far off this machine's; give it an NTP server"
    if not report.has_motion_vectors:
        yield "the decoder gives no motion vectors for it"
