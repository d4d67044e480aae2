"""Cutting and pasting tiles, and the canvas's rule of which packet fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_frame

from streamvis.front import CameraFront
from streamvis.tiling.canvas import Canvas
from streamvis.tiling.gate import DenseGate
from streamvis.tiling.grid import TileGrid
from streamvis.types import Feedback, TilePlan

GRID = TileGrid(rows=2, cols=3, tile_px=32)


def packets(count):
    front = CameraFront(GRID, DenseGate(GRID))
    return [front.step(make_frame(i, size=(96, 64)), Feedback()) for i in range(count)]


def p_packet(i_packet, index):
    """The same frame as a P packet with the tiles `index` only."""
    index = np.array(index, np.int32)
    plan = replace(i_packet.plan, kind="P", index=index)
    return replace(i_packet, base_seq=i_packet.seq - 1, plan=plan, tiles=i_packet.tiles[index])


def test_cut_then_paste_gives_the_picture_back():
    picture = np.random.default_rng(0).integers(0, 255, GRID.picture_shape, np.uint8)
    index = np.arange(GRID.num_tiles, dtype=np.int32)
    tiles = GRID.cut(picture, index)
    assert np.array_equal(tiles[4], picture[32:64, 32:64])
    copy = np.zeros_like(picture)
    GRID.paste(copy, index, tiles)
    assert np.array_equal(copy, picture)


def test_a_grid_must_divide_the_picture():
    with pytest.raises(ValueError, match="not a multiple"):
        TileGrid.over(640, 360, 64)


def test_an_i_packet_makes_the_canvas_the_frame():
    canvas = Canvas(GRID)
    (packet,) = packets(1)
    canvas.apply(packet)
    assert np.array_equal(canvas.image, make_frame(0, size=(96, 64)).image)
    assert canvas.seq == packet.seq


def test_a_p_packet_changes_its_tiles_only():
    first, second = packets(2)
    canvas = Canvas(GRID)
    canvas.apply(first)
    canvas.apply(p_packet(second, [1, 5]))
    new = make_frame(1, size=(96, 64)).image
    old = make_frame(0, size=(96, 64)).image
    assert np.array_equal(canvas.image[:32, 32:64], new[:32, 32:64])
    assert np.array_equal(canvas.image[:32, :32], old[:32, :32])


def test_a_p_packet_on_another_state_does_not_fit():
    first, second, third = packets(3)
    canvas = Canvas(GRID)
    assert not canvas.fits(p_packet(second, [0])), "an empty canvas takes only an I packet"
    canvas.apply(first)
    assert not canvas.fits(p_packet(third, [0])), "one packet is missing between"
    canvas.apply(p_packet(second, [0]))
    canvas.reset()
    assert not canvas.fits(p_packet(third, [0]))
    assert canvas.fits(third)


@pytest.mark.parametrize("index", [[2, 1], [1, 1], [-1, 0], [0, 6]])
def test_a_plan_refuses_a_wrong_index(index):
    zeros = np.zeros(6, np.float32)
    with pytest.raises(ValueError, match="index must"):
        TilePlan(
            2,
            3,
            32,
            "P",
            np.array(index, np.int32),
            np.zeros((0, 2), np.int16),
            zeros,
            zeros.astype(np.int32),
        )
