"""Views with the teacher's opinion, stacked for the network; the loader's workers do this.

B batch   S view side, px   N objects of the whole batch   A cells   K classes
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from streamvis.detect.onnx_yolox import STRIDES
from streamvis.train.config import TrainConfig
from streamvis.train.pictures import Picture
from streamvis.train.teacher import Opinion, Teacher
from streamvis.train.views import CELL_PX, View, ViewMaker


@dataclass(frozen=True)
class Batch:
    images: Tensor  # uint8 [B, S, S, 3] RGB
    row: Tensor  # int64 [N] which image of the batch
    xyxy: Tensor  # float32 [N, 4] px
    class_id: Tensor  # int64 [N]
    labelled: Tensor  # bool [B, A, K]
    ignored: Tensor  # bool [B, A]
    teacher_xyxy: Tensor  # float32 [B, A, 4] px
    teacher_score: Tensor  # float32 [B, A, K]
    presence: Tensor  # float32 [B, 80]


class Views(Dataset[tuple[View, Opinion]]):
    """View i of the run, and what the teacher thinks of it."""

    def __init__(self, pictures: Sequence[Picture], config: TrainConfig) -> None:
        self._maker = ViewMaker(pictures, config.view, config.seed)
        self._config = config
        self._teacher: Teacher | None = None

    def __getitem__(self, index: int) -> tuple[View, Opinion]:
        if self._teacher is None:  # a session does not survive the fork into a worker
            self._teacher = Teacher(self._config.teacher)
        view = self._maker.make(index)
        return view, self._teacher.look(view.image)


def load_batches(
    pictures: Sequence[Picture], config: TrainConfig, start: int
) -> DataLoader[tuple[View, Opinion]]:
    """Batches of views `start` to `config.views`: a resumed run goes on where it stopped."""
    Teacher(config.teacher).check_view(config.view.size)  # told here, not in a worker process
    return DataLoader(
        Views(pictures, config),
        batch_size=config.batch,
        sampler=range(start, config.views),
        num_workers=config.workers,
        collate_fn=collate,
        drop_last=True,
        prefetch_factor=4 if config.workers else None,
        multiprocessing_context="fork" if config.workers else None,  # shares the pictures
    )


def collate(items: Sequence[tuple[View, Opinion]]) -> Batch:
    views = [view for view, _ in items]
    opinions = [opinion for _, opinion in items]
    counts = [len(view.xyxy) for view in views]
    return Batch(
        images=_stack([view.image for view in views]),
        row=torch.repeat_interleave(torch.arange(len(views)), torch.tensor(counts)),
        xyxy=torch.from_numpy(np.concatenate([view.xyxy for view in views])),
        class_id=torch.from_numpy(np.concatenate([view.class_id for view in views])),
        labelled=_stack([_at_all_strides(view.labelled) for view in views]),
        ignored=_stack([_at_all_strides(view.ignored) for view in views]),
        teacher_xyxy=_stack([opinion.xyxy for opinion in opinions]),
        teacher_score=_stack([opinion.score for opinion in opinions]),
        presence=_stack([opinion.presence for opinion in opinions]),
    )


def _stack(arrays: Sequence[NDArray[np.generic]]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))


def _at_all_strides(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[c, c, ...] at the finest stride -> [A, ...]; a coarse cell takes its middle's value."""
    levels = []
    for stride in STRIDES:
        step = stride // CELL_PX
        level = cells[step // 2 :: step, step // 2 :: step]
        levels.append(level.reshape(-1, *cells.shape[2:]))
    return np.concatenate(levels)
