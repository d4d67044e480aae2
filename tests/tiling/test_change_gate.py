"""The gate: what travels, when, and what is owned up to when it does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_frame
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from streamvis.tiling import gate as gate_module
from streamvis.tiling.config import TilingConfig
from streamvis.tiling.gate import ChangeGate, DenseGate, build_gate
from streamvis.tiling.grid import TileGrid
from streamvis.tiling.plan import count_tiles
from streamvis.tiling.policy import Allowance
from streamvis.tiling.residual import worst_of_tiles
from streamvis.types import Feedback, Frame, LetterBox

GRID = TileGrid(rows=2, cols=3, tile_px=64)
ACK = Feedback(need_i=False)
STILL = {"policy": "threshold", "refresh": False}


def gate(**options) -> ChangeGate:
    made = build_gate(
        TilingConfig.model_validate({"policy": "threshold", "threshold": 8, **options}), GRID
    )
    assert isinstance(made, ChangeGate)
    return made


def frame_of(image: np.ndarray, index: int = 0, **options) -> Frame:
    height, width = image.shape[:2]
    return replace(make_frame(index, size=(width, height)), image=image, **options)


def grey(level: int = 100) -> np.ndarray:
    return np.full(GRID.picture_shape, level, np.uint8)


def with_patch(image: np.ndarray, tile: int, height: int, width: int, by: int) -> np.ndarray:
    """The picture with a patch of another level in the middle of a tile."""
    changed = image.copy()
    y, x = (n * 64 + 24 for n in divmod(tile, GRID.cols))
    changed[y : y + height, x : x + width] += np.uint8(by)
    return changed


def run(made: ChangeGate, images, feedback: Feedback = ACK):
    return [made.plan(frame_of(image, i), feedback) for i, image in enumerate(images)]


def test_off_sends_everything():
    assert isinstance(build_gate(TilingConfig(), GRID), DenseGate)


def test_the_first_plan_is_an_i_plan_and_nothing_changed_sends_nothing():
    first, second, third = run(gate(refresh=False), [grey()] * 3)
    assert first.kind == "I"
    assert len(first.index) == 6
    assert (second.kind, len(second.index), len(third.index)) == ("P", 0, 0)
    assert count_tiles(third).max_age == 2
    assert count_tiles(third).stale == 0


def test_nothing_changed_sends_exactly_the_refresh_slice_and_everyone_has_a_turn():
    plans = run(gate(max_age=3), [grey()] * 8)[1:]
    assert [len(plan.index) for plan in plans] == [2] * 7
    assert sorted(i for plan in plans[:3] for i in plan.index) == list(range(6))
    assert max(count_tiles(plan).max_age for plan in plans) <= 3


def test_max_age_1_is_dense():
    assert [len(plan.index) for plan in run(gate(max_age=1), [grey()] * 3)] == [6, 6, 6]


def test_a_small_person_is_seen_where_a_tile_mean_would_hide_it():
    _, plan = run(gate(refresh=False), [grey(), with_patch(grey(), 4, 20, 8, 20)])
    assert plan.index.tolist() == [4]


def test_a_change_of_colour_alone_is_seen():
    changed = grey()
    changed[:64, :64] = (112, 94, 100)  # the same luma
    assert run(gate(refresh=False), [grey(), changed])[1].index.tolist() == [0]


def test_a_patch_just_under_the_threshold_waits_for_its_turn():
    plans = run(gate(max_age=30), [grey()] + [with_patch(grey(), 5, 8, 8, 7)] * 31)
    sent = [i for i, plan in enumerate(plans) if 5 in plan.index and i]
    assert sent
    assert sent[0] <= 30
    assert all(count_tiles(plan).stale == 0 for plan in plans)


def test_a_fade_slower_than_any_difference_of_frames_adds_up():
    levels = [100 + i // 4 for i in range(80)]  # 0.25 levels a frame
    plans = run(gate(refresh=False, dense_above=1.0), [grey(level) for level in levels])
    sent = [i for i, plan in enumerate(plans) if len(plan.index)]
    assert sent == [0, 32, 64], "8 levels after the last one"


def test_under_a_detection_the_threshold_is_lower():
    boxes = np.array([[70, 10, 100, 40]], np.float32)  # tile 1
    image = with_patch(with_patch(grey(), 1, 8, 8, 5), 5, 8, 8, 5)
    plans = run(gate(refresh=False), [grey(), image], replace(ACK, boxes=boxes))
    assert plans[1].index.tolist() == [1]


@pytest.mark.parametrize(
    "boxes",
    [[[-900, -900, -800, -800]], [[1e9, 0, 2e9, 9]], [[np.nan, 0, 5, 5]], [[50, 50, 10, 10]]],
)
def test_boxes_outside_or_not_a_number_do_no_harm(boxes):
    feedback = replace(ACK, boxes=np.array(boxes, np.float32))
    assert len(run(gate(refresh=False), [grey(), grey()], feedback)[1].index) == 0


@pytest.mark.parametrize("std", [3.0, 8.0])
def test_the_threshold_adapts_to_noise(std):
    random = np.random.default_rng(0)

    def noisy():
        return np.clip(grey() + random.normal(0, std, GRID.picture_shape), 0, 255).astype(np.uint8)

    plans = run(gate(refresh=False), [noisy() for _ in range(30)])
    assert sum(len(plan.index) for plan in plans[5:]) <= 6
    changed = with_patch(noisy(), 3, 16, 16, 60)
    last = run_on = gate(refresh=False)
    run(run_on, [noisy() for _ in range(10)])
    assert last.plan(frame_of(changed, 10), ACK).index.tolist() == [3]


@pytest.mark.parametrize("reason", ["need_i", "is_discont", "is_corrupt", "back", "cut"])
def test_after_a_discontinuity_everything_travels(reason):
    made = gate(refresh=False)
    run(made, [grey(), grey()])
    flags = {reason: True} if reason.startswith("is_") else {}
    image = grey(200) if reason == "cut" else grey()
    frame = frame_of(image, 0 if reason == "back" else 2, **flags)
    plan = made.plan(frame, replace(ACK, need_i=reason == "need_i"))
    assert plan.kind == "I"
    following = made.plan(frame_of(image, 3), ACK)
    assert following.kind == ("I" if reason == "is_corrupt" else "P")


def test_frames_that_never_came_make_tiles_older():
    made = gate(max_age=30, refresh=False)
    run(made, [grey()])
    assert count_tiles(made.plan(frame_of(grey(), 20), ACK)).max_age == 20


@pytest.mark.parametrize("policy", [{}, {"policy": "budget", "budget": 1}])
def test_after_a_gap_longer_than_max_age_everything_travels(policy):
    for missing, kind in ((29, "P"), (30, "I")):
        made = gate(max_age=30, **policy)
        run(made, [grey()])
        assert made.plan(frame_of(grey(), 1 + missing), ACK).kind == kind


def test_frames_of_alternating_size_are_all_sent_as_a_whole():
    """The source says it too; the gate does not count on it."""
    made = gate()
    sizes = [(640, 360), (640, 480), (640, 360), (640, 360)]
    height, width, _ = GRID.picture_shape
    plans = [
        made.plan(replace(frame_of(grey(), i), letterbox=LetterBox(*size, width, height)), ACK)
        for i, size in enumerate(sizes)
    ]
    assert [plan.kind for plan in plans] == ["I", "I", "I", "P"]


def shades() -> np.ndarray:
    """Mostly dark, with lamps: a factor changes most of it by less than the threshold."""
    coarse = np.random.default_rng(3).integers(20, 34, (*GRID.picture_shape[:2], 1))
    coarse[10:40, 10:40] = 150
    return np.repeat(coarse, 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize(("gain", "kind"), [(0.7, "I"), (1.3, "I"), (0.95, "P"), (1.05, "P")])
def test_a_jump_of_the_exposure_sends_everything_a_drift_does_not(gain, kind):
    bright = np.clip(shades() * gain, 0, 255).astype(np.uint8)
    plans = run(gate(threshold=20, refresh=False), [shades(), shades(), bright, bright])
    assert [plan.kind for plan in plans] == ["I", "P", kind, "P"]


def test_half_a_picture_that_turns_bright_is_no_jump_of_the_exposure():
    half = shades().astype(float)
    half[:, :96] *= 1.5
    plans = run(
        gate(threshold=20, refresh=False), [shades(), np.clip(half, 0, 255).astype(np.uint8)]
    )
    assert plans[1].kind == "P"


def test_flicker_of_the_exposure_cannot_break_a_budget():
    images = [np.clip(shades() * (1 + i % 2), 0, 255).astype(np.uint8) for i in range(10)]
    plans = run(gate(policy="budget", budget=2), images)[1:]
    assert all(plan.kind == "P" and len(plan.index) <= 2 for plan in plans)


@pytest.mark.parametrize("policy", [{}, {"policy": "budget", "budget": 2}])
@pytest.mark.parametrize("motion", ["none", "flow"])
def test_a_residual_that_is_not_a_number_travels_or_is_stale(monkeypatch, policy, motion):
    def broken(blocks, grid):
        residual = worst_of_tiles(blocks, grid)
        residual[1:4] = np.nan
        return residual

    made = gate(refresh=False, motion=motion, **policy)
    run(made, [grey()])
    monkeypatch.setattr(gate_module, "worst_of_tiles", broken)
    plan = made.plan(frame_of(grey(), 1), ACK)
    assert set(plan.index) <= {1, 2, 3}
    assert len(plan.index) == (2 if policy else 3)
    assert count_tiles(plan).stale == 3 - len(plan.index)


def test_a_budget_takes_the_most_changed_and_counts_the_rest_as_stale():
    image = grey()
    for tile, by in ((0, 20), (2, 90), (4, 60)):
        image = with_patch(image, tile, 16, 16, by)
    plans = run(gate(policy="budget", budget=2, refresh=False), [grey(), image, image, image])
    assert plans[1].index.tolist() == [2, 4]
    assert count_tiles(plans[1]).stale == 1
    assert plans[2].index.tolist() == [0]
    assert len(plans[3].index) == 0
    assert count_tiles(plans[3]).stale == 0


def test_with_a_budget_every_tile_comes_by_even_in_flicker():
    images = [grey(100 + 60 * (i % 2)) for i in range(30)]
    plans = run(gate(policy="budget", budget=1), images)[1:]
    assert all(len(plan.index) == 1 for plan in plans)
    assert {int(plan.index[0]) for plan in plans} == set(range(6))
    assert sum(count_tiles(plan).stale for plan in plans) > 0, "nothing is hidden"


def test_budget_0_sends_nothing_after_the_first_and_says_so():
    plans = run(gate(policy="budget", budget=0), [grey(), grey(200)])
    assert [len(plan.index) for plan in plans] == [6, 0]
    assert count_tiles(plans[1]).stale == 6


def test_threshold_0_sends_all_and_an_infinite_one_nothing_but_the_refresh():
    assert len(run(gate(threshold=0, refresh=False), [grey(), grey()])[1].index) == 6
    plans = run(gate(threshold=np.inf, refresh=False), [grey(0), grey(255)])
    assert len(plans[1].index) == 0
    assert len(run(gate(threshold=np.inf, max_age=6), [grey(0), grey(255)])[1].index) == 1


class SlowBack:
    """Takes `base_ms` and so much a tile, give or take."""

    def __init__(self, base_ms: float, tile_ms: float, noise: float) -> None:
        self.base_ms, self.tile_ms, self._noise = base_ms, tile_ms, noise
        self._random = np.random.default_rng(0)

    def time_ms(self, num_tiles: int) -> float:
        factor = np.exp(self._random.normal(0, self._noise))
        return float((self.base_ms + self.tile_ms * num_tiles) * factor)


DEADLINE_MS = 8.0
DEMANDS = {  # tiles that changed, frame by frame
    "always": lambda _i, _random: 60,
    "any": lambda _i, random: int(random.integers(2, 61)),
    "bursts": lambda i, _random: 60 if i // 50 % 2 else 3,
}


def serve(back: SlowBack, demand: str, count: int, allowance: Allowance) -> np.ndarray:
    """What `count` frames take, ms."""
    random = np.random.default_rng(1)
    sent, took_ms, times = 60, 0.0, []
    for i in range(count):
        allowed = allowance.update(round(took_ms * 1e6), sent)
        assert allowed is not None
        sent = min(allowed, DEMANDS[demand](i, random))
        took_ms = back.time_ms(sent)
        times.append(took_ms)
    return np.array(times)


def allowance() -> Allowance:
    return Allowance(TilingConfig(policy="deadline", deadline_ms=DEADLINE_MS), 60)


@pytest.mark.parametrize("demand", DEMANDS)
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.2])
def test_the_deadline_keeps_the_99th_percentile(demand, noise):
    times = serve(SlowBack(1.5, 0.17, noise), demand, 2000, allowance())[10:]
    assert np.quantile(times, 0.99) <= DEADLINE_MS
    if demand == "always":
        assert np.mean(times) > 0.55 * DEADLINE_MS, "and it uses what it has"


def test_a_machine_that_gets_slower_and_recovers():
    back, shared = SlowBack(1.5, 0.17, 0.0), allowance()
    before = serve(back, "always", 200, shared)[-20:]
    back.base_ms, back.tile_ms = 3.0, 0.34
    slow = serve(back, "always", 200, shared)
    assert (slow > DEADLINE_MS).sum() <= 3, "three frames, then it has given way"
    back.base_ms, back.tile_ms = 1.5, 0.17
    after = serve(back, "always", 200, shared)[-20:]
    assert np.mean(after) == pytest.approx(np.mean(before), rel=0.1)


def test_a_deadline_that_cannot_be_kept_still_moves_on():
    """The back takes longer than the deadline for nothing at all: one tile a frame remains."""
    made = gate(policy="deadline", deadline_ms=1, max_age=30)
    slow = replace(ACK, service_ns=50_000_000)
    plans = run(made, [grey(100 + 60 * (i % 2)) for i in range(40)], slow)
    assert [len(plan.index) for plan in plans[20:]] == [1] * 20
    assert {int(plan.index[0]) for plan in plans[20:]} == set(range(6))
    assert all(count_tiles(plan).stale > 0 for plan in plans[20:])


def test_the_gate_follows_the_time_that_the_back_tells():
    made = gate(policy="deadline", deadline_ms=5)
    service_ns, times = 0, []
    for i in range(200):
        plan = made.plan(frame_of(grey(100 + 60 * (i % 2)), i), replace(ACK, service_ns=service_ns))
        service_ns = (1 + len(plan.index)) * 1_000_000
        times.append(service_ns)
    assert max(times[5:]) <= 5_000_000


def test_one_tile_and_one_colour():
    small = TileGrid(1, 1, 64)
    made = ChangeGate(TilingConfig(policy="threshold", refresh=False), small)
    images = [np.full(small.picture_shape, level, np.uint8) for level in (0, 0, 255, 255)]
    plans = [made.plan(frame_of(image, i), ACK) for i, image in enumerate(images)]
    assert [len(plan.index) for plan in plans] == [1, 0, 1, 0]


@pytest.mark.parametrize("motion", ["none", "flow"])
@pytest.mark.parametrize("policy", [{}, {"policy": "budget", "budget": 2}])
def test_pure_noise_is_new_all_over(motion, policy):
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, GRID.picture_shape, np.uint8) for _ in range(6)]
    plans = run(gate(motion=motion, refresh=False, **policy), images)[1:]
    for plan in plans:
        assert len(plan.index) == policy.get("budget", 6)
        assert count_tiles(plan).stale == 6 - len(plan.index)


@pytest.mark.parametrize("motion", ["none", "flow", "auto"])
def test_one_colour_after_another(motion):
    levels = [0, 0, 255, 255, 128]
    plans = run(gate(motion=motion, refresh=False), [grey(level) for level in levels])
    assert [len(plan.index) for plan in plans] == [6, 0, 6, 0, 6]


def test_reset_forgets_the_camera():
    made = gate()
    run(made, [grey(), grey()])
    made.reset()
    assert made.plan(frame_of(grey(), 2), ACK).kind == "I"


@pytest.mark.parametrize(
    "options",
    [
        {"policy": "budget"},
        {"policy": "deadline"},
        {"policy": "threshold", "budget": 3},
        {"policy": "threshold", "max_age": 0},
        {"policy": "threshold", "threshold": -1},
        {"policy": "threshold", "threshold": float("nan")},
    ],
)
def test_nonsense_is_refused(options):
    with pytest.raises(ValidationError):
        TilingConfig.model_validate(options)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["still", "fade", "patch", "flicker", "noise", "cut"]),
        st.integers(0, 5),  # tile
        st.integers(1, 3),  # frames since the one before
        st.booleans(),  # the back asks for an I packet: it was restarted, or lost one
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None, max_examples=60)
@given(STEPS, st.integers(0, 2**32 - 1), st.sampled_from([None, 0, 2]), st.integers(1, 12))
def test_staleness_invariant(steps, seed, budget, max_age):
    """Of every frame: a tile that is not counted as stale differs from the canvas by less than
    the threshold in every block, and was encoded at most max_age frames ago."""
    policy = {"policy": "threshold"} if budget is None else {"policy": "budget", "budget": budget}
    made = gate(**policy, max_age=max_age, noise_factor=0.0, threshold=8.0)
    random = np.random.default_rng(seed)
    image = random.integers(60, 180, GRID.picture_shape).astype(np.uint8)
    canvas = np.zeros_like(image)
    encoded_at = np.full(6, -1)
    index = 0
    for kind, tile, step, need_i in steps:
        index += step
        image = next_image(kind, image, tile, random)
        plan = made.plan(frame_of(image, index), replace(ACK, need_i=need_i))
        GRID.paste(canvas, plan.index, GRID.cut(image, plan.index))
        encoded_at[plan.index] = index
        tiles = np.abs(GRID.view(image).astype(int) - GRID.view(canvas))  # [rows, cols, T, T, 3]
        blocks = tiles.reshape(6, 8, 8, 8, 8, 3).mean(axis=(2, 4))  # [M, 8, 8, 3]
        is_far = blocks.max(axis=(1, 2, 3)) >= 8.5  # blocks are rounded to whole levels
        is_old = index - encoded_at > max_age
        counts = count_tiles(plan)
        assert counts.stale >= (is_far | is_old).sum()
        assert counts.max_age == (index - encoded_at).max()
        if budget is None:
            assert counts.stale == 0
        elif plan.kind == "P":
            assert counts.encoded <= budget


def next_image(kind, image, tile, random):
    if kind == "fade":
        return np.clip(image.astype(int) + 1, 0, 255).astype(np.uint8)
    if kind == "patch":
        y, x = (n * 64 + int(random.integers(0, 44)) for n in divmod(tile, 3))
        image = image.copy()
        image[y : y + 20, x : x + 7] ^= np.uint8(random.integers(0, 32))
        return image
    if kind == "flicker":
        return np.clip(image.astype(int) + int(random.choice([-9, 9])), 0, 255).astype(np.uint8)
    if kind == "noise":
        return np.clip(image + random.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
    if kind == "cut":
        return random.integers(0, 256, image.shape).astype(np.uint8)
    return image
