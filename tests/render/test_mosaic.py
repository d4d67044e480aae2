from __future__ import annotations

import numpy as np
import pytest

from streamvis.render.mosaic import Mosaic
from streamvis.render.picture import Picture, fit_size


def plain(level: int, width: int = 640, height: int = 360) -> Picture:
    return np.full((height, width, 3), level, np.uint8)


@pytest.mark.parametrize(
    ("num_cameras", "cols", "rows"),
    [(1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 2, 2), (5, 3, 2), (6, 3, 2), (7, 3, 3), (12, 4, 3)],
)
def test_the_grid_is_near_square(num_cameras: int, cols: int, rows: int) -> None:
    mosaic = Mosaic([f"cam{i}" for i in range(num_cameras)], (64, 36))
    assert mosaic.size == (cols * 68 + 4, rows * 40 + 4)
    assert mosaic.compose().shape == (mosaic.size[1], mosaic.size[0], 3)


def test_every_picture_in_its_own_cell() -> None:
    names = ["front", "left", "right", "back"]
    mosaic = Mosaic(names)
    for i, name in enumerate(names):
        mosaic.put(name, plain(50 * (i + 1)))
    whole = mosaic.compose()
    for i, (y, x) in enumerate([(4, 4), (4, 648), (368, 4), (368, 648)]):
        assert (whole[y : y + 360, x : x + 640] == 50 * (i + 1)).all()
    assert whole[2].max() < 30  # the gutter
    assert whole[:, 646].max() < 30


def test_another_shape_is_centred() -> None:
    mosaic = Mosaic(["square"])
    mosaic.put("square", plain(200, 100, 100))
    cell = mosaic.compose()[4:-4, 4:-4]
    assert (cell[:, 140:500] == 200).all()
    assert cell[:, :139].max() < 30
    assert cell[:, 501:].max() < 30


def test_no_signal_before_the_first_picture_and_after_the_last() -> None:
    mosaic = Mosaic(["front"])
    never = mosaic.compose()
    assert never.std() > 0  # it says so in words
    assert np.median(never) < 50
    mosaic.put("front", plain(200))
    assert np.median(mosaic.compose()) == 200
    mosaic.clear("front")
    np.testing.assert_array_equal(mosaic.compose(), never)


def test_the_composed_picture_is_the_callers_own() -> None:
    mosaic = Mosaic(["front"])
    mosaic.compose()[:] = 255
    assert np.median(mosaic.compose()) < 50


@pytest.mark.parametrize(("cameras", "cell_size"), [([], (64, 36)), (["a"], (63, 36))])
def test_refused(cameras: list[str], cell_size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="even cell size"):
        Mosaic(cameras, cell_size)


@pytest.mark.parametrize(
    ("size", "want"), [((1280, 720), (640, 360)), ((100, 100), (360, 360)), ((64, 10), (640, 100))]
)
def test_fit_size(size: tuple[int, int], want: tuple[int, int]) -> None:
    assert fit_size(size, (640, 360)) == want
