"""Video files through PyAV: H.264, HEVC, VP9, MJPEG and whatever else FFmpeg decodes."""

from __future__ import annotations

import time
from bisect import insort
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from streamvis.errors import SourceError
from streamvis.source.base import LetterBoxer
from streamvis.types import CameraInfo, CaptureTime, Frame

_Packet: TypeAlias = "av.Packet[av.VideoStream]"
_CONTAINER_UNCERTAINTY_NS = 1_000_000_000  # creation_time is given in whole seconds
_NO_TIME = CaptureTime(0, "none", 0)


class VideoSource:
    """One video file, decoded straight to the encoder's letter-boxed RGB input.

    swscale converts and scales in one pass, so no full-size RGB picture is ever made.
    `capture_ns` (Unix ns per frame, from a drive's rig.json) beats the container's clock, and
    its length says how many frames there should be.
    """

    def __init__(
        self,
        path: Path,
        camera: str,
        input_size: tuple[int, int],
        capture_ns: Sequence[int] | None = None,
        capture_uncertainty_ns: int = 0,
        max_frames: int | None = None,
    ) -> None:
        self._camera = camera
        self._boxer = LetterBoxer(input_size)
        self._capture_ns = capture_ns
        self._capture_uncertainty_ns = capture_uncertainty_ns
        self._max_frames = max_frames
        self._container = _open(path)
        try:
            self._stream = _video_stream(self._container, path)
            self._start_ns = _creation_time_ns(self._container)
            self._packets = self._stream_packets()
            self._held = next(self._packets, None)
            if self._held is None or self._held.size == 0:
                raise SourceError(f"{path}: it has no video frames; record it again", "empty")
            if self._held.pts is None and self._held.dts is None:
                raise SourceError(
                    f"{path}: its frames carry no time; put it into a container: "
                    f"ffmpeg -i {path.name} -c copy {path.stem}.mp4",
                    "no_timestamps",
                )
        except SourceError:
            self._container.close()
            raise
        self._reformatter = VideoReformatter()
        self._decoded: deque[av.VideoFrame] = deque()
        self._first_time_ns: int | None = None
        self._last_pts: int | None = None
        self._last_size: tuple[int, int] | None = None
        self._order = _FrameOrder()
        self._lost_source = 0
        declared = len(capture_ns) if capture_ns is not None else self._stream.frames or None
        self._expected = declared if max_frames is None else min(declared or max_frames, max_frames)
        context = self._stream.codec_context
        self.info = CameraInfo(
            context.width,
            context.height,
            float(self._stream.average_rate or 0),
            context.name,
            self._expected,
        )

    @property
    def lost_source(self) -> int:
        return self._lost_source

    @property
    def lost_decode(self) -> int:
        return self._order.num_lost

    def grab(self) -> int | None:
        if self._max_frames is not None and self._order.num_seen >= self._max_frames:
            return None
        if self._decoded:
            return self._media_time_ns(self._decoded[0].pts)
        packet = self._held or next(self._packets, None)
        self._held = packet
        if packet is None:
            self._close_account()
            return None
        return self._media_time_ns(packet.dts if packet.dts is not None else packet.pts)

    def retrieve(self, t_ingest_ns: int) -> Frame | None:
        if not self._decoded:
            packet, self._held = self._held, None
            assert packet is not None, "grab() comes before retrieve()"
            self._decode(packet)
        if not self._decoded:
            return None
        return self._to_frame(self._decoded.popleft(), t_ingest_ns)

    def close(self) -> None:
        self._packets.close()
        self._container.close()

    def _stream_packets(self) -> Generator[_Packet, None, None]:
        """Every packet of the video, the empty flush packet last; a broken file just ends."""
        try:
            yield from self._container.demux(self._stream)
        except av.FFmpegError:
            yield from ()

    def _decode(self, packet: _Packet) -> None:
        if packet.size:
            self._order.push(packet.pts, packet.dts)
        with suppress(av.FFmpegError):  # what gives no picture stays in the order, and is counted
            self._decoded.extend(packet.decode())

    def _close_account(self) -> None:
        """At the end: packets that gave no picture, and frames that never came."""
        self._order.close()
        if self._expected is not None:
            self._lost_source = max(0, self._expected - self._order.num_seen)

    def _media_time_ns(self, timestamp: int | None) -> int:
        time_base = self._stream.time_base or Fraction(1, 1)
        time_ns = round((timestamp or 0) * time_base * 1_000_000_000)
        if self._first_time_ns is None:
            self._first_time_ns = time_ns
        return time_ns - self._first_time_ns

    def _to_frame(self, picture: av.VideoFrame, t_ingest_ns: int) -> Frame:
        letterbox = self._boxer.box(picture.width, picture.height)
        width, height = letterbox.content_size
        scaled = self._reformatter.reformat(
            picture, width=width, height=height, format="rgb24", interpolation="BILINEAR"
        )
        image = self._boxer.place(scaled.to_ndarray().astype(np.uint8, copy=False))
        pts = picture.pts or 0
        index = self._order.pop(pts)
        frame = Frame(
            camera=self._camera,
            index=index,
            image=image,
            letterbox=letterbox,
            pts=pts,
            time_base=picture.time_base or Fraction(1, 1),
            capture=self._capture_time(index, pts, picture.time_base),
            t_ingest_ns=t_ingest_ns,
            t_decoded_ns=time.monotonic_ns(),
            lost_decode=self._order.num_lost,
            is_discont=self._is_discont(pts, (picture.width, picture.height)),
            is_corrupt=picture.is_corrupt,
        )
        self._last_pts, self._last_size = pts, (picture.width, picture.height)
        return frame

    def _is_discont(self, pts: int, size: tuple[int, int]) -> bool:
        went_back = self._last_pts is not None and pts <= self._last_pts
        return went_back or self._last_size not in (None, size)

    def _capture_time(self, index: int, pts: int, time_base: Fraction | None) -> CaptureTime:
        if self._capture_ns is not None and index < len(self._capture_ns):
            return CaptureTime(self._capture_ns[index], "device", self._capture_uncertainty_ns)
        if self._start_ns is not None:
            offset_ns = round(pts * (time_base or Fraction(1, 1)) * 1_000_000_000)
            return CaptureTime(self._start_ns + offset_ns, "container", _CONTAINER_UNCERTAINTY_NS)
        return _NO_TIME


