from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from eval_samples import detected, draw_drive, drive, labelled

from streamvis.eval.bootstrap import (
    MIN_UNITS,
    _block_units,
    _draw,
    _link_false,
    _object_units,
    _point_scores,
    intervals,
)
from streamvis.eval.detection import Matches, match_detections, score_matches
from streamvis.eval.labels import DriveLabels
from streamvis.eval.result import Difference, Interval


def matches_of(seed: int, has_tracks: bool = True) -> Matches:
    return match_detections(*draw_drive(seed, has_tracks=has_tracks), "car")


@pytest.mark.parametrize("has_tracks", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_every_unit_once_is_the_score_itself(seed: int, has_tracks: bool) -> None:
    matches = matches_of(seed, has_tracks)
    units = _object_units([matches]) if has_tracks else _block_units([matches], 5)
    score = score_matches(matches)
    for name, value in _point_scores(units)[0].items():
        assert value[0] == pytest.approx(getattr(score, name), abs=1e-15)


def test_a_weight_is_the_same_as_so_many_copies() -> None:
    """Drawing a track twice and another not at all is the drive in which it is so."""
    car, other, ghost = [0, 0, 50, 50], [100, 0, 150, 50], [200, 0, 250, 50]
    labels = drive({("a", 0): labelled(("car", car, 1), ("car", other, 2))})
    rows = ("car", ghost, 0.9), ("car", [0, 0, 50, 40], 0.8), ("car", other, 0.7)
    units = _object_units([match_detections(labels, {("a", 0): detected(*rows)}, "car")])[0]
    weight = np.array([[2.0], [0.0], [1.0]])  # track 1 twice, track 2 never, the ghost once
    assert units.precision(0, weight).mean() == pytest.approx(2 / 3)  # IoU 0.8 at 0.50
    assert units.precision(9, weight).mean() == 0  # at 0.95 nothing of track 1 is found


def test_a_draw_has_as_many_units_as_there_are() -> None:
    weight = _draw(np.random.default_rng(0), 50, 200)
    assert weight.shape == (50, 200)
    assert np.all(weight.sum(axis=0) == 50)
    assert weight.mean(axis=1) == pytest.approx(1, abs=0.3)


def test_the_score_lies_in_its_interval() -> None:
    score = score_matches(matches_of(0))
    found = intervals({"one": matches_of(0)}, draws=200)
    assert (found.unit, found.num_units) == ("track", score.num_tracks)
    assert found.differences == {}
    for name, interval in found.intervals["one"].items():
        assert 0 <= interval.low < getattr(score, name) < interval.high <= 1


def test_a_config_does_not_differ_from_itself() -> None:
    matches = matches_of(0)
    found = intervals({"one": matches, "same": replace(matches)}, draws=50)
    assert found.intervals["one"] == found.intervals["same"]
    for difference in found.differences["same"].values():
        assert difference.value == 0
        assert difference.interval == Interval(0, 0)


def test_a_config_that_finds_nothing_has_no_interval() -> None:
    labels, found = draw_drive(0)
    blind = match_detections(labels, dict.fromkeys(labels.frames, detected()), "car")
    seeing = match_detections(labels, found, "car")
    it = intervals({"all": seeing, "blind": blind, "blind too": replace(blind)}, draws=50)
    assert it.intervals["blind"] == {}
    difference = it.differences["blind"]["AP"]
    assert difference.value == -score_matches(seeing).AP
    assert difference.interval is not None
    assert difference.interval.high < 0
    both = intervals({"blind": blind, "blind too": replace(blind)}, draws=50)
    assert both.differences["blind too"]["AP"] == Difference(0, None)


def test_the_same_seed_gives_the_same_interval() -> None:
    matches = {"one": matches_of(0)}
    assert intervals(matches, draws=50) == intervals(matches, draws=50)
    assert intervals(matches, draws=50) != intervals(matches, draws=50, seed=1)


def test_a_paired_difference_is_surer_than_two_scores() -> None:
    labels, found = draw_drive(0)
    first = match_detections(labels, found, "car")
    weaker = {key: row[row.score > 0.15] for key, row in found.items()}
    both = intervals({"all": first, "few": match_detections(labels, weaker, "car")}, draws=200)
    difference = both.differences["few"]["AP50"]
    assert difference.interval is not None
    assert _width(difference.interval) < 0.5 * _width(both.intervals["all"]["AP50"])
    assert difference.value == pytest.approx(
        score_matches(match_detections(labels, weaker, "car")).AP50 - score_matches(first).AP50
    )


def test_many_boxes_of_few_tracks_are_little_evidence() -> None:
    matches = _simulate(np.random.default_rng(0), 20)[0]
    boxes = replace(matches, label_track=np.arange(len(matches.label_track)))  # each its own
    by_track, by_box = (intervals({"x": it}, draws=200).intervals["x"] for it in (matches, boxes))
    assert _width(by_track["AP"]) > 1.5 * _width(by_box["AP"])


@pytest.mark.parametrize("has_tracks", [True, False])
def test_too_few_units_say_nothing(has_tracks: bool) -> None:
    labels, found = draw_drive(0, num_frames=8, has_tracks=has_tracks)
    if has_tracks:
        labels = _keep_tracks(labels, MIN_UNITS - 1)
    it = intervals({"x": match_detections(labels, found, "car")}, draws=20, block_frames=4)
    assert (it.num_units, it.intervals, it.differences) == (4, {}, {})


def test_blocks_of_frames_where_labels_have_no_ids() -> None:
    it = intervals({"x": matches_of(0, has_tracks=False)}, draws=50, block_frames=5)
    assert (it.unit, it.num_units) == ("block of 5 frames", 8)  # 2 cameras, 20 frames each
    assert set(it.intervals["x"]) == {"AP", "AP50", "AP75"}


def test_blocks_do_not_cross_cameras() -> None:
    matches = matches_of(0, has_tracks=False)
    (units,) = _block_units([matches], 8)
    of_key: dict[Any, set[int]] = {}
    for frame, unit in zip(matches.label_frame, units.label_unit, strict=True):
        camera, index = matches.keys[frame]
        of_key.setdefault((camera, index // 8), set()).add(int(unit))
    assert all(len(found) == 1 for found in of_key.values())
    assert len(set.union(*of_key.values())) == len(of_key) == 6


def test_false_boxes_of_one_object_are_one_unit() -> None:
    car, pole, bin_, shift = [0, 0, 50, 50], [200, 0, 220, 90], [400, 0, 440, 40], [202, 0, 222, 90]
    keys = [("a", 0), ("a", 10), ("b", 0)]  # labels may be sparse
    labels = drive({key: labelled(("car", car, 1)) for key in keys})
    one = [[("car", pole, 0.9), ("car", bin_, 0.8)], [("car", shift, 0.7)], [("car", pole, 0.6)]]
    two = [[("car", shift, 0.9), ("car", car, 0.5)], [], []]
    both = [
        match_detections(labels, dict(zip(keys, (detected(*r) for r in rows), strict=True)), "car")
        for rows in (one, two)
    ]
    (first, second), count = _link_false(both)
    pole_a, bin_a, pole_later, pole_b = first
    assert count == 3  # the pole and the bin of camera a, the pole of camera b
    assert pole_a == pole_later == second[0]
    assert len({pole_a, bin_a, pole_b}) == 3


def test_a_loose_box_belongs_to_the_object_it_lies_at() -> None:
    car, loose = [0, 0, 50, 50], [30, 0, 80, 50]  # IoU 1 / 4
    labels = drive({("a", 0): labelled(("car", [300, 0, 350, 50], 9), ("car", car, 4))})
    found = {("a", 0): detected(("car", loose, 0.9), ("car", [100, 200, 140, 240], 0.8))}
    (units,) = _object_units([match_detections(labels, found, "car")])
    assert units.unit.tolist() == [0, 2]  # track 4; a false object after the two tracks


def test_an_id_that_two_cameras_use_is_one_object() -> None:
    car = [0, 0, 50, 50]
    labels = drive({(camera, 0): labelled(("car", car, 1)) for camera in ("a", "b")})
    it = intervals({"x": match_detections(labels, dict.fromkeys(labels.frames, detected()), "car")})
    assert it.num_units == 1


def test_units_are_those_of_all_configs() -> None:
    """A lens may push a label out of one config's picture: that config has it as ignored."""
    labels, found = draw_drive(0)
    few = match_detections(_keep_tracks(labels, 6), found, "car")
    first, second = _object_units([few, match_detections(labels, found, "car")])
    alone = _object_units([match_detections(labels, found, "car")])[0]
    assert len(np.unique(first.label_unit[first.is_counted])) == 6
    np.testing.assert_array_equal(second.label_unit, alone.label_unit)


def test_configs_on_different_frames_cannot_be_compared() -> None:
    labels, found = draw_drive(0)
    some = labels.only(list(labels.frames)[:20])
    matches = [match_detections(it, found, "car") for it in (labels, some)]
    with pytest.raises(ValueError, match="on the same frames"):
        intervals(dict(zip("ab", matches, strict=True)))


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Drives of 30 tracks from a world whose score is known from many more. The
    percentile interval is known to be a little too narrow with so few."""
    world = [[score_matches(it).AP for it in _simulate(_rng(900 + i), 1000)] for i in range(6)]
    first, second = np.mean(world, axis=0)
    covered = np.zeros(3)
    for i in range(60):
        both = dict(zip("ab", _simulate(_rng(i), 30), strict=True))
        it = intervals(both, draws=150, seed=i)
        difference = it.differences["b"]["AP"].interval
        assert difference is not None
        rows = it.intervals["a"]["AP"], it.intervals["b"]["AP"], difference
        truths = first, second, second - first
        covered += [row.low <= x <= row.high for row, x in zip(rows, truths, strict=True)]
    assert np.all(covered / 60 >= 0.85), covered
    assert np.all(covered / 60 < 1), covered


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _width(interval: Interval) -> float:
    return interval.high - interval.low


def _keep_tracks(labels: DriveLabels, count: int) -> DriveLabels:
    """Only so many of the counted tracks; the others become ignore regions."""
    counted = np.concatenate([it.track_id[~it.is_ignored] for it in labels.frames.values()])
    kept = np.unique(counted)[:count]
    return replace(
        labels,
        frames={
            key: replace(it, is_ignored=it.is_ignored | ~np.isin(it.track_id, kept))
            for key, it in labels.frames.items()
        },
    )


def _simulate(rng: np.random.Generator, num_tracks: int, num_frames: int = 60) -> list[Matches]:
    """Two configs on one drive: each track is easy or hard for all its life, each false object
    lasts a while; the second config misses 5 % more boxes."""
    length = rng.integers(2, 30, num_tracks)
    easy = rng.beta(2, 1, num_tracks)
    track = np.repeat(np.arange(num_tracks), length)
    label_frame = np.concatenate([rng.integers(0, num_frames - n) + np.arange(n) for n in length])
    ghost_length = rng.integers(1, 15, max(1, rng.poisson(0.8 * num_tracks)))
    ghost = np.repeat(np.arange(len(ghost_length)), ghost_length)
    ghost_frame = np.concatenate(
        [rng.integers(0, num_frames - n) + np.arange(n) for n in ghost_length]
    )
    luck = rng.random(len(track))
    score = np.concatenate(
        [
            0.3 + 0.7 * rng.random(len(track)) * easy[track],
            0.2 + 0.8 * rng.random(len(ghost)) * rng.beta(1, 2, len(ghost_length))[ghost],
        ]
    )
    label = np.append(np.arange(len(track)), np.full(len(ghost), -1))
    x = np.append(np.zeros(len(track)), 100.0 * (1 + ghost))
    frame = np.append(label_frame, ghost_frame)
    found = []
    for missed in (0, 0.05):
        rows = np.flatnonzero(np.append(luck < easy[track] - missed, np.ones(len(ghost), bool)))
        rows = rows[np.argsort(-score[rows], kind="stable")]
        zero = 0 * x[rows]
        every = np.broadcast_to(label[rows], (4, 10, len(rows)))
        found.append(
            Matches(
                group="car",
                keys=tuple(("a", i) for i in range(num_frames)),
                label_frame=label_frame,
                label_track=track,
                label_ignored=np.zeros((4, len(track)), np.bool_),
                frame=frame[rows],
                xyxy=np.stack([x[rows], zero, x[rows] + 50, zero + 50], 1).astype(np.float32),
                score=score[rows],
                near=label[rows],
                label=every,
                ignored=np.zeros(every.shape, np.bool_),
            )
        )
    return found
