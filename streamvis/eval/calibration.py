"""Whether a score says how likely a detection is right."""

from __future__ import annotations

import numpy as np

from streamvis.eval.detection import Matches
from streamvis.eval.precision import IOU_50
from streamvis.eval.result import Calibration


def calibrate(matches: Matches, num_bins: int = 10) -> Calibration:
    """Reliability bins of equal width and the expected calibration error, at IoU 0.50. Detections
    in ignore regions are left out."""
    judged = ~matches.ignored[0, IOU_50]
    score = matches.score[judged]
    is_right = matches.label[0, IOU_50, judged] >= 0
    number = np.minimum((score * num_bins).astype(np.int64), num_bins - 1)  # 1.0: the last bin
    count = np.bincount(number, minlength=num_bins)
    with np.errstate(invalid="ignore"):
        mean_score = np.bincount(number, weights=score, minlength=num_bins) / count
        precision = np.bincount(number, weights=is_right, minlength=num_bins) / count
    gap = np.nan_to_num(np.abs(mean_score - precision))
    ece = float((gap * count).sum() / max(1, count.sum()))  # Guo et al., ICML 2017
    return Calibration(mean_score, precision, count, ece)
