"""Labelled and found tracks of one camera, as the tracking metrics want them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TrackFrame:
    """G labelled and D found objects of one frame; an id occurs once in it."""

    label: NDArray[np.int64]  # [G] ids
    found: NDArray[np.int64]  # [D] ids
    similarity: NDArray[np.float64]  # [G, D] IoU


@dataclass(frozen=True)
class TrackSequence:
    """All frames in order; ids count from 0 without gaps, so that they index tables."""

    frames: Sequence[TrackFrame]
    label_count: NDArray[np.int64]  # [I] boxes of each labelled id
    found_count: NDArray[np.int64]  # [J] boxes of each found id

    @staticmethod
    def make(frames: Sequence[TrackFrame]) -> TrackSequence:
        """From frames with any ids."""
        labels, label_count = _renumber([frame.label for frame in frames])
        founds, found_count = _renumber([frame.found for frame in frames])
        renamed = [
            TrackFrame(label, found, frame.similarity)
            for label, found, frame in zip(labels, founds, frames, strict=True)
        ]
        return TrackSequence(renamed, label_count, found_count)

    @property
    def num_labels(self) -> int:
        """Boxes, over all frames."""
        return int(self.label_count.sum())

    @property
    def num_found(self) -> int:
        return int(self.found_count.sum())


def _renumber(
    rows: Sequence[NDArray[np.int64]],
) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """The same ids counted from 0, and how often each occurs."""
    ids = np.concatenate([np.zeros(0, np.int64), *rows])
    _, number, count = np.unique(ids, return_inverse=True, return_counts=True)
    ends = np.cumsum([len(row) for row in rows])
    return np.split(number, ends)[: len(rows)], count
