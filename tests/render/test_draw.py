from __future__ import annotations

import itertools

import numpy as np
import pytest

from streamvis.render.draw import draw_caption, draw_detections, track_colour
from streamvis.render.picture import Picture
from streamvis.source import framecode
from streamvis.types import CLASSES, Detections

CAR = CLASSES.index("car")


def blank(width: int = 640, height: int = 360) -> Picture:
    return np.zeros((height, width, 3), np.uint8)


def see(*boxes: tuple[float, float, float, float], first_id: int = 1) -> Detections:
    n = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(n, 4),
        np.full(n, 0.87, np.float32),
        np.full(n, CAR, np.int32),
        np.arange(first_id, first_id + n, dtype=np.int64),
    )


def painted(picture: Picture) -> tuple[int, int, int, int]:
    """The bounding box of everything that is not black: x1, y1, x2, y2."""
    ys, xs = np.nonzero(picture.any(axis=2))
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def test_a_box_is_drawn_where_it_is_in_its_own_colour() -> None:
    picture = blank()
    draw_detections(picture, see((100, 200, 300, 300), first_id=7), CLASSES)
    for x, y in ((100, 250), (299, 250), (250, 200), (150, 299)):
        assert tuple(picture[y, x]) == track_colour(7)
    x1, _, x2, y2 = painted(picture)
    assert x1 in range(97, 101)
    assert (x2, y2) == (pytest.approx(300, abs=2), pytest.approx(300, abs=2))


def test_the_label_stands_above_its_box() -> None:
    picture = blank()
    draw_detections(picture, see((100, 200, 300, 300)), CLASSES)
    chip = picture[182:198, 100:180]
    assert (chip.max(axis=2) > 200).mean() > 0.5  # coloured ground
    assert (chip.max(axis=2) < 90).any()  # dark ink on it


def test_labels_leave_the_frame_code_alone() -> None:
    picture = np.full((360, 640, 3), 90, np.uint8)
    framecode.write(picture, index=1234, camera_number=2)
    for x in range(0, 240, 60):
        draw_detections(picture, see((x, 17, x + 50, 120)), CLASSES)
    draw_caption(picture, "front", "frame 1234")
    assert framecode.read(picture) == framecode.FrameCode(1234, 2)


def test_labels_do_not_cover_each_other() -> None:
    """The small box would have its label where the large one's is, and puts it below."""
    large, small = (100, 200, 300, 300), (100, 200, 160, 224)
    alone, both = blank(), blank()
    draw_detections(alone, see(large), CLASSES)
    draw_detections(both, see(large, small), CLASSES)
    label = np.s_[184:198, 102:170]
    np.testing.assert_array_equal(both[label], alone[label])
    assert (both[226:238, 100:160] != alone[226:238, 100:160]).any(axis=2).mean() > 0.5


def test_a_label_without_room_is_left_out() -> None:
    crowd = see(*[(100 + k, 100 + k, 160 + k, 140 + k) for k in range(12)])
    picture = blank()
    draw_detections(picture, crowd, CLASSES)
    _, y1, _, y2 = painted(picture)
    assert y1 > 70
    assert y2 < 180


@pytest.mark.parametrize(
    "outside",
    [(-50, -50, 20, 20), (600, 340, 700, 400), (700, 400, 800, 500), (50, 50, 50, 50)],
)
def test_boxes_over_the_edge(outside: tuple[float, float, float, float]) -> None:
    picture = blank()
    draw_detections(picture, see(outside), CLASSES)
    assert picture.shape == (360, 640, 3)


def test_a_picture_smaller_than_a_label() -> None:
    draw_detections(blank(16, 30), see((2, 10, 12, 28)), CLASSES)


def test_everything_grows_with_the_picture() -> None:
    small, large = blank(), blank(1280, 720)
    draw_caption(small, "front", "frame 12")
    draw_caption(large, "front", "frame 12")
    (_, y_small, x_small, _), (_, y_large, x_large, _) = painted(small), painted(large)
    assert x_large == pytest.approx(2 * x_small, rel=0.05)
    assert 720 - y_large == pytest.approx(2 * (360 - y_small), rel=0.1)


def test_the_caption_is_at_the_bottom_left() -> None:
    picture = blank()
    draw_caption(picture, "front", "frame 12   age 40 ms")
    x1, y1, x2, y2 = painted(picture)
    assert x1 == 0
    assert y1 > 330
    assert x2 < 240
    assert y2 == 360


def test_nothing_seen_changes_nothing() -> None:
    picture = blank()
    draw_detections(picture, Detections.empty(), CLASSES)
    assert not picture.any()


def test_neighbouring_ids_have_different_colours() -> None:
    for start in range(1, 60):
        for a, b in itertools.combinations(range(start, start + 4), 2):
            distance = np.abs(np.subtract(track_colour(a), track_colour(b))).sum()
            assert distance > 60, (a, b)


def test_the_colour_belongs_to_the_id() -> None:
    assert track_colour(12) == track_colour(12)
    assert track_colour(-1) == (176, 182, 190)


def test_colours_given_take_the_place_of_the_ids_colour() -> None:
    picture = blank()
    found = see((100, 100, 200, 200))
    draw_detections(picture, found, CLASSES, [(250, 10, 20)])
    assert (picture == (250, 10, 20)).all(-1).any()
    assert not (picture == track_colour(int(found.track_id[0]))).all(-1).any()


def test_low_boxes_get_no_text() -> None:
    plain, bare = blank(), blank()
    found = see((100, 100, 200, 119))
    draw_detections(plain, found, CLASSES, min_labelled_px=19)
    draw_detections(bare, found, CLASSES, min_labelled_px=20)
    assert painted(bare)[1] > painted(plain)[1]  # the text stands above the box
    assert painted(bare)[3] == painted(plain)[3]
