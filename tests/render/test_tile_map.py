from __future__ import annotations

import numpy as np
import pytest

from streamvis.render.tile_map import ENCODED, MOVED, STALE, draw_tiles, legend, tiles_text
from streamvis.types import TileState

GREY = 120


def states(*rows: str) -> np.ndarray:
    """A letter a tile: r, e, m, s."""
    return np.array([["rems".index(letter) for letter in row] for row in rows], np.uint8)


def painted(found: np.ndarray, tile_px: float, size: tuple[int, int]) -> np.ndarray:
    picture = np.full((size[1], size[0], 3), GREY, np.uint8)
    draw_tiles(picture, found, tile_px)
    return picture.astype(int)


def test_encoded_tiles_stay_bright_and_reused_ones_step_back() -> None:
    picture = painted(states("er"), 32, (64, 32))
    assert picture[16, 16].mean() > GREY
    assert (picture[16, 48] < 0.7 * GREY).all()


@pytest.mark.parametrize(("letter", "colour"), [("e", ENCODED), ("m", MOVED), ("s", STALE)])
def test_every_state_leans_to_its_colour_and_is_outlined_in_it(letter: str, colour: tuple) -> None:
    picture = painted(states(f"r{letter}"), 32, (64, 32))
    lean = picture[16, 48] - picture[16, 48].mean()
    assert np.argmax(lean) == np.argmax(colour)
    assert np.argmin(lean) == np.argmin(colour)
    assert tuple(picture[16, 32]) == colour


def test_no_line_runs_through_a_region_or_around_reused_tiles() -> None:
    picture = painted(states("rreer", "rreer", "rrrrr"), 32, (160, 96))
    assert len(np.unique(picture[8:56, 72:120].reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(picture[72:, :].reshape(-1, 3), axis=0)) == 1


def test_the_grid_may_be_larger_than_the_picture_and_its_tiles_no_whole_pixels() -> None:
    """640x360 of content in a grid of 10x6 tiles, shown at a third."""
    found = np.zeros((6, 10), np.uint8)
    found[5, 9] = TileState.STALE
    picture = painted(found, 64 / 3, (213, 120))
    assert picture[118, 205, 0] > picture[118, 205, 1] + 30
    for y, x in ((100, 205), (118, 185)):
        assert np.ptp(picture[y, x]) < 5, "reused: no colour"


def test_one_tile_alone() -> None:
    assert painted(states("e"), 64, (64, 36)).shape == (36, 64, 3)


def test_the_counts_in_words() -> None:
    assert tiles_text(states("rree", "eeee")) == "encoded 6/8"
    assert tiles_text(states("reem", "mmss")) == "encoded 2/8, moved 3, stale 2"


def test_the_legend_shows_what_finds_room() -> None:
    wide, narrow = legend(640, 28), legend(200, 28)
    assert wide.shape == (28, 640, 3)
    for colour in (ENCODED, MOVED, STALE):
        assert (wide == colour).all(axis=2).any()
    assert (narrow == ENCODED).all(axis=2).any()
    assert not (narrow == STALE).all(axis=2).any()
    assert np.ptp(narrow[:, -8:]) <= 6, "nothing is cut off at the edge"
