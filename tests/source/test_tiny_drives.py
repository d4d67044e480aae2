"""The tiny rendered drives in tests/data: a rig that turns, with its true flow, and a corner."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamvis.types import CLASSES

DRIVES = Path(__file__).parents[1] / "data/drives"


def pictures(drive: str, camera: str) -> list[np.ndarray]:
    with av.open(str(DRIVES / drive / f"{camera}.mp4")) as file:
        return [f.to_ndarray(format="rgb24") for f in file.decode(video=0)]


@pytest.mark.parametrize(
    ("drive", "camera", "count"), [("turn", "front", 8), ("corner", "corner", 12)]
)
def test_each_picture_has_its_labels(drive: str, camera: str, count: int) -> None:
    labels = json.loads((DRIVES / drive / "labels.json").read_text())
    mine = [i for i in labels["images"] if i["camera"] == camera]
    assert len(mine) == len(pictures(drive, camera)) == count
    assert labels["scene"]["street"] == {"turn": "drive"}.get(drive, drive)
    assert {a["category_id"] for a in labels["annotations"]} <= set(range(1, len(CLASSES) + 1))
    assert all(any(a["image_id"] == i["id"] for a in labels["annotations"]) for i in mine)


def test_the_flow_leads_to_the_next_picture() -> None:
    images = [i.astype(np.float32) for i in pictures("turn", "front")]
    for k in (1, 4):
        path = DRIVES / "turn/flow/front" / f"{k:05d}.png"
        coded = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1].astype(np.float32)
        flow, valid = (coded[..., :2] - 32768) / 64, coded[..., 2] > 0
        rows, columns = np.mgrid[:180, :320].astype(np.float32)
        at = columns + flow[..., 0], rows + flow[..., 1]
        pulled = cv2.remap(images[k + 1], *at, cv2.INTER_LINEAR)
        valid[:24] = False  # the frame code stays where it is
        error, plain = (np.abs(i - images[k])[valid].mean() for i in (pulled, images[k + 1]))
        assert error < 0.6 * plain


def test_the_corner_is_still_but_for_what_moves() -> None:
    images = [i.astype(np.float32) for i in pictures("corner", "corner")]
    change = np.abs(images[6] - images[5]).mean(-1)
    assert np.median(change) < 3
    assert change.max() > 40
