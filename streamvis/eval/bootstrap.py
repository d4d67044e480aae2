"""How far an average precision could be off, from the drive at hand: a bootstrap over objects.

What is drawn with replacement are units: a labelled track with all its boxes and everything that
was detected at them, or one false object with all its detections. Frames are no units: the same
car in 80 frames is one piece of evidence, not 80. All configs share the units and the draws, so
their differences are paired.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from streamvis.eval.detection import Matches
from streamvis.eval.precision import IOU_50, IOU_75, NUM_IOUS, WeightedMatches
from streamvis.eval.result import Difference, Interval
from streamvis.track.tracker import box_iou

MIN_UNITS = 5  # with fewer, an interval would be an invention
SAME_OBJECT_IOU = 0.5  # false detections of adjacent frames, or of two configs in one frame
_MAX_WEIGHTS = 20_000_000  # drawn at a time, for memory
_IOUS: Mapping[str, slice | list[int]] = {
    "AP": slice(0, NUM_IOUS),
    "AP50": [IOU_50],
    "AP75": [IOU_75],
}
_Scores: TypeAlias = Mapping[str, NDArray[np.float64]]  # {AP, AP50, AP75: [draws]}


@dataclass(frozen=True)
class Bootstrap:
    """Intervals of every config, and of its difference to the first one, on the same draws.

    Inner keys: AP, AP50, AP75. Both are empty where there are too few units to say anything. A
    score that is the same in every draw (0, where nothing was found) has no interval: seeing
    nothing found five times does not prove that nothing is ever found.
    """

    intervals: Mapping[str, Mapping[str, Interval]]  # by config
    differences: Mapping[str, Mapping[str, Difference]]  # by config, without the first
    unit: str  # what was drawn: "track", or "block of 50 frames"
    num_units: int  # of labels: tracks, or blocks


def intervals(
    matches_by_config: Mapping[str, Matches],
    draws: int = 1000,
    seed: int = 0,
    block_frames: int = 50,
) -> Bootstrap:
    """95 % percentile intervals of one group's AP, AP50 and AP75, for configs on the same frames.

    `block_frames` is used where the labels have no track ids: take about 5 s of media.
    """
    _check_same_frames(matches_by_config)
    all_matches = list(matches_by_config.values())
    if all_matches[0].tracks is not None:
        unit, units = "track", _object_units(all_matches)
    else:
        unit, units = f"block of {block_frames} frames", _block_units(all_matches, block_frames)
    num_units = _num_label_units(units[0])
    if num_units < MIN_UNITS:
        return Bootstrap({}, {}, unit, num_units)
    points = dict(zip(matches_by_config, _point_scores(units), strict=True))
    scores = dict(zip(matches_by_config, _draw_scores(units, draws, seed), strict=True))
    first, *others = scores
    return Bootstrap(
        intervals={
            name: {key: _interval(values) for key, values in row.items() if _varies(values)}
            for name, row in scores.items()
        },
        differences={
            name: _differences(points[first], points[name], scores[first], scores[name])
            for name in others
        },
        unit=unit,
        num_units=num_units,
    )


def _differences(
    first_point: _Scores, point: _Scores, first: _Scores, scores: _Scores
) -> dict[str, Difference]:
    return {
        key: Difference(
            value=float(point[key][0] - first_point[key][0]),
            interval=_interval(scores[key] - first[key])
            if _varies(scores[key]) or _varies(first[key])
            else None,
        )
        for key in _IOUS
    }


def _check_same_frames(matches_by_config: Mapping[str, Matches]) -> None:
    first, *others = matches_by_config.values()
    for other in others:
        if other.keys != first.keys or other.group != first.group:
            raise ValueError("configs can be compared on the same frames and group only")


def _object_units(all_matches: Sequence[Matches]) -> list[WeightedMatches]:
    """Tracks first, then false objects; one numbering for all configs."""
    tracks = np.unique(np.concatenate([_counted_tracks(matches) for matches in all_matches]))
    false_objects, num_false = _link_false(all_matches)
    units = []
    for matches, false in zip(all_matches, false_objects, strict=True):
        # A label that is not counted may be of a track without a unit: it is never weighted.
        label_unit = np.searchsorted(tracks, matches.label_track).clip(max=len(tracks) - 1)
        near = np.append(label_unit, -1)[matches.near]
        unit = np.where(matches.near >= 0, near, len(tracks) + false)
        units.append(_weighted(matches, label_unit, unit, len(tracks) + num_false))
    return units


def _counted_tracks(matches: Matches) -> NDArray[np.int64]:
    assert matches.tracks is not None
    return matches.tracks


def _block_units(all_matches: Sequence[Matches], block_frames: int) -> list[WeightedMatches]:
    """Consecutive frames of a camera are one unit, with all that is in them."""
    keys = all_matches[0].keys
    blocks = {key: (key[0], key[1] // block_frames) for key in keys}
    number = {block: i for i, block in enumerate(dict.fromkeys(blocks.values()))}
    of_frame = np.array([number[blocks[key]] for key in keys], np.int64)
    return [
        _weighted(matches, of_frame[matches.label_frame], of_frame[matches.frame], len(number))
        for matches in all_matches
    ]


def _weighted(
    matches: Matches,
    label_unit: NDArray[np.int64],
    unit: NDArray[np.int64],
    num_units: int,
) -> WeightedMatches:
    return WeightedMatches(
        matches.label[0], matches.ignored[0], matches.is_counted, label_unit, unit, num_units
    )


def _num_label_units(units: WeightedMatches) -> int:
    return len(np.unique(units.label_unit[units.is_counted]))


def _link_false(all_matches: Sequence[Matches]) -> tuple[list[NDArray[np.int64]], int]:
    """The false object of each detection [D] of each config, and how many there are. Detections
    near a label get a number too, which is not used."""
    sizes = [len(matches.score) for matches in all_matches]
    total = sum(sizes)
    frame = np.concatenate([matches.frame for matches in all_matches])
    xyxy = np.concatenate([matches.xyxy for matches in all_matches]).astype(np.float64)
    false = np.flatnonzero(np.concatenate([matches.near for matches in all_matches]) < 0)
    links = list(_links(all_matches[0].keys, frame, xyxy, false))
    # int32: csgraph of older scipy reads nothing else.
    pairs = np.concatenate([np.zeros((2, 0), np.int64), *links], axis=1).astype(np.int32)
    graph = coo_array((np.ones(pairs.shape[1]), tuple(pairs)), shape=(total, total))
    _, component = connected_components(graph, directed=False)
    objects, number = np.unique(component[false], return_inverse=True)
    found = np.zeros(total, np.int64)
    found[false] = number
    return np.split(found, np.cumsum(sizes)[:-1]), len(objects)


def _links(
    keys: Sequence[tuple[str, int]],
    frame: NDArray[np.int64],
    xyxy: NDArray[np.float64],
    false: NDArray[np.int64],
) -> Iterator[NDArray[np.int64]]:
    """Pairs [2, n] of false detections that are one object: in one frame, or from a labelled
    frame of a camera to the next."""
    rows_of: dict[int, NDArray[np.int64]] = defaultdict(lambda: np.zeros(0, np.int64))
    for rows in np.split(*_by_frame(frame, false)):
        if len(rows):
            rows_of[int(frame[rows[0]])] = rows
    for number, rows in list(rows_of.items()):
        yield _overlapping(rows, rows, xyxy)
        if number + 1 < len(keys) and keys[number + 1][0] == keys[number][0]:
            yield _overlapping(rows, rows_of[number + 1], xyxy)


def _by_frame(
    frame: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """The rows in the order of their frames, and where each frame begins."""
    rows = rows[np.argsort(frame[rows], kind="stable")]
    return rows, np.flatnonzero(np.diff(frame[rows])) + 1


def _overlapping(
    a: NDArray[np.int64], b: NDArray[np.int64], xyxy: NDArray[np.float64]
) -> NDArray[np.int64]:
    i, j = np.nonzero(box_iou(xyxy[a], xyxy[b]) >= SAME_OBJECT_IOU)
    return np.stack([a[i], b[j]])


def _point_scores(units: Sequence[WeightedMatches]) -> list[_Scores]:
    """For each config its scores with every unit counted once, [1]."""
    return _scores(units, np.ones((units[0].num_units, 1)))


def _draw_scores(units: Sequence[WeightedMatches], draws: int, seed: int) -> list[_Scores]:
    """For each config its scores [draws]; every config sees the same draws."""
    rng, num_units = np.random.default_rng(seed), units[0].num_units
    step = max(1, min(250, _MAX_WEIGHTS // num_units))
    chunks = [
        _scores(units, _draw(rng, num_units, min(step, draws - start)))
        for start in range(0, draws, step)
    ]
    return [
        {key: np.concatenate([chunk[i][key] for chunk in chunks]) for key in _IOUS}
        for i in range(len(units))
    ]


def _draw(rng: np.random.Generator, num_units: int, draws: int) -> NDArray[np.float64]:
    """How often each unit was drawn [U, draws], as many draws as there are units."""
    weight = np.zeros((num_units, draws))
    for column in range(draws):
        drawn = rng.integers(0, num_units, num_units)
        weight[:, column] = np.bincount(drawn, minlength=num_units)
    return weight


def _scores(units: Sequence[WeightedMatches], weight: NDArray[np.float64]) -> list[_Scores]:
    """For each config {AP, AP50, AP75: [B]} under unit weights [U, B]."""
    found: list[_Scores] = []
    for config in units:
        mean = np.stack([config.precision(iou, weight).mean(axis=0) for iou in range(NUM_IOUS)])
        found.append({key: mean[rows].mean(axis=0) for key, rows in _IOUS.items()})
    return found


def _varies(values: NDArray[np.float64]) -> bool:
    return bool(np.nanmax(values) > np.nanmin(values))


def _interval(values: NDArray[np.float64]) -> Interval:
    # A draw without any labelled object has no score: nan, left out.
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return Interval(float(low), float(high))
