"""A camera of a recording: its own bitstream, decoded as it was when it was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import chain, dropwhile
from pathlib import Path

import av

from streamvis.errors import SourceError
from streamvis.record.reader import Recording
from streamvis.source.pictures import NO_TIME, Coded, Packet, PictureSource, packet_of
from streamvis.types import AccessUnit, CameraInfo, CaptureTime

_ENDINGS = (".mcap", ".mcap.part")


def is_recording(path: Path) -> bool:
    """A file of a recording, or the folder of one; a folder with a rig.json is a drive."""
    if path.is_dir():
        return not (path / "rig.json").exists() and any(map(is_recording, path.glob("*.mcap*")))
    return path.name.endswith(_ENDINGS)


class RecordedSource(PictureSource):
    """One camera of a recording. Numbers and times of the frames are those they had."""

    def __init__(
        self,
        path: Path,
        recorded: str,
        camera: str,
        input_size: tuple[int, int],
        max_frames: int | None = None,
        with_motion: bool = False,
    ) -> None:
        """`recorded` is the camera's name in the recording; raises SourceError."""
        packets = _RecordedPackets(path, recorded)
        super().__init__(packets, camera, input_size, max_frames, with_motion)


class _RecordedPackets:
    """Access units as packets. What was lost while recording is missing here: after a gap the
    frames up to the next key frame cannot be decoded as they were, and are missing too."""

    def __init__(self, path: Path, camera: str) -> None:
        self._recording = Recording.open(path)
        self._camera = camera
        if camera not in self._recording.cameras:
            names = ", ".join(self._recording.cameras)
            raise SourceError(
                f"{path}: this recording has no camera {camera!r}; it has {names}", "not_found"
            )
        units = self._recording.units(camera)
        first = next(dropwhile(lambda unit: not unit.is_key, units), None)
        if first is None:
            raise SourceError(
                f"{path}: camera {camera} was recorded without its video, or without a key frame; "
                "record it with `streamvis run --record`",
                "no_video",
            )
        self._units: Iterator[AccessUnit] = chain([first], units)
        self._is_over = False
        self.first_index = self._next_index = first.index
        self.time_base = first.time_base
        self._first = first
        self.context = _decoder(first, path)
        self.info = self._camera_info(first)
        self._captures: dict[int, CaptureTime] = {}  # by frame, of those not decoded yet

    def read(self) -> Coded | None:
        if self._is_over:
            self._check_damage()
            return None
        unit = next(self._units, None)
        if unit is None:
            self._is_over = True
            return Coded(av.Packet())
        began_again = unit.index < self._next_index  # another run of the same camera
        missing = 0 if began_again else unit.index - self._next_index
        if missing and not unit.is_key:
            return self._after_gap()
        self._next_index = unit.index + 1
        if not unit.is_reordered:
            self._captures[unit.index] = unit.capture
        is_discont = unit.is_discont or began_again
        return Coded(_packet(unit), missing, is_discont, unit.is_discard, unit)

    def unit(self, packet: Packet, index: int) -> AccessUnit:
        raise AssertionError(f"{packet} {index} came without its unit")

    def capture_time(self, index: int, pts: int) -> CaptureTime:
        del pts
        capture = self._captures.pop(index, NO_TIME)
        return capture if capture.source != "none" else self._planned.get(index, NO_TIME)

    def close(self) -> None:
        self._units = iter(())

    @cached_property
    def _planned(self) -> dict[int, CaptureTime]:
        """Capture times that were not known when the unit was read, but when it was decoded."""
        if "plan" not in self._recording.kinds:
            return {}
        return {plan.frame_index: plan.capture for plan in self._recording.plans(self._camera)}

    def _check_damage(self) -> None:
        """At the end: it is known for sure once everything was read."""
        if self._recording.damage:
            raise SourceError(f"ended early: {self._recording.damage}", "ended_early")

    def _after_gap(self) -> Coded | None:
        key = next(dropwhile(lambda unit: not unit.is_key, self._units), None)
        self._units = chain([key] if key else [], self._units)
        return self.read()

    def _camera_info(self, first: AccessUnit) -> CameraInfo:
        info = self._recording.info
        known = info.cameras.get(self._camera) if info else None
        width, height = first.size
        if known is None:
            return CameraInfo(width, height, 0.0, first.codec)
        return replace(known, num_frames=None)  # what was recorded is all there should be


def _decoder(first: AccessUnit, path: Path) -> av.VideoCodecContext:
    try:
        context = av.CodecContext.create(first.codec, "r")
    except (av.FFmpegError, ValueError):
        raise SourceError(
            f"{path}: FFmpeg here has no decoder for {first.codec}; install a full FFmpeg",
            "codec_unsupported",
        ) from None
    assert isinstance(context, av.VideoCodecContext)
    context.thread_count = 1  # as for files
    context.width, context.height = first.size
    if first.extradata:
        context.extradata = first.extradata
    return context


def _packet(unit: AccessUnit) -> Packet:
    packet = packet_of(unit.data)
    packet.pts, packet.dts, packet.time_base = unit.pts, unit.dts, unit.time_base
    packet.is_keyframe = unit.is_key
    return packet
