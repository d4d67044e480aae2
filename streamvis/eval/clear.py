"""CLEAR MOT: Bernardin and Stiefelhagen, 2008, with TrackEval's reading of what is open there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from streamvis.eval.sequence import TrackFrame, TrackSequence

_EPS = np.finfo(np.float64).eps
_CONTINUED = 1000.0  # keeping the pair of the frame before goes before any overlap


@dataclass(frozen=True)
class ClearCounts:
    """Counts of boxes; those of several cameras may be added."""

    num_hits: int
    num_missed: int
    num_false: int
    num_switches: int

    @staticmethod
    def sum(counts: Sequence[ClearCounts]) -> ClearCounts:
        rows = [list(vars(it).values()) for it in counts]
        return ClearCounts(*(sum(column) for column in zip(*rows, strict=True)))

    @property
    def MOTA(self) -> float:
        num_labels = max(1, self.num_hits + self.num_missed)
        return (self.num_hits - self.num_false - self.num_switches) / num_labels


def count_clear(sequence: TrackSequence, min_iou: float) -> ClearCounts:
    """A switch: a labelled object is found with another id than when it was last found."""
    last = np.full(len(sequence.label_count), -1, np.int64)  # found id, however long ago
    previous = last.copy()  # found id in the frame before
    num_hits = num_switches = 0
    for frame in sequence.frames:
        if not len(frame.label) or not len(frame.found):
            continue  # `previous` stays, as in TrackEval: nothing could be matched here
        rows, columns = _pair(frame, previous, min_iou)
        label, found = frame.label[rows], frame.found[columns]
        num_hits += len(rows)
        num_switches += int(np.sum((last[label] >= 0) & (last[label] != found)))
        last[label] = found
        previous[:] = -1
        previous[label] = found
    return ClearCounts(
        num_hits=num_hits,
        num_missed=sequence.num_labels - num_hits,
        num_false=sequence.num_found - num_hits,
        num_switches=num_switches,
    )


def _pair(
    frame: TrackFrame, previous: NDArray[np.int64], min_iou: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the best one-to-one assignment."""
    is_continued = previous[frame.label][:, None] == frame.found
    score = _CONTINUED * is_continued + frame.similarity
    score[frame.similarity < min_iou - _EPS] = 0
    rows, columns = linear_sum_assignment(score, maximize=True)
    is_pair = score[rows, columns] > _EPS
    return rows[is_pair], columns[is_pair]
