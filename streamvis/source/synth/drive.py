"""A scene as a drive folder: rig.json, labels.json and one H.264 file per camera."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from streamvis.source import framecode
from streamvis.source.synth.extras import write_extras
from streamvis.source.synth.folder import whole_folder
from streamvis.source.synth.labels import CocoLabels
from streamvis.source.synth.scene import StreetScene

Progress = Callable[[int, int], None]  # frames done, frames in all
DEFAULT_CRF = 29


def write_drive(
    scene: StreetScene,
    folder: Path,
    progress: Progress | None = None,
    *,
    frame_code: bool = True,
    replace: bool = False,
    crf: int = DEFAULT_CRF,
    extras: Sequence[str] = (),
) -> None:
    """Render every frame of every camera into `folder`, which appears whole or not at all.

    `extras` are some of extras.EXTRAS: one PNG a frame beside the videos.
    """
    with whole_folder(folder, replace) as work:
        _write_files(scene, work, progress, frame_code, crf, extras)


def _write_files(
    scene: StreetScene, work: Path, progress: Progress | None, frame_code: bool, crf: int,
    extras: Sequence[str],
) -> None:  # fmt: skip
    config, labels = scene.config, CocoLabels(scene.attributes())
    total = config.num_frames * len(config.cameras)
    rig = scene.rig()
    for position, camera in enumerate(config.cameras):
        with CameraFile(
            work / rig[camera]["file"], config.width, config.height, config.fps, crf
        ) as video:
            for index in range(config.num_frames):
                frame = scene.render(camera, index)
                labels.add(frame)
                write_extras(scene, frame, work, extras)
                if frame_code:
                    framecode.write(frame.image, index, config.camera_number(camera))
                video.add(frame.image)
                if progress is not None:
                    progress(position * config.num_frames + index + 1, total)
    _write_json(work / "rig.json", rig)
    _write_json(work / "labels.json", labels.coco())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n")


class CameraFile:
    """H.264 as cameras send it: no B-frames, a key frame each second."""

    def __init__(self, path: Path, width: int, height: int, fps: int, crf: int) -> None:
        self._file = av.open(str(path), "w", format="mp4")
        self._stream = self._file.add_stream("libx264", rate=Fraction(fps))
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.gop_size = fps
        self._stream.codec_context.max_b_frames = 0
        # One thread: the same pictures give the same bytes on every machine.
        self._stream.options = {"crf": str(crf), "preset": "slow", "threads": "1"}

    def __enter__(self) -> CameraFile:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure is None:
            self._file.mux(self._stream.encode(None))
        self._file.close()

    def add(self, image: NDArray[np.uint8]) -> None:
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        self._file.mux(self._stream.encode(frame))
