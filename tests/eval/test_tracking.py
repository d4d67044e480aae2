import numpy as np
import pytest
from eval_samples import detected, drive, labelled
from trackeval_reference import FrameTuple, draw_cameras

from streamvis.eval.detection import MatchSettings
from streamvis.eval.result import TrackingScore
from streamvis.eval.sequence import TrackFrame, TrackSequence
from streamvis.eval.tracking import score_sequences, track_sequences, tracking_score

# What TrackEval 1.3.0 says of trackeval_reference.draw_cameras(): run that file to get them anew.
TRACKEVAL = {
    "a": {
        "HOTA": 0.29085404121108027,
        "DetA": 0.2959351492527464,
        "AssA": 0.2877646963329841,
        "LocA": 0.7166976370474916,
        "MOTA": -0.09126984126984126,
        "IDF1": 0.3663003663003663,
        "num_switches": 11,
        "num_false": 153,
        "num_missed": 111,
    },
    "b": {
        "HOTA": 0.3234683528396026,
        "DetA": 0.34219895674613515,
        "AssA": 0.3103007485002808,
        "LocA": 0.7134451280403326,
        "MOTA": 0.11910669975186104,
        "IDF1": 0.4657534246575342,
        "num_switches": 20,
        "num_false": 166,
        "num_missed": 169,
    },
    "combined": {
        "HOTA": 0.30790020075030744,
        "DetA": 0.31753836446282163,
        "AssA": 0.3022656286250607,
        "LocA": 0.7114609111055789,
        "MOTA": 0.0256797583081571,
        "IDF1": 0.4208211143695015,
        "num_switches": 31,
        "num_false": 327,
        "num_missed": 287,
    },
}


def sequence(frames: list[FrameTuple]) -> TrackSequence:
    return TrackSequence.make([TrackFrame(*frame) for frame in frames])


def pairs(*frames: tuple[list[int], list[int]]) -> TrackSequence:
    """Label and found ids of each frame; the n-th label lies exactly at the n-th found box."""
    return TrackSequence.make(
        [
            TrackFrame(
                np.array(label, np.int64),
                np.array(found, np.int64),
                np.eye(len(label), len(found)),
            )
            for label, found in frames
        ]
    )


@pytest.mark.parametrize("name", ["a", "b", "combined"])
def test_figures_are_those_of_trackeval(name: str) -> None:
    cameras = draw_cameras()
    used = cameras.values() if name == "combined" else [cameras[name]]
    score = vars(score_sequences([sequence(frames) for frames in used]))
    for key, value in TRACKEVAL[name].items():
        assert score[key] == pytest.approx(value, abs=1e-9), key


def test_perfect_tracks() -> None:
    score = score_sequences([pairs(([1, 2], [7, 8]), ([1], [7]), ([2], [8]))])
    assert score == TrackingScore(1, 1, 1, 1, 1, 1, 0, 0, 0, 2)


def test_an_id_that_changes_half_way() -> None:
    # One object, four frames, found as 7 7 8 8. Each hit's tracks share 2 of the 4 boxes of
    # either: AssA = 2 / 4. DetA = 1, so HOTA = sqrt(1 / 2). One switch in four boxes. Identity:
    # the object is either 7 or 8, 2 hits of (4 + 4) / 2.
    score = score_sequences([pairs(([1], [7]), ([1], [7]), ([1], [8]), ([1], [8]))])
    assert score.AssA == pytest.approx(0.5)
    assert pytest.approx(0.5**0.5) == score.HOTA
    assert score.num_switches == 1
    assert pytest.approx(0.75) == score.MOTA
    assert pytest.approx(0.5) == score.IDF1


def test_a_gap_is_no_switch_when_the_id_returns() -> None:
    score = score_sequences([pairs(([1], [7]), ([1], []), ([1], [7]))])
    assert score.num_switches == 0
    assert score.num_missed == 1
    assert pytest.approx(2 / 3) == score.MOTA
    assert pytest.approx(4 / 5) == score.IDF1
    assert pytest.approx(2 / 3) == score.HOTA  # DetA = AssA = 2 / 3


