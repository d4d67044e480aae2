"""Tiles whose content only moved: which they are, and what is promised of them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import make_frame
from hypothesis import given, settings
from hypothesis import strategies as st
from tile_stream import compensate

from streamvis.tiling.config import TilingConfig
from streamvis.tiling.gate import ChangeGate
from streamvis.tiling.grid import TileGrid
from streamvis.tiling.motion import MAX_SHIFT_PX, EgoMotion, HalfFlow
from streamvis.tiling.plan import count_tiles
from streamvis.tiling.residual import block_differences, worst_of_tiles
from streamvis.types import Feedback, Frame, TilePlan, TileState

GRID = TileGrid(rows=3, cols=4, tile_px=64)
HEIGHT, WIDTH, _ = GRID.picture_shape
MARGIN = 64
THRESHOLD = 12.0
ACK = Feedback(need_i=False)


def world(seed: int = 0) -> np.ndarray:
    """Soft blobs, larger than what a camera sees of them."""
    shape = ((HEIGHT + 2 * MARGIN) // 8, (WIDTH + 2 * MARGIN) // 8, 3)
    coarse = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    return cv2.resize(
        coarse, (WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN), interpolation=cv2.INTER_CUBIC
    )


WORLD = world()


def seen(x: int, y: int) -> np.ndarray:
    """By a camera that moved (x, y) px."""
    return WORLD[MARGIN + y : MARGIN + y + HEIGHT, MARGIN + x : MARGIN + x + WIDTH].copy()


def frame_of(image: np.ndarray, index: int, step: tuple[int, int] | None = None) -> Frame:
    """`step`: how far the camera moved since the frame before, px, as a codec tells it."""
    motion = None
    if step is not None:
        motion = np.full((HEIGHT // 16, WIDTH // 16, 2), 4, np.int16) * np.array(step, np.int16)
    return replace(make_frame(index, size=(WIDTH, HEIGHT)), image=image, motion=motion)


def gate(motion: str, **options) -> ChangeGate:
    options = {
        "policy": "threshold",
        "threshold": THRESHOLD,
        "refresh": False,
        "noise_factor": 0,
        **options,
    }
    return ChangeGate(TilingConfig.model_validate({"motion": motion, **options}), GRID)


def drive(made: ChangeGate, steps, feedback: Feedback = ACK, has_vectors: bool = True):
    """A camera that makes these steps, px a frame: plans and pictures."""
    x = y = 0
    plans, images = [made.plan(frame_of(seen(0, 0), 0), feedback)], [seen(0, 0)]
    for i, step in enumerate(steps, 1):
        x, y = x + step[0], y + step[1]
        images.append(seen(x, y))
        frame = frame_of(images[-1], i, step if has_vectors else None)
        plans.append(made.plan(frame, feedback))
    return plans, images


@pytest.mark.parametrize("motion", ["codec", "flow", "auto"])
def test_of_a_picture_that_moved_only_what_is_newly_exposed_travels(motion):
    (_, none), _ = drive(gate("none"), [(5, 2)])
    assert none.kind == "I", "without motion it is a cut"
    (_, plan), _ = drive(gate(motion), [(5, 2)])
    moved = plan.states() == TileState.MOVED
    assert moved[:2, :3].sum() >= 5, "what the camera turns to comes in from the right and below"
    assert 0 < len(plan.index) <= 6, "of 12"
    assert np.abs(plan.motion[moved.ravel()] - (20, 8)).max() <= 4, "quarter px"
    assert count_tiles(plan).moved == moved.sum()
    assert count_tiles(plan).stale == 0


@pytest.mark.parametrize("motion", ["codec", "flow"])
def test_a_moved_tile_is_the_canvas_shifted_within_the_threshold(motion):
    made = gate(motion)
    plans, images = drive(made, [(2, 1)] * 5)
    canvas = images[0].copy()
    for plan, image in zip(plans, images, strict=True):
        left = worst_of_tiles(block_differences(image, shown(canvas, plan, image)), GRID)
        assert left.max() < THRESHOLD
        GRID.paste(canvas, plan.index, GRID.cut(image, plan.index))
    assert any(plan.motion.any() for plan in plans)


def test_the_codecs_vectors_add_up_until_a_tile_is_encoded():
    plans, _ = drive(gate("codec"), [(3, 0)] * 3)
    assert [plan.motion[0].tolist() for plan in plans[1:]] == [[12, 0], [24, 0], [36, 0]]


def test_what_moved_too_far_travels():
    steps = [(6, 0)] * 4
    plans, _ = drive(gate("codec", dense_above=1.0), steps)
    is_sent = [0 in plan.index for plan in plans]
    assert is_sent == [True, False, False, MAX_SHIFT_PX < 18, False]


@pytest.mark.parametrize("motion", ["codec", "flow"])
def test_where_something_was_detected_nothing_counts_as_moved(motion):
    boxes = np.array([[80, 10, 110, 40]], np.float32)  # tile 1
    (_, plan), _ = drive(gate(motion), [(4, 0)], replace(ACK, boxes=boxes))
    assert 1 in plan.index
    assert plan.motion[0].any()


def test_boxes_go_with_the_picture():
    """An object at the right edge of tile 1 is in tile 0 by now."""
    boxes = np.array([[74, 80, 84, 90]], np.float32)  # tile 5: it needs 10 px and the margin of 8
    (_, still), _ = drive(gate("codec"), [(0, 0)], replace(ACK, boxes=boxes))
    (_, plan), _ = drive(gate("codec"), [(12, 0)], replace(ACK, boxes=boxes))
    assert len(still.index) == 0
    assert {4, 5} <= set(plan.index)
    assert plan.motion[0].any()


def test_an_object_that_moves_before_a_still_wall_travels():
    wall = seen(0, 0)
    wall[:] = 90
    later = wall.copy()
    wall[20:40, 20:40], later[20:40, 26:46] = 200, 200
    made = gate("flow", dense_above=1.0)
    made.plan(frame_of(wall, 0), ACK)
    assert made.plan(frame_of(later, 1), ACK).index.tolist() == [0]


def test_after_a_dropped_frame_the_flow_stands_in_for_the_vectors():
    made = gate("auto")
    made.plan(frame_of(seen(0, 0), 0), ACK)
    plan = made.plan(frame_of(seen(6, 0), 2, step=(3, 0)), ACK)
    assert np.abs(plan.motion[0] - (24, 0)).max() <= 4
    following = made.plan(frame_of(seen(8, 0), 3, step=(2, 0)), ACK)
    assert np.abs(following.motion[0] - (32, 0)).max() <= 4, "and the vectors add to it"


@pytest.mark.parametrize("has_vectors", [True, False])
def test_vectors_that_lie_do_no_harm(has_vectors):
    made = gate("codec", dense_above=1.0)
    made.plan(frame_of(seen(0, 0), 0), ACK)
    plan = made.plan(frame_of(seen(5, 2), 1, step=(-7, 3) if has_vectors else None), ACK)
    assert len(plan.index) == GRID.num_tiles
    assert count_tiles(plan).moved == 0


def test_moved_tiles_have_their_turn_within_max_age():
    plans, _ = drive(gate("codec", refresh=True, max_age=4), [(1, 0)] * 12)
    assert max(count_tiles(plan).max_age for plan in plans) <= 4
    assert any(count_tiles(plan).moved for plan in plans)


def test_reset_forgets_what_moved():
    made = gate("codec")
    drive(made, [(3, 0)] * 2)
    made.reset()
    plans, _ = drive(made, [(3, 0)])
    assert plans[0].kind == "I"
    assert plans[1].motion[0].tolist() == [12, 0]


def test_a_camera_that_stands_is_not_looked_at(monkeypatch):
    monkeypatch.setattr(HalfFlow, "between", lambda *_: pytest.fail("the flow costs time"))
    made = gate("flow")
    made.plan(frame_of(seen(0, 0), 0), ACK)
    image = seen(0, 0)
    image[10:30, 10:30] = 255
    assert made.plan(frame_of(image, 1), ACK).index.tolist() == [0]


def test_a_look_that_finds_nothing_is_not_repeated_at_once():
    ego = EgoMotion()
    looks = []
    for _ in range(11):
        looks.append(ego.is_worth_a_look(0.5))
        if looks[-1]:
            ego.account(0.0)
    assert looks == [True, *[False] * 4, True, *[False] * 4, True]


def test_stopped_driving_turning():
    ego = EgoMotion()
    assert (ego.is_worth_a_look(0.05), ego.state) == (False, "stopped")
    assert ego.is_worth_a_look(0.6)
    ego.see(np.array([1.0, 2.0, 30.0], np.float32))
    assert ego.state == "driving"
    ego.see(np.array([20.0, 25.0, 1.0], np.float32))
    assert ego.state == "turning"
    ego.is_worth_a_look(0.0)
    assert ego.state == "stopped"


@pytest.mark.parametrize("motion", ["codec", "flow", "auto"])
@pytest.mark.parametrize("tile_px", [32, 64])
def test_a_grid_of_one_tile(motion, tile_px):
    grid = TileGrid(1, 1, tile_px)
    made = ChangeGate(TilingConfig(policy="threshold", motion=motion, refresh=False), grid)
    for i in range(4):
        image = seen(3 * i, 0)[:tile_px, :tile_px]
        frame = replace(make_frame(i, size=(tile_px, tile_px)), image=image)
        plan = made.plan(frame, ACK)
        assert count_tiles(plan).stale == 0


STEPS = st.lists(
    st.tuples(
        st.integers(-9, 9),
        st.integers(-9, 9),
        st.sampled_from(["right", "wrong", "none"]),  # the vectors
        st.sampled_from(["", "", "patch", "noise"]),
        st.integers(1, 2),  # frames since the one before
    ),
    min_size=1,
    max_size=15,
)


@settings(deadline=None, max_examples=40)
@given(STEPS, st.sampled_from(["codec", "flow", "auto"]), st.sampled_from([None, 2]))
def test_staleness_invariant_with_motion(steps, motion, budget):
    """Every tile that is not counted as stale differs by less than the threshold from the canvas,
    or, where it counts as moved, from the canvas shifted by no more than is allowed."""
    policy = {"policy": "threshold"} if budget is None else {"policy": "budget", "budget": budget}
    made = gate(motion, **policy, max_age=6, refresh=True)
    random = np.random.default_rng(0)
    canvas, x, y, index = np.zeros(GRID.picture_shape, np.uint8), 0, 0, 0
    encoded_at = np.zeros(GRID.num_tiles, np.int64)
    for dx, dy, vectors, event, gap in [(0, 0, "none", "", 1), *steps]:
        x, y = np.clip((x + dx, y + dy), -MARGIN, MARGIN)
        index += gap
        image = disturbed(seen(x, y), event, random)
        step = {"right": (dx, dy), "wrong": (-dx, dy + 3), "none": None}[vectors]
        plan = made.plan(frame_of(image, index, step), ACK)
        encoded_at[plan.index] = index
        check(plan, image, shown(canvas, plan, image), index - encoded_at)
        GRID.paste(canvas, plan.index, GRID.cut(image, plan.index))


def shown(canvas: np.ndarray, plan: TilePlan, image: np.ndarray) -> np.ndarray:
    """The canvas of the frame before, what moved shifted, and the new tiles."""
    picture = compensate(canvas, plan)
    GRID.paste(picture, plan.index, GRID.cut(image, plan.index))
    return picture


def check(plan: TilePlan, image: np.ndarray, picture: np.ndarray, age: np.ndarray) -> None:
    left = worst_of_tiles(block_differences(image, picture), GRID)
    is_bad = (left >= THRESHOLD) | (age > 6)
    assert count_tiles(plan).stale >= is_bad.sum()
    assert np.abs(plan.motion).max(initial=0) <= MAX_SHIFT_PX * 4
    if len(plan.motion):
        assert not plan.motion[plan.index].any(), "an encoded tile did not move"


def disturbed(image: np.ndarray, event: str, random: np.random.Generator) -> np.ndarray:
    if event == "patch":
        image[70:100, 70:90] = random.integers(0, 256, 3)
    if event == "noise":
        return np.clip(image + random.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    return image
