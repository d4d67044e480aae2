"""Identity F1: Ristani et al., ECCV Workshops 2016."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from streamvis.eval.sequence import TrackSequence


@dataclass(frozen=True)
class IdentityCounts:
    """Counts of boxes; those of several cameras may be added."""

    num_hits: int  # boxes of label and found tracks that are paired for the whole sequence
    num_labels: int
    num_found: int

    @staticmethod
    def sum(counts: Sequence[IdentityCounts]) -> IdentityCounts:
        rows = [list(vars(it).values()) for it in counts]
        return IdentityCounts(*(sum(column) for column in zip(*rows, strict=True)))

    @property
    def IDF1(self) -> float:
        return 2 * self.num_hits / max(1, self.num_labels + self.num_found)


def count_identity(sequence: TrackSequence, min_iou: float) -> IdentityCounts:
    """Each labelled track gets at most one found track, so that most boxes agree. The paper
    minimises misses plus false boxes; both shrink by one with each hit, so it is the same."""
    shared = np.zeros((len(sequence.label_count), len(sequence.found_count)), np.int64)
    for frame in sequence.frames:
        rows, columns = np.nonzero(frame.similarity >= min_iou)
        shared[frame.label[rows], frame.found[columns]] += 1
    pairs = linear_sum_assignment(shared, maximize=True)
    return IdentityCounts(int(shared[pairs].sum()), sequence.num_labels, sequence.num_found)