def test_a_missed_and_a_false_object() -> None:
    score = score_sequences([pairs(([1, 2], [7]), ([1], [7, 9]))])
    assert (score.num_missed, score.num_false) == (1, 1)
    assert score.DetA == pytest.approx(2 / 4)
    assert pytest.approx(1 - 2 / 3) == score.MOTA


def test_looseness_costs_the_strict_thresholds() -> None:
    frame = TrackFrame(np.array([1]), np.array([7]), np.array([[0.6]]))
    score = score_sequences([TrackSequence.make([frame] * 3)])
    assert score.DetA == pytest.approx(12 / 19)  # 0.05 to 0.60
    assert score.MOTA == 1


def test_cameras_do_not_share_ids() -> None:
    one = pairs(([1], [7]), ([1], [7]))
    score = score_sequences([one, one])
    assert score.num_tracks == 2
    assert pytest.approx(1) == score.AssA


def test_only_tracked_detections_of_the_group_take_part() -> None:
    box = [10, 10, 50, 50]
    labels = drive({("a", 0): labelled(("car", box, 1), ("person", [90, 0, 99, 30], 2))})
    found = {
        ("a", 0): detected(
            ("truck", box, 0.9, 5),  # a vehicle all the same
            ("car", [200, 0, 250, 50], 0.9),  # not tracked
            ("person", [300, 0, 310, 40], 0.9, 6),
        )
    }
    score = tracking_score(labels, found, "vehicle")
    assert (score.num_false, score.num_missed, score.num_tracks) == (0, 0, 1)
    assert pytest.approx(1) == score.HOTA


def test_what_lies_in_an_ignore_region_is_neither_right_nor_wrong() -> None:
    car, region = [10, 10, 50, 50], [100, 0, 200, 100]
    labels = drive({("a", 0): labelled(("car", car, 1), ("car", region, 2, True))})
    rows = [
        ("car", car, 0.9, 5),
        ("car", [150, 20, 230, 60], 0.9, 6),  # 5 / 8 inside: left out
        ("car", [170, 20, 250, 60], 0.5, 7),  # 3 / 8 inside: false
    ]
    for row, num_false in ((rows[1], 0), (rows[2], 1)):
        score = tracking_score(labels, {("a", 0): detected(rows[0], row)}, "car")
        assert (score.num_false, score.num_missed, score.num_tracks) == (num_false, 0, 1)


def test_a_label_within_an_ignore_region_keeps_its_detection() -> None:
    car, region = [10, 10, 50, 50], [0, 0, 200, 100]
    labels = drive({("a", 0): labelled(("car", car, 1), ("car", region, 2, True))})
    # Two boxes at the car that suppression leaves: one is its detection, the other is left out.
    double = detected(("car", [10, 10, 50, 44], 0.5, 6), ("car", car, 0.9, 5))
    (found,) = track_sequences(labels, {("a", 0): double}, "car", MatchSettings())
    assert found.num_found == 1
    assert found.frames[0].similarity[0, 0] == 1


def test_nothing_tracked_is_all_missed() -> None:
    labels = drive({("a", 0): labelled(("car", [10, 10, 50, 50], 1))})
    score = tracking_score(labels, {("a", 0): detected()}, "car")
    assert (score.HOTA, score.MOTA, score.IDF1, score.num_missed) == (0, 0, 0, 1)


@pytest.mark.parametrize("track", [(), (-1,)])
def test_labels_without_tracks_cannot_be_scored(track: tuple[int, ...]) -> None:
    labels = drive({("a", 0): labelled(*[("car", [10, 10, 50, 50], it) for it in track])})
    with pytest.raises(ValueError, match="no labelled tracks of 'car'"):
        tracking_score(labels, {("a", 0): detected()}, "car")


def test_a_frame_that_was_not_run_is_no_empty_frame() -> None:
    labels = drive({("a", 0): labelled(("car", [10, 10, 50, 50], 1))})
    with pytest.raises(ValueError, match="1 labelled frames were not run"):
        tracking_score(labels, {}, "car")
