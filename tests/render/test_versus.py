from __future__ import annotations

import numpy as np
import pytest

from streamvis.render.tile_map import ENCODED
from streamvis.render.versus import Spent, Versus


def grey(level: int) -> np.ndarray:
    return np.full((90, 160, 3), level, np.uint8)


@pytest.mark.parametrize("num_cameras", range(1, 10))
def test_any_number_of_cameras_fits_a_screen_and_h264(num_cameras: int) -> None:
    view = Versus([f"cam{i}" for i in range(num_cameras)], ("a", "b"))
    width, height = view.size
    assert width % 2 == height % 2 == 0
    assert width <= 2000
    assert view.compose(Spent(0, 0.0), Spent(0, 0.0)).shape == (height, width, 3)


def test_each_side_shows_its_own_and_keeps_what_is_not_new() -> None:
    view = Versus(["a", "b"], ("dense", "reuse"))
    view.put({"a": grey(60), "b": grey(80)}, {"a": grey(100), "b": grey(120)})
    view.put({"a": grey(70)}, {"a": grey(110)})
    picture = view.compose(Spent(60, 1.0), Spent(30, 0.5))
    row = picture[56 + 4 + view.cell_size[1] // 2]
    quarter = picture.shape[1] // 4
    levels = [int(np.median(row[i * quarter : (i + 1) * quarter])) for i in range(4)]
    assert levels == [70, 80, 110, 120]


def test_the_bars_are_as_long_as_the_times() -> None:
    view = Versus(["a"], ("dense", "reuse"))
    picture = view.compose(Spent(60, 2.0), Spent(30, 0.5))
    left, right = np.split((picture[:56] == ENCODED).all(axis=2).any(axis=0), 2)
    assert right.sum() / left.sum() == pytest.approx(0.25, abs=0.01)


def test_heads_hold_names_and_figures() -> None:
    view = Versus(["a"], ("dense", "reuse"))
    none, some = (view.compose(Spent(60, 1.0), Spent(n, 0.5))[:40] for n in (0, 30))
    half = some.shape[1] // 2
    assert (some[:, half + 10 : half + 60] > 200).any()
    assert not np.array_equal(none[:, half:], some[:, half:])
    np.testing.assert_array_equal(none[:, :half], some[:, :half])
