"""The drive as an evaluation sees it: all cameras in step, one round after the other."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamvis.errors import SourceError
from streamvis.source.base import Source
from streamvis.source.config import SourceConfig
from streamvis.source.drive import Drive
from streamvis.source.open import open_source
from streamvis.types import CameraInfo, Frame

_UNKNOWN_FPS = 30.0
_ANY_SIZE = (64, 64)  # px; nothing is decoded


@dataclass(frozen=True)
class TimedFrame:
    frame: Frame
    media_ns: int  # since the camera's first frame


@dataclass(frozen=True)
class Round:
    """Frames of one moment, at most one a camera, in the order of the cameras."""

    frames: tuple[TimedFrame, ...]

    @property
    def media_ns(self) -> int:
        """When the last of them is there."""
        return max(timed.media_ns for timed in self.frames)


@dataclass(frozen=True)
class Footage:
    """The part of a drive that is run."""

    folder: Path
    cameras: tuple[str, ...]
    max_frames: int | None = None  # of each camera

    def open(self, camera: str, input_size: tuple[int, int], with_motion: bool = False) -> Source:
        """`with_motion`: frames carry the codec's motion. Raises SourceError."""
        config = SourceConfig(uri=str(self.folder), camera=camera, max_frames=self.max_frames)
        return open_source(camera, config, input_size, with_motion)

    def infos(self) -> dict[str, CameraInfo]:
        """What the videos say of themselves. Raises SourceError."""
        infos = {}
        for camera in self.cameras:
            with closing(self.open(camera, _ANY_SIZE)) as source:
                assert source.info is not None, "a drive is no live camera"
                infos[camera] = source.info
        return infos

    def facts(self) -> dict[str, Any]:
        """What changes when the footage does."""
        drive = Drive(self.folder)
        paths = [self.folder / "rig.json", *map(drive.video_path, self.cameras)]
        stats = [path.stat() for path in paths]
        files = [[p.name, s.st_size, s.st_mtime_ns] for p, s in zip(paths, stats, strict=True)]
        return {"cameras": self.cameras, "max_frames": self.max_frames, "files": files}


class RoundReader:
    """Decodes the cameras of a drive together, at one input size.

    Frames belong to one round when they are less than half a frame interval apart.
    """

    def __init__(
        self, footage: Footage, input_size: tuple[int, int], with_motion: bool = False
    ) -> None:
        """`with_motion`: frames carry the codec's motion. Raises SourceError."""
        self._footage = footage
        self._sources = {c: footage.open(c, input_size, with_motion) for c in footage.cameras}
        fps = {name: s.info.fps for name, s in self._sources.items() if s.info}
        self.fps = {name: value or _UNKNOWN_FPS for name, value in fps.items()}
        self._window_ns = round(0.5e9 / max(self.fps.values()))

    def __iter__(self) -> Iterator[Round]:
        """Raises SourceError when a camera's clock runs backwards."""
        merged = heapq.merge(
            *map(self._frames, self._footage.cameras), key=lambda timed: timed.media_ns
        )
        group: dict[str, TimedFrame] = {}
        until_ns = 0
        for timed in merged:
            if group and (timed.frame.camera in group or timed.media_ns > until_ns):
                yield self._round(group)
                group = {}
            if not group:
                until_ns = timed.media_ns + self._window_ns
            group[timed.frame.camera] = timed
        if group:
            yield self._round(group)

    def close(self) -> None:
        for source in self._sources.values():
            source.close()

    def _round(self, group: dict[str, TimedFrame]) -> Round:
        return Round(tuple(group[camera] for camera in self._footage.cameras if camera in group))

    def _frames(self, camera: str) -> Iterator[TimedFrame]:
        source, first_ns, last_ns = self._sources[camera], None, -1
        while source.grab() is not None:
            frame = source.retrieve(0)
            if frame is None:
                continue
            t_ns = round(frame.pts * frame.time_base * 1_000_000_000)
            first_ns = t_ns if first_ns is None else first_ns
            if t_ns - first_ns <= last_ns:
                path = Drive(self._footage.folder).video_path(camera)
                raise SourceError(
                    f"{path}: the time of frame {frame.index} is not after that of the frame "
                    "before it; record or remux the video again",
                    "clock_backwards",
                )
            last_ns = t_ns - first_ns
            yield TimedFrame(frame, last_ns)
