from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
from eval.report.sample import sample_pictures
from numpy.typing import NDArray

from streamvis.eval.labels import FrameLabels
from streamvis.eval.report.pictures import boxes_uri, missed, tiles_uri
from streamvis.render.jpeg import decode_jpeg
from streamvis.types import CLASSES, Detections, TileState


def _labels(boxes: list[list[float]], classes: list[str], ignored: list[bool]) -> FrameLabels:
    return FrameLabels(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([CLASSES.index(name) for name in classes], np.int32),
        np.full(len(boxes), -1),
        np.array(ignored, np.bool_),
    )


def _found(boxes: list[list[float]], scores: list[float], classes: list[str]) -> Detections:
    return Detections.make(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array([CLASSES.index(name) for name in classes], np.int32),
    )


def _decoded(uri: str) -> NDArray[np.uint8]:
    kind, data = uri.split(",")
    assert kind == "data:image/jpeg;base64"
    return decode_jpeg(base64.b64decode(data))


def test_missed_needs_overlap_and_group() -> None:
    labels = _labels(
        [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]],
        ["car", "person", "car", "car"],
        [False, False, False, True],
    )
    found = _found(
        [[0, 0, 10, 9], [20, 0, 30, 10], [46, 0, 56, 10]], [0.9, 0.8, 0.7], ["truck", "car", "car"]
    )
    # A truck is as good as a car; a car is no person; 4 of 16 px overlap is too little.
    assert missed(labels, found).tolist() == [False, True, True, False]


def test_one_detection_finds_one_label() -> None:
    labels = _labels([[0, 0, 10, 10], [0, 1, 10, 11]], ["car", "car"], [False, False])
    assert missed(labels, _found([[0, 1, 10, 11]], [0.9], ["car"])).tolist() == [True, False]
    assert missed(labels, _found([[0, 1, 10, 11]] * 2, [0.9, 0.8], ["car"] * 2)).sum() == 0


def test_nothing_found_and_nothing_labelled() -> None:
    labels = _labels([[0, 0, 10, 10]], ["car"], [False])
    assert missed(labels, Detections.empty()).tolist() == [True]
    assert missed(_labels([], [], []), _found([[0, 0, 1, 1]], [0.9], ["car"])).tolist() == []


def test_missed_labels_are_red_and_boxes_lie_in_source_pixels() -> None:
    frame = replace(sample_pictures()[0], image=np.full((180, 320, 3), 128, np.uint8))
    picture = _decoded(boxes_uri(frame)).astype(int)
    assert picture.shape == (495, 880, 3)
    red = (picture[..., 0] - picture[..., 1:].max(-1)) > 70
    y, x = np.nonzero(red)
    scale = 880 / 1280
    edges = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) / scale
    np.testing.assert_allclose(edges, frame.labels.xyxy[1], atol=4)  # only the missed person


def test_the_frame_itself_is_not_painted_on() -> None:
    frame = sample_pictures()[0]
    before = frame.image.copy()
    boxes_uri(frame)
    tiles_uri(frame)
    np.testing.assert_array_equal(frame.image, before)


def test_tiles_keep_their_place_beside_the_padding() -> None:
    tiles = np.zeros((12, 20), np.uint8)  # 640 x 384 px for 640 x 360 px of content
    tiles[10, 3] = TileState.ENCODED
    image = np.full((360, 640, 3), 100, np.uint8)
    picture = _decoded(tiles_uri(replace(sample_pictures()[0], image=image, tiles=tiles)))
    y, x = np.nonzero(picture[..., 0].astype(int) - picture[..., 2] > 30)
    tile_px = picture.shape[1] / 20
    assert abs(x.mean() / tile_px - 3.5) < 0.1
    assert abs(y.mean() / tile_px - 10.5) < 0.1


def test_only_a_frame_with_reuse_has_a_map() -> None:
    with_tiles, without = sample_pictures()
    assert with_tiles.tiles is not None
    assert with_tiles.is_reused
    assert not without.is_reused
    every = np.full_like(with_tiles.tiles, TileState.ENCODED)
    assert not replace(with_tiles, tiles=every).is_reused
