"""Video files through PyAV: H.264, HEVC, VP9, MJPEG and whatever else FFmpeg decodes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import datetime
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av

from streamvis.errors import SourceError
from streamvis.source.bitstream import UnitWriter
from streamvis.source.pictures import NO_TIME, Coded, Packet, PictureSource
from streamvis.types import AccessUnit, CameraInfo, CaptureTime, Intrinsics

_CONTAINER_UNCERTAINTY_NS = 1_000_000_000  # creation_time is given in whole seconds


class VideoSource(PictureSource):
    """One video file.

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
        intrinsics: Intrinsics | None = None,
        with_motion: bool = False,
    ) -> None:
        packets = _FilePackets(path, capture_ns, capture_uncertainty_ns, max_frames, intrinsics)
        super().__init__(packets, camera, input_size, max_frames, with_motion)


class _FilePackets:
    """The packets of a container's first video stream."""

    first_index = 0

    def __init__(
        self,
        path: Path,
        capture_ns: Sequence[int] | None,
        capture_uncertainty_ns: int,
        max_frames: int | None,
        intrinsics: Intrinsics | None,
    ) -> None:
        self._capture_ns = capture_ns
        self._capture_uncertainty_ns = capture_uncertainty_ns
        self._container = _open(path)
        try:
            self._stream = _video_stream(self._container, path)
            self._start_ns = _creation_time_ns(self._container)
            self._packets = self._demux()
            self._first: Packet | None = _first_packet(self._packets, path)
        except SourceError:
            self._container.close()
            raise
        self.context = self._stream.codec_context
        self.time_base = self._stream.time_base or Fraction(1, 1)
        declared = len(capture_ns) if capture_ns is not None else self._stream.frames or None
        self.info = CameraInfo(
            self.context.width,
            self.context.height,
            float(self._stream.average_rate or 0),
            self.context.name,
            declared if max_frames is None else min(declared or max_frames, max_frames),
            intrinsics,
        )

    def read(self) -> Coded | None:
        packet = self._first or next(self._packets, None)
        self._first = None
        return Coded(packet) if packet is not None else None

    def unit(self, packet: Packet, index: int) -> AccessUnit:
        capture = self.capture_time(index, packet.pts or 0)
        return self._writer.unit(packet, self.context, index, self.time_base, capture)

    def capture_time(self, index: int, pts: int) -> CaptureTime:
        if self._capture_ns is not None and index < len(self._capture_ns):
            return CaptureTime(self._capture_ns[index], "device", self._capture_uncertainty_ns)
        if self._start_ns is not None:
            offset_ns = round(pts * self.time_base * 1_000_000_000)
            return CaptureTime(self._start_ns + offset_ns, "container", _CONTAINER_UNCERTAINTY_NS)
        return NO_TIME

    def close(self) -> None:
        self._packets.close()
        self._container.close()

    @cached_property
    def _writer(self) -> UnitWriter:
        return UnitWriter(self._stream)

    def _demux(self) -> Generator[Packet, None, None]:
        """Every packet of the video, the empty flush packet last; a broken file just ends."""
        try:
            yield from self._container.demux(self._stream)
        except av.FFmpegError:
            yield from ()


def _first_packet(packets: Generator[Packet, None, None], path: Path) -> Packet:
    first = next(packets, None)
    if first is None or first.size == 0:
        raise SourceError(f"{path}: it has no video frames; record it again", "empty")
    if first.pts is None and first.dts is None:
        raise SourceError(
            f"{path}: its frames carry no time; put it into a container: "
            f"ffmpeg -i {path.name} -c copy {path.stem}.mp4",
            "no_timestamps",
        )
    return first


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
