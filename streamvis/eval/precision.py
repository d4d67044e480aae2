"""Precision over recall from matches, each with a weight: the one kernel of AP and its bootstrap.

B draws of the bootstrap, D detections, L labels, P hits, R recalls, T IoU thresholds, U units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

NUM_IOUS = 10  # 0.50, 0.55, ... 0.95
IOU_50, IOU_75 = 0, 5  # their rows
RECALLS = np.linspace(0.0, 1.0, 101)  # COCO's
_TINY = np.spacing(1)  # as in COCOeval.accumulate


@dataclass(frozen=True)
class WeightedMatches:
    """Matches whose labels and detections belong to units; a unit counts as often as drawn."""

    label: NDArray[np.int64]  # [T, D] matched label's row or -1; detections best first
    ignored: NDArray[np.bool_]  # [T, D]
    is_counted: NDArray[np.bool_]  # [L]
    label_unit: NDArray[np.int64]  # [L]
    unit: NDArray[np.int64]  # [D] the unit that a detection belongs to when it is false
    num_units: int

    def precision(self, iou: int, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """[R, B] for the threshold of this row, and unit weights [U, B]. nan: nothing to find."""
        is_false = (self.label[iou] < 0) & ~self.ignored[iou]
        hits = np.flatnonzero((self.label[iou] >= 0) & ~self.ignored[iou])  # [P]
        true = np.cumsum(weight[self.label_unit[self.label[iou, hits]]], axis=0)  # [P, B]
        false = np.cumsum(self._false_before(hits, np.flatnonzero(is_false)) @ weight, axis=0)
        total = self._labels_of_units() @ weight  # [B]
        return interpolate(true, false, total)

    def _false_before(self, hits: NDArray[np.int64], false: NDArray[np.int64]) -> csr_array:
        """[P, U] false detections of each unit between one hit and the hit before it. Precision
        matters at hits only: in between it falls."""
        hit = np.searchsorted(hits, false)
        rows = hit < len(hits)
        entries = np.ones(rows.sum()), (hit[rows], self.unit[false[rows]])
        return csr_array(entries, shape=(len(hits), self.num_units))

    def _labels_of_units(self) -> NDArray[np.float64]:
        """[U]"""
        units = self.label_unit[self.is_counted]
        return np.bincount(units, minlength=self.num_units).astype(np.float64)


def interpolate(
    true: NDArray[np.float64], false: NDArray[np.float64], total: NDArray[np.float64]
) -> NDArray[np.float64]:
    """COCO's interpolated precision [R, B] at RECALLS, from the true and false detections so far
    at each hit [P, B] and the number of labels [B]."""
    precision = true / (false + true + _TINY)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    envelope = np.append(envelope, np.zeros((1, len(total))), axis=0)  # recall never reached
    with np.errstate(invalid="ignore"):
        recall = np.ascontiguousarray((true / total).T)  # [P, B] -> [B, P]
    index = np.stack([np.searchsorted(row, RECALLS) for row in recall], axis=1)  # [R, B]
    found: NDArray[np.float64] = np.take_along_axis(envelope, index, axis=0)
    found[:, total == 0] = np.nan
    return found
