from typing import Any

import pytest
from eval_samples import detected, drive, labelled

from streamvis.eval.labels import DriveLabels
from streamvis.eval.result import Found
from streamvis.eval.worst import worst_frames

BOXES = [[60.0 * i, 0, 60.0 * i + 50, 50] for i in range(6)]


def scene(errors: dict[tuple[str, int], tuple[int, int]]) -> tuple[DriveLabels, Found]:
    """Three cars a frame, of which so many are missed, and so many false ones."""
    labels, found = {}, {}
    for key, (missed, false) in errors.items():
        rows: list[Any] = [("car", box, 0.9) for box in BOXES[missed : 3 + false]]
        labels[key] = labelled(*(("car", box, i) for i, box in enumerate(BOXES[:3])))
        found[key] = detected(*rows, ("car", [0, 100, 50, 150], 0.29))  # not sure: no error
    return drive(labels), found


def test_most_errors_first_and_why() -> None:
    labels, found = scene(
        {("a", 0): (0, 1), ("a", 20): (2, 3), ("a", 40): (3, 0), ("a", 60): (0, 0)}
    )
    assert worst_frames(labels, found) == [
        (("a", 20), "vehicle: 2 missed, 3 false"),
        (("a", 40), "vehicle: 3 missed, 0 false"),
        (("a", 0), "vehicle: 0 missed, 1 false"),
    ]
    assert len(worst_frames(labels, found, count=1)) == 1


def test_neighbours_are_passed_over_within_a_camera() -> None:
    labels, found = scene(
        {("a", 20): (3, 3), ("a", 22): (3, 2), ("b", 21): (3, 1), ("a", 25): (1, 0)}
    )
    chosen = [key for key, _ in worst_frames(labels, found, "car", min_gap=5)]
    assert chosen == [("a", 20), ("b", 21), ("a", 25)]


def test_a_double_box_is_false_and_a_weak_one_is_a_miss() -> None:
    labels = drive({("a", 0): labelled(("car", BOXES[0], 1), ("car", BOXES[2], 2))})
    rows = ("car", BOXES[0], 0.9), ("car", [0, 0, 50, 45], 0.8), ("car", BOXES[2], 0.2)
    ((_, why),) = worst_frames(labels, {("a", 0): detected(*rows)}, "car")
    assert why == "car: 1 missed, 1 false"


def test_ignore_regions_hide_no_error_and_make_none() -> None:
    labels = drive({("a", 0): labelled(("car", BOXES[0], 1, True))})
    found = {("a", 0): detected(("car", BOXES[0], 0.9))}
    assert worst_frames(labels, found, "car") == []


def test_a_frame_that_was_not_run() -> None:
    labels, _ = scene({("a", 0): (0, 0)})
    with pytest.raises(ValueError, match="not run"):
        worst_frames(labels, {})
