"""Whether a score says how likely a detection is right."""

from __future__ import annotations

from streamvis.eval.detection import Matches
from streamvis.eval.result import Calibration


def calibrate(matches: Matches, num_bins: int = 10) -> Calibration:
    """Reliability bins of equal width and the expected calibration error, at IoU 0.50. Detections
    in ignore regions are left out."""
    raise NotImplementedError