class _FrameOrder:
    """Numbers decoded pictures by the packets they come from, so that a picture the decoder
    swallowed leaves a gap in the numbers and not a shift."""

    def __init__(self) -> None:
        self.num_seen = 0  # frames of the source, lost ones included
        self.num_lost = 0
        self._waiting: list[tuple[int, int]] = []  # (segment, pts) of packets without a picture yet
        self._segment = 0  # times of one segment only grow
        self._last_dts: int | None = None

    def push(self, pts: int | None, dts: int | None) -> None:
        if dts is not None:
            self._segment += self._last_dts is not None and dts < self._last_dts
            self._last_dts = dts
        insort(self._waiting, (self._segment, pts if pts is not None else dts or 0))

    def pop(self, pts: int) -> int:
        """The index of the picture with this pts; those due before it are lost."""
        place = next((i for i, (_, due) in enumerate(self._waiting) if due == pts), 0)
        del self._waiting[: place + 1]
        self.num_lost += place
        self.num_seen += place + 1
        return self.num_seen - 1

    def close(self) -> None:
        """No more pictures: what still waits is lost."""
        self.num_lost += len(self._waiting)
        self.num_seen += len(self._waiting)
        self._waiting.clear()


def _open(path: Path) -> av.container.InputContainer:
    if not path.is_file():
        raise SourceError(f"{path}: there is no such video file; check `uri`", "not_found")
    if path.stat().st_size == 0:
        raise SourceError(f"{path}: this file is empty; record or copy it again", "empty")
    try:
        return av.open(str(path))
    except PermissionError:
        raise SourceError(f"{path}: no permission to read; change its mode", "denied") from None
    except av.FFmpegError as error:
        raise SourceError(
            f"{path}: not a video FFmpeg can open, or cut short ({error.strerror}); "
            "check it with ffprobe, or copy it again",
            "corrupt",
        ) from None


def _video_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    if not container.streams.video:
        raise SourceError(f"{path}: this file has no video stream; give a video", "no_video")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise SourceError(
            f"{path}: its video codec is not supported; transcode it to H.264", "codec_unsupported"
        )
    # One thread a camera: frame threads add a frame of delay each, and cameras share the cores.
    stream.codec_context.thread_count = 1
    return stream


def _creation_time_ns(container: av.container.InputContainer) -> int | None:
    text = container.metadata.get("creation_time")
    if not text:
        return None
    try:
        return round(datetime.fromisoformat(text).timestamp()) * 1_000_000_000
    except ValueError:
        return None
