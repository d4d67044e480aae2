"""One evaluation from the drive to the result."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamvis.errors import SourceError
from streamvis.eval.assemble import OnStage, assemble
from streamvis.eval.config import EvalConfig
from streamvis.eval.contenders import list_runs
from streamvis.eval.gather import gather_pictures, gather_tile_use
from streamvis.eval.labels import DriveLabels, read_labels
from streamvis.eval.report.pictures import FramePicture
from streamvis.eval.report.tiles import TileUse
from streamvis.eval.result import EvalResult
from streamvis.eval.rounds import Footage
from streamvis.eval.runner import Contender, OnProgress, RunRecord, run_all
from streamvis.source.drive import Drive


@dataclass(frozen=True)
class Options:
    """What the command line may say beside the drive and the configs."""

    out: Path
    cameras: tuple[str, ...] = ()  # empty: all that have labels
    max_frames: int | None = None
    probes: tuple[str, ...] = ()
    speed_factor: float = 1.0
    is_fresh: bool = False  # throw away what an evaluation before this one left


class Evaluation:
    """Checks everything on construction, so that a long run does not fail at its end."""

    def __init__(self, folder: Path, configs: Sequence[EvalConfig], options: Options) -> None:
        """Raises SourceError or OutputError."""
        self._options = options
        self._footage, self._labels = choose_footage(folder, options.cameras, options.max_frames)
        self._contenders = [
            Contender(run, self._footage, options.out, options.is_fresh)
            for run in list_runs(configs, options.probes)
        ]
        self._records: list[RunRecord] = []

    @property
    def resumed(self) -> dict[str, int]:
        """Frames that an earlier process left, by run."""
        return {c.run.name: c.num_frames for c in self._contenders if c.num_turns}

    def run(self, on_progress: OnProgress) -> None:
        """Run what is missing. Raises SourceError, WeightsError, ConfigError or OutputError."""
        self._records = run_all(self._contenders, self._footage, on_progress)

    def score(self, on_stage: OnStage) -> EvalResult:
        return assemble(
            self._footage, self._labels, self._records, self._options.speed_factor, on_stage
        )

    def pictures(self) -> list[FramePicture]:
        return gather_pictures(self._footage, self._labels, self._records)

    def tile_use(self) -> list[TileUse]:
        return gather_tile_use(self._footage, self._records)


def choose_footage(
    folder: Path, cameras: Sequence[str], max_frames: int | None
) -> tuple[Footage, DriveLabels]:
    """What is run, and its labels. Raises SourceError when the drive, its labels and its videos
    do not fit each other."""
    drive = Drive(folder)
    # Labels for a video that is not there do no harm where the cameras are chosen by name.
    labels = read_labels(folder / "labels.json", None if cameras else tuple(drive.cameras))
    for camera in cameras or labels.cameras:
        drive.camera(camera)
        labels.size(camera)
    chosen = tuple(name for name in drive.cameras if name in (cameras or labels.cameras))
    for camera, info in Footage(folder, chosen).infos().items():
        size = (info.width, info.height)
        _check_rig(drive, camera, size)
        _check_capture_times(drive, camera, labels.last_frame(camera))
        labels.check_camera(camera, info.num_frames or sys.maxsize, size)
    limit = max_frames or sys.maxsize
    kept = labels.only([k for k in labels.frames if k[0] in chosen and k[1] < limit])
    if not kept.frames:
        raise SourceError(
            f"{labels.path}: none of the frames to run has labels; raise --max-frames", "not_found"
        )
    if not kept.classes:
        raise SourceError(
            f"{labels.path}: the frames to run have no labelled boxes: nothing to score; label "
            "objects, or run other cameras or more frames",
            "empty",
        )
    return Footage(folder, chosen, max_frames), kept


def _check_rig(drive: Drive, camera: str, size: tuple[int, int]) -> None:
    rig = drive.camera(camera)
    said = (rig.width or size[0], rig.height or size[1])
    if said != size:
        raise SourceError(
            f"{drive.folder / 'rig.json'}: {camera} is said to be {said[0]}x{said[1]} px, but "
            f"{rig.file} is {size[0]}x{size[1]} px; correct rig.json or take the right video",
            "corrupt",
        )


def _check_capture_times(drive: Drive, camera: str, last_frame: int) -> None:
    times = drive.camera(camera).capture_ns
    if times is not None and len(times) <= last_frame:
        raise SourceError(
            f"{drive.folder / 'rig.json'}: capture_ns of camera {camera!r} has {len(times)} "
            f"entries, but labels.json names frame {last_frame}; give one for each frame of the "
            "video, or remove capture_ns",
            "corrupt",
        )
