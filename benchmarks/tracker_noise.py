"""Where the tracker's two motion constants come from: a sweep on the synthetic street's labels.

    python benchmarks/tracker_noise.py

True boxes go in as detections: as they are, jittered with 15 % missing, and every third frame
only. The rule, fixed before the sweep: fewest id switches over the three, then fewest boxes
without an id, then the smallest constants. Test drives are never used. The last line is JSON.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from streamvis.track import kalman
from streamvis.track.config import TrackerConfig
from streamvis.track.tracker import Tracker
from streamvis.types import Detections

LABELS = Path(__file__).resolve().parent.parent / "pipelines/drives/street/labels.json"
CONDITIONS = (
    {"stride": 1, "jitter": 0.0, "missing": 0.0},
    {"stride": 1, "jitter": 0.05, "missing": 0.15},
    {"stride": 3, "jitter": 0.05, "missing": 0.0},
)
ACCELERATION = (0.5, 1.0, 2.0, 4.0, 8.0)  # heights / s / sqrt(s)
START_VELOCITY = (1.0, 2.0, 4.0, 8.0)  # heights / s


def main() -> None:
    data = json.loads(LABELS.read_text())
    rows = []
    for acceleration, velocity in itertools.product(ACCELERATION, START_VELOCITY):
        kalman.ACCELERATION_STD, kalman.START_VELOCITY_STD = acceleration, velocity
        counts = np.sum([count(data, **condition) for condition in CONDITIONS], axis=0)
        rows.append((*counts.tolist(), acceleration, velocity))
        print(f"acceleration {acceleration:g}, velocity {velocity:g}: ", *rows[-1][:2])
    switches, without_id, acceleration, velocity = min(rows)
    best = {"acceleration_std": acceleration, "start_velocity_std": velocity}
    print(json.dumps({**best, "switches": switches, "without_id": without_id}))


def count(data: dict[str, Any], stride: int, jitter: float, missing: float) -> tuple[int, int]:
    """(id switches, boxes without an id) over all cameras of the drive."""
    rng = np.random.default_rng(0)
    switches = without_id = 0
    for frames in by_camera(data).values():
        tracker, last = Tracker(TrackerConfig()), {}
        for t_ns, boxes in frames[::stride]:
            seen = [box for box in boxes if rng.random() >= missing]
            tracked = tracker.update(to_detections(seen, jitter, rng), t_ns)
            for box, track_id in zip(seen, tracked.track_id.tolist(), strict=True):
                without_id += track_id < 0
                if track_id >= 0:
                    switches += last.setdefault(box["track_id"], track_id) != track_id
                    last[box["track_id"]] = track_id
    return switches, without_id


def by_camera(data: dict[str, Any]) -> dict[str, list[tuple[int, list[dict[str, Any]]]]]:
    """Per camera, in time: (capture time, its boxes)."""
    boxes = defaultdict(list)
    for box in data["annotations"]:
        if not box["iscrowd"]:
            boxes[box["image_id"]].append(box)
    cameras = defaultdict(list)
    for image in sorted(data["images"], key=lambda image: image["frame_index"]):
        cameras[image["camera"]].append((image["capture_ns"], boxes[image["id"]]))
    return cameras


def to_detections(boxes: list[dict[str, Any]], jitter: float, rng: Any) -> Detections:
    xywh = np.array([box["bbox"] for box in boxes], np.float32).reshape(-1, 4)
    xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    xyxy += (rng.normal(size=xyxy.shape) * jitter * xywh[:, 3:]).astype(np.float32)
    class_id = np.array([box["category_id"] - 1 for box in boxes], np.int32)
    return Detections.make(xyxy, np.full(len(boxes), 0.9, np.float32), class_id)


if __name__ == "__main__":
    main()
