"""A training run of seconds: a small network, 64 px views, a teacher that sees nothing.

    python tiny_run.py OUT DATA VIEWS MOMENT...

As a program it starts or resumes the run in OUT once for each moment, in a process of its own, a
checkpoint after every batch; at the moment the process kills itself (SIGKILL: no handler, no
clean-up). `checkpoint:N` is before the N-th checkpoint gets its name, `weights:N` between the
N-th weights and their manifest, `step:N` in the N-th step, `end` never. Prints the exit codes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from streamvis.encode.sv_tiny import SvTinyArch
from streamvis.train import batches
from streamvis.train.config import DataConfig, TrainConfig, ViewConfig
from streamvis.train.teacher import Opinion
from streamvis.train.trainer import Trainer, checkpoint_path

ARCH = SvTinyArch(channels=(8, 8, 16), depths=(1, 1), num_mixers=1, pyramid_channels=8)


class SilentTeacher:
    def __init__(self, _: Path) -> None:
        pass

    def check_view(self, side_px: int) -> None:
        pass

    def look(self, image: Any) -> Opinion:
        cells = sum((image.shape[0] // s) ** 2 for s in (8, 16, 32))
        boxes = np.tile(np.array([0, 0, 8, 8], np.float32), (cells, 1))
        return Opinion(boxes, np.zeros((cells, 8), np.float32), np.zeros(80, np.float32))


def make_config(out: Path, data: Path, **changes: Any) -> TrainConfig:
    values: dict[str, Any] = {
        "out": out,
        "data": [DataConfig(coco=data)],
        "teacher": out / "teacher.onnx",
        "view": ViewConfig(size=64, mosaic=0.0, scale=(0.9, 1.1)),
        "views": 16,
        "batch": 4,
        "warmup_views": 4,
        "workers": 0,
        "threads": 1,
        "log_every": 1,
    }
    return TrainConfig(**{**values, **changes})


def kill_at(what: str, number: int) -> None:
    """Count the moments of this kind, and die at the N-th."""
    count = 0

    def die_if_due() -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    replace, step = os.replace, Trainer.step

    def deadly_replace(source: Any, target: Any) -> None:
        if Path(target).name == {"checkpoint": "last.pt", "weights": "sv_tiny.json"}.get(what):
            die_if_due()
        replace(source, target)

    def deadly_step(*args: Any) -> Any:
        losses = step(*args)
        if what == "step":
            die_if_due()
        return losses

    os.replace = deadly_replace  # type: ignore[assignment]
    Path.replace = lambda self, target: deadly_replace(self, target)  # type: ignore[assignment, method-assign]
    Trainer.step = deadly_step  # type: ignore[method-assign]


def run(config: TrainConfig, moment: str) -> None:
    what, _, number = moment.partition(":")
    kill_at(what, int(number or 0))
    trainer = Trainer(config, ARCH)
    if checkpoint_path(config).exists():
        trainer.resume()
    trainer.run(lambda *_: trainer.save())


def main() -> None:
    out, data, views, *moments = sys.argv[1:]
    cv2.setNumThreads(1)
    batches.Teacher = SilentTeacher  # type: ignore[assignment, misc]
    config = make_config(Path(out), Path(data), views=int(views))
    codes = []
    for moment in moments:
        process = get_context("fork").Process(target=run, args=(config, moment))
        process.start()
        process.join()
        codes.append(process.exitcode)
    print(json.dumps(codes))


if __name__ == "__main__":
    main()
