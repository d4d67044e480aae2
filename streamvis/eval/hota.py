"""Higher order tracking accuracy: Luiten et al., IJCV 2020.

G labels and D found boxes of a frame, I labelled and J found tracks, A localisation thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from streamvis.eval.sequence import TrackSequence

Table: TypeAlias = NDArray[np.float64]
Ids: TypeAlias = NDArray[np.int64]
ALPHAS = np.arange(0.05, 0.99, 0.05)  # 0.05, 0.10, ... 0.95
_EPS = np.finfo(np.float64).eps  # an IoU that equals the threshold reaches it


@dataclass(frozen=True)
class HotaCounts:
    """Sums over frames at each threshold; sums of several cameras may be added."""

    num_hits: Table  # [A]
    num_missed: Table  # [A]
    num_false: Table  # [A]
    association: Table  # [A] sum over the hits of how well their two tracks agree
    overlap: Table  # [A] sum over the hits of their IoU

    @staticmethod
    def sum(counts: Sequence[HotaCounts]) -> HotaCounts:
        rows = [list(vars(it).values()) for it in counts]
        return HotaCounts(*(np.sum(column, axis=0) for column in zip(*rows, strict=True)))

    @property
    def HOTA(self) -> float:
        return float(np.sqrt(self._detection * self._association).mean())

    @property
    def DetA(self) -> float:
        return float(self._detection.mean())

    @property
    def AssA(self) -> float:
        return float(self._association.mean())

    @property
    def LocA(self) -> float:
        # As in TrackEval, a threshold without a single hit counts as 1.
        rows = np.divide(
            self.overlap, self.num_hits, out=np.ones(len(ALPHAS)), where=self.num_hits > 0
        )
        return float(rows.mean())

    @property
    def _detection(self) -> Table:
        return self.num_hits / np.maximum(1, self.num_hits + self.num_missed + self.num_false)

    @property
    def _association(self) -> Table:
        return self.association / np.maximum(1, self.num_hits)


def count_hota(sequence: TrackSequence) -> HotaCounts:
    """One assignment a frame, which prefers pairs that agree over the whole sequence."""
    label, found, iou = _pairs(sequence)
    is_hit = iou >= ALPHAS[:, None] - _EPS  # [A, pairs]
    hits = is_hit.sum(axis=1).astype(np.float64)
    return HotaCounts(
        num_hits=hits,
        num_missed=sequence.num_labels - hits,
        num_false=sequence.num_found - hits,
        association=np.array([_associate(sequence, label[row], found[row]) for row in is_hit]),
        overlap=(is_hit * iou).sum(axis=1),
    )


def _pairs(sequence: TrackSequence) -> tuple[Ids, Ids, Table]:
    """The assigned pairs of all frames: their labelled ids, found ids and IoU."""
    agreement = _agreement(sequence)
    label, found, iou = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    for frame in sequence.frames:
        score = agreement[np.ix_(frame.label, frame.found)] * frame.similarity
        rows, columns = linear_sum_assignment(score, maximize=True)
        label.append(frame.label[rows])
        found.append(frame.found[columns])
        iou.append(frame.similarity[rows, columns])
    return np.concatenate(label), np.concatenate(found), np.concatenate(iou)


def _associate(sequence: TrackSequence, label: Ids, found: Ids) -> float:
    """Sum over hits of the Jaccard index of their two tracks: hits that both share, over the
    boxes of either."""
    (label, found), shared = np.unique(np.stack([label, found]), axis=1, return_counts=True)
    either = sequence.label_count[label] + sequence.found_count[found] - shared
    return float((shared * shared / either).sum())


def _agreement(sequence: TrackSequence) -> Table:
    """[I, J] in [0, 1]: over the sequence, the share of two tracks' boxes that may be pairs. A
    box that could go to several shares itself out by IoU."""
    shared = np.zeros((len(sequence.label_count), len(sequence.found_count)))
    for frame in sequence.frames:
        iou = frame.similarity
        rivals = iou.sum(axis=0) + iou.sum(axis=1)[:, None] - iou
        share = np.divide(iou, rivals, out=np.zeros_like(iou), where=rivals > _EPS)
        shared[np.ix_(frame.label, frame.found)] += share
    either = sequence.label_count[:, None] + sequence.found_count - shared
    return shared / either
