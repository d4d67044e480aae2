"""Random tracks, and what TrackEval says about them.

    pip install numpy scipy && pip install --no-deps trackeval==1.3.0
    python tests/trackeval_reference.py

in a virtual environment of its own prints the figures that tests/eval/test_tracking.py expects.
TrackEval is no dependency of this project: it pulls in the GUI build of OpenCV.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

FrameTuple = tuple[Any, Any, Any]  # label ids [G], found ids [D], IoU [G, D]


def draw_sequence(
    seed: int, num_frames: int = 40, num_objects: int = 12, num_false: int = 3
) -> list[FrameTuple]:
    """Crowded objects that come and go; found with gaps, loose boxes and changing ids."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, num_frames // 2, num_objects)
    end = start + rng.integers(5, num_frames, num_objects)
    box = rng.random((num_objects, 4)) * (200, 100, 40, 40) + (0, 0, 20, 20)  # x, y, w, h
    speed = (rng.random((num_objects, 4)) - 0.5) * (8, 4, 0.5, 0.5)
    found_id = np.arange(num_objects) + 100
    return [
        _draw_frame(rng, box + t * speed, (start <= t) & (t < end), found_id, num_false)
        for t in range(num_frames)
    ]


def _draw_frame(rng: Any, box: Any, is_there: Any, found_id: Any, num_false: int) -> FrameTuple:
    label = np.flatnonzero(is_there & (rng.random() > 0.05))  # now and then nothing is labelled
    is_found = (rng.random(len(box)) < 0.75) & is_there & (rng.random() > 0.05)
    if rng.random() < 0.2:  # two objects swap their ids
        a, b = rng.integers(0, len(box), 2)
        found_id[[a, b]] = found_id[[b, a]]
    if rng.random() < 0.1:  # one begins anew
        found_id[rng.integers(0, len(box))] = found_id.max() + 1
    loose = box[is_found] + (rng.random((is_found.sum(), 4)) - 0.5) * 16
    false = rng.random((num_false, 4)) * (200, 100, 40, 40) + (0, 0, 20, 20)
    found = np.concatenate([loose, false])
    ids = np.concatenate([found_id[is_found], 1000 + rng.choice(50, num_false, replace=False)])
    return label, ids, _iou(box[label], found)


def _iou(a: Any, b: Any) -> Any:
    """[A, B] of boxes x, y, w, h."""
    low = np.maximum(a[:, None, :2], b[:, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[:, :2] + b[:, 2:])
    overlap = np.clip(high - low, 0, None).prod(axis=2)
    union = a[:, 2:].prod(axis=1)[:, None] + b[:, 2:].prod(axis=1) - overlap
    return overlap / union


def draw_cameras() -> dict[str, list[FrameTuple]]:
    """Two that see much, one in which nothing was found, one in which nothing was labelled."""
    cameras = {"a": draw_sequence(1), "b": draw_sequence(2, num_frames=25, num_objects=30)}
    none, empty = np.zeros(0, np.int64), np.zeros((0, 0))
    label, found, _ = draw_sequence(3)[20]
    cameras["blind"] = [(label, none, np.zeros((len(label), 0))), (none, none, empty)]
    cameras["ghosts"] = [(none, found, np.zeros((0, len(found))))]
    return cameras


def _trackeval_data(frames: list[FrameTuple]) -> dict[str, Any]:
    labels, founds, similarity = zip(*frames, strict=True)
    label_ids, found_ids = np.unique(np.concatenate(labels)), np.unique(np.concatenate(founds))
    return {
        "num_timesteps": len(frames),
        "num_gt_ids": len(label_ids),
        "num_tracker_ids": len(found_ids),
        "num_gt_dets": sum(map(len, labels)),
        "num_tracker_dets": sum(map(len, founds)),
        "gt_ids": [np.searchsorted(label_ids, ids) for ids in labels],
        "tracker_ids": [np.searchsorted(found_ids, ids) for ids in founds],
        "similarity_scores": list(similarity),
    }


def _figures(hota: Any, clear: Any, identity: Any) -> dict[str, float]:
    return {
        **{name: float(np.mean(hota[name])) for name in ("HOTA", "DetA", "AssA", "LocA")},
        "MOTA": float(clear["MOTA"]),
        "IDF1": float(identity["IDF1"]),
        "num_switches": int(clear["IDSW"]),
        "num_false": int(clear["CLR_FP"]),
        "num_missed": int(clear["CLR_FN"]),
    }


def main() -> None:
    from trackeval.metrics import CLEAR, HOTA, Identity

    quiet = {"PRINT_CONFIG": False}
    metrics = [HOTA(), CLEAR(quiet), Identity(quiet)]
    data = {name: _trackeval_data(frames) for name, frames in draw_cameras().items()}
    parts = [{name: it.eval_sequence(row) for name, row in data.items()} for it in metrics]
    combined = [it.combine_sequences(part) for it, part in zip(metrics, parts, strict=True)]
    figures = {name: _figures(*(part[name] for part in parts)) for name in ("a", "b")}
    print(json.dumps({**figures, "combined": _figures(*combined)}, indent=1))


if __name__ == "__main__":
    main()
