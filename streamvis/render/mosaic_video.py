"""A run's pictures and results, joined into one video and one still picture."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from streamvis.render.draw import draw_caption
from streamvis.render.frame_view import view_frame
from streamvis.render.jpeg import decode_jpeg, write_png
from streamvis.render.mosaic import Mosaic
from streamvis.render.output_file import PendingFile
from streamvis.render.picture import Picture
from streamvis.render.tile_map import tiles_text
from streamvis.render.timeline import Timeline
from streamvis.render.video_writer import VideoWriter
from streamvis.types import CLASSES, Detections, LetterBox, TilePlan

Part = TypeVar("Part")

_MAX_UNPAIRED = 64  # pictures, results and plans of a camera that wait for the others


@dataclass(frozen=True)
class _Result:
    detections: Detections  # in source pixels
    source_size: tuple[int, int]  # (width, height) px
    t_ns: int
    age_ms: float | None


@dataclass(frozen=True)
class _Shot:
    """One frame of one camera with its results."""

    camera: str
    frame_index: int
    jpeg: bytes  # the encoder's input, letter-boxed
    result: _Result
    plan: TilePlan | None  # None: no tile maps are wanted


class MosaicVideo:
    """Writes a mosaic video of all cameras to `path` and a still beside it (`.png`).

    Pictures, results and plans may come in any order; a frame is shown once it has all of them.
    The video runs at the rate of the fastest camera, in capture time. In a replay the same frames
    make the same file. Memory is bounded: a picture whose result never comes is forgotten.
    """

    def __init__(
        self,
        path: Path,
        cameras: Sequence[str],
        classes: Sequence[str] = CLASSES,
        cell_size: tuple[int, int] = (640, 360),
        min_score: float = 0.3,
        fps: float | None = None,
        shows_tiles: bool = False,
    ) -> None:
        """Raises OutputError at once if `path` cannot be written.

        `min_score` hides what is weaker, unless it belongs to a track. `fps` is the fastest
        camera's if not given. With `shows_tiles`, each frame needs its plan."""
        self.path, self.still_path = path, path.with_suffix(".png")
        for output in (self.path, self.still_path):
            PendingFile(output).discard()
        self._classes, self._min_score = classes, min_score
        self._shows_tiles = shows_tiles
        self._mosaic = Mosaic(cameras, cell_size, has_legend=shows_tiles)
        self._timeline: Timeline[_Shot] = Timeline(cameras, fps)
        self._images: dict[str, dict[int, bytes]] = {camera: {} for camera in cameras}
        self._results: dict[str, dict[int, _Result]] = {camera: {} for camera in cameras}
        self._plans: dict[str, dict[int, TilePlan]] = {camera: {} for camera in cameras}
        self._writer: VideoWriter | None = None
        self._fullest = _FullestTick()

    def see_image(self, camera: str, frame_index: int, jpeg: bytes) -> None:
        """`jpeg` is the encoder's input, letter-boxed at the top left."""
        _remember(self._images[camera], frame_index, jpeg)
        self._join(camera, frame_index)

    def see_plan(self, camera: str, frame_index: int, plan: TilePlan) -> None:
        """Which tiles of the frame were encoded; only with `shows_tiles`."""
        assert self._shows_tiles, "nobody wants tile maps"
        _remember(self._plans[camera], frame_index, plan)
        self._join(camera, frame_index)

    def see_detections(
        self,
        camera: str,
        frame_index: int,
        detections: Detections,
        source_size: tuple[int, int],
        t_ns: int,
        age_ms: float | None = None,
    ) -> None:
        """`detections` are in pixels of the source, which is `source_size` (width, height).

        `t_ns` is the capture time, or any one clock that all cameras share."""
        is_shown = (detections.track_id >= 0) | (detections.score >= self._min_score)
        result = _Result(detections[is_shown], source_size, t_ns, age_ms)
        _remember(self._results[camera], frame_index, result)
        self._join(camera, frame_index)

    def close(self) -> int:
        """Finish both files; returns the number of frames in the video.

        Without a single frame there is nothing to show, and no file is written."""
        self._write(self._timeline.flush())
        if self._writer is not None:
            self._writer.close()
            write_png(self.still_path, self._compose(self._fullest.shots))
        return self._fullest.num_ticks

    def discard(self) -> None:
        """Give up and leave no file behind."""
        if self._writer is not None:
            self._writer.discard()

    def _join(self, camera: str, frame_index: int) -> None:
        is_waiting = frame_index in self._images[camera] and frame_index in self._results[camera]
        if not is_waiting or (self._shows_tiles and frame_index not in self._plans[camera]):
            return
        jpeg = self._images[camera].pop(frame_index)
        result = self._results[camera].pop(frame_index)
        plan = self._plans[camera].pop(frame_index, None)
        shot = _Shot(camera, frame_index, jpeg, result, plan)
        self._write(self._timeline.add(camera, result.t_ns, shot))

    def _write(self, ticks: Iterable[Mapping[str, _Shot]]) -> None:
        for shots in ticks:
            if self._writer is None:
                self._writer = VideoWriter(self.path, self._mosaic.size, self._timeline.fps)
            self._writer.write(self._compose(shots))
            self._fullest.see(shots)

    def _compose(self, shots: Mapping[str, _Shot]) -> Picture:
        for camera in self._images:
            if camera in shots:
                self._mosaic.put(camera, self._draw(shots[camera]))
            else:
                self._mosaic.clear(camera)
        return self._mosaic.compose()

    def _draw(self, shot: _Shot) -> Picture:
        """The shot's picture at the size of its cell, with everything painted on it."""
        canvas = decode_jpeg(shot.jpeg)
        letterbox = LetterBox(*shot.result.source_size, canvas.shape[1], canvas.shape[0])
        picture = view_frame(
            *(canvas, letterbox, shot.result.detections, self._classes, self._mosaic.cell_size),
            plan=shot.plan,
        )
        draw_caption(picture, shot.camera, _details(shot))
        return picture


class _FullestTick:
    """The tick with the most detections past the first quarter of a run of unknown length.

    Keeps only the ticks that no later one beats: few, and the first of them is the fullest."""

    def __init__(self) -> None:
        self.num_ticks = 0
        self._best: deque[tuple[int, int, Mapping[str, _Shot]]] = deque()

    @property
    def shots(self) -> Mapping[str, _Shot]:
        return self._best[0][2]

    def see(self, shots: Mapping[str, _Shot]) -> None:
        num_detections = sum(len(shot.result.detections) for shot in shots.values())
        while self._best and self._best[-1][1] <= num_detections:
            self._best.pop()
        self._best.append((self.num_ticks, num_detections, shots))
        self.num_ticks += 1
        while self._best[0][0] < self.num_ticks // 4:
            self._best.popleft()


def _remember(waiting: dict[int, Part], frame_index: int, part: Part) -> None:
    waiting[frame_index] = part
    if len(waiting) > _MAX_UNPAIRED:
        del waiting[next(iter(waiting))]  # the one that waits longest


def _details(shot: _Shot) -> str:
    age = "" if shot.result.age_ms is None else f"   age {shot.result.age_ms:.0f} ms"
    tiles = "" if shot.plan is None else f"   {tiles_text(shot.plan.states())}"
    return f"frame {shot.frame_index}{tiles}{age}"
