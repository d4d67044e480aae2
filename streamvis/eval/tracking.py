"""How well tracks follow labelled objects: HOTA, MOTA and IDF1 of a class group."""

from __future__ import annotations

from streamvis.eval.detection import MatchSettings
from streamvis.eval.labels import DriveLabels
from streamvis.eval.result import Found, TrackingScore


def tracking_score(
    labels: DriveLabels, found: Found, group: str, settings: MatchSettings | None = None
) -> TrackingScore:
    """Score tracked detections (`track_id` unique within the camera; -1 is left out) over all
    labelled cameras. `found` must have every labelled frame. ValueError where the labels have no
    tracks of this group."""
    raise NotImplementedError
