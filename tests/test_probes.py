"""What a camera may suffer, and what reuse must not make of it: bounds of the gate under the
probes of `streamvis eval`, and after any discontinuity the dense run's own outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from conftest import make_frame
from matrix import contract
from reuse_camera import Camera, check_equal

from streamvis.back import PerceptionBack, build_back
from streamvis.detect.config import DetectorConfig
from streamvis.encode.config import EncoderConfig
from streamvis.eval.probe import disturb
from streamvis.tiling.config import TilingConfig
from streamvis.tiling.gate import build_gate
from streamvis.tiling.grid import TileGrid
from streamvis.tiling.plan import count_tiles
from streamvis.track.config import TrackerConfig
from streamvis.types import Feedback, Frame, TilePlan

SIZE = (192, 128)
GRID = TileGrid(rows=2, cols=3, tile_px=64)
ACK = Feedback(need_i=False)
FPS = 30.0
ENCODER = EncoderConfig(input_size=SIZE, dtype="fp32", device="cpu")


def scene() -> np.ndarray:
    """Walls and windows: a picture that stands still."""
    coarse = np.random.default_rng(5).integers(60, 190, (8, 12, 1)).astype(np.uint8)
    return coarse.repeat(16, axis=0).repeat(16, axis=1).repeat(3, axis=2)


def frame_of(image: np.ndarray, index: int, **flags: bool) -> Frame:
    return replace(make_frame(index, size=SIZE), image=image, **flags)


def with_object(image: np.ndarray, tile: int, by: float) -> np.ndarray:
    """A person of 20x7 px in the middle of a tile, so much brighter than what is behind."""
    y, x = (64 * n + 24 for n in divmod(tile, GRID.cols))
    changed = image.astype(np.float64)
    changed[y : y + 20, x : x + 7] += by
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def plans(frames: Sequence[Frame], **tiling: object) -> list[TilePlan]:
    config = TilingConfig.model_validate({"policy": "threshold", **tiling})
    gate = build_gate(config, GRID)
    return [gate.plan(frame, ACK) for frame in frames]


def sent_at(made: Sequence[TilePlan], tile: int) -> list[int]:
    """Frames at which the tile travelled, without the first."""
    return [i for i, plan in enumerate(made) if i and tile in plan.index]


@pytest.mark.parametrize("rate", [0.5, 0.2])
def test_a_fade_in_slower_than_any_frame_threshold_is_encoded_within_its_bound(rate: float) -> None:
    """From frame to frame it changes by less than a grey level; against the canvas it adds up."""
    frames = [frame_of(with_object(scene(), 4, rate * i), i) for i in range(200)]
    made = plans(frames, refresh=False, threshold=12)
    bound = 12 / (3.5 / 8) / rate  # of 7 columns at least half are in one block of 8
    first = sent_at(made, 4)[0]
    assert 12 / rate <= first <= bound
    assert max(np.diff(sent_at(made, 4)), default=0) <= bound
    assert all(set(plan.index) <= {4} for plan in made[1:])
    assert all(count_tiles(plan).stale == 0 for plan in made)


@pytest.mark.parametrize("max_age", [5, 30])
def test_a_patch_just_under_the_threshold_is_bounded_by_max_age(max_age: int) -> None:
    still, changed = scene(), with_object(scene(), 2, 11)
    frames = [frame_of(still if i < 10 else changed, i) for i in range(10 + 2 * max_age)]
    made = plans(frames, threshold=12, max_age=max_age)
    waited = next(i for i in sent_at(made, 2) if i >= 10) - 10
    assert waited <= max_age
    assert max(count_tiles(plan).max_age for plan in made) <= max_age
    alone = plans(frames, threshold=12, refresh=False)
    assert sent_at(alone, 2) == [], "by its size alone it never travels"


def test_flicker_cannot_push_latency_past_the_deadline() -> None:
    """Lamps on the mains change all of the picture a little, a lit sign five of its tiles much.
    The simulated back takes 2 ms, and 1.5 ms a tile, on a machine whose speed changes by a
    fifth."""
    config = TilingConfig.model_validate({"policy": "deadline", "deadline_ms": 8})
    gate, random = build_gate(config, GRID), np.random.default_rng(0)
    service_ns, times_ms, stale = 0, [], 0
    for i in range(300):
        image = scene()
        image[:, 40:] += np.uint8(60 * (i % 2))
        frame = disturb("flicker", frame_of(image, i), FPS)
        plan = gate.plan(frame, replace(ACK, service_ns=service_ns))
        slow = 1.0 + 0.2 * random.random()
        service_ns = round((2 + 1.5 * len(plan.index)) * slow * 1e6)
        times_ms.append(service_ns / 1e6)
        stale += count_tiles(plan).stale
    assert np.percentile(times_ms[5:], 99) <= 8
    assert stale > 0, "what the deadline costs is counted"
    assert max(times_ms) > 8, "without the policy it would be late: the first packet has all"


@pytest.mark.parametrize("probe", ["noise", "night", "xray"])
def test_the_threshold_adapts_to_the_camera(probe: str) -> None:
    """A scene that stands still costs next to nothing however noisy or dull it looks, and an
    object in it is still seen."""
    still = [disturb(probe, frame_of(scene(), i), FPS) for i in range(40)]
    arrival = disturb(probe, frame_of(with_object(scene() // 2, 3, 120), 40), FPS)
    dark = [disturb(probe, frame_of(scene() // 2, i), FPS) for i in range(40)]
    quiet = plans(still, refresh=False)[10:]
    assert sum(len(plan.index) for plan in quiet) <= 0.02 * GRID.num_tiles * len(quiet)
    assert plans([*dark, arrival], refresh=False)[-1].index.tolist() == [3]


@pytest.fixture(scope="module")
def back() -> PerceptionBack:
    """Every test has cameras of its own on it."""
    return build_back(ENCODER, DetectorConfig(score=0.01), TrackerConfig(), epoch="e")


def wandering(count: int) -> Iterator[np.ndarray]:
    """An object wanders over a scene that grows brighter: some tiles are reused, some are not."""
    for i in range(count):
        image = scene() + np.uint8(2 * i)
        image[30:60, 4 * i : 4 * i + 30] = (230, 40, 40)
        yield image


DISCONTINUITIES = ("jump in time", "damaged frame", "after a damaged frame", "asked for", "cut")
DISCONTINUITIES += ("exposure", "gap")


@contract("bitstream")
@pytest.mark.parametrize("what", DISCONTINUITIES)
def test_after_a_discontinuity_outputs_equal_the_dense_run(back: PerceptionBack, what: str) -> None:
    reuse = Camera(back, f"reuse {what}", ENCODER, policy="threshold", threshold=30, max_age=20)
    dense = Camera(back, f"dense {what}", ENCODER)
    for i, image in enumerate(wandering(6)):
        frame = frame_of(image, i)
        reuse.step(frame)
        dense.step(frame)
    assert not np.array_equal(reuse.canvas, dense.canvas), "before it they differ"
    for frame in after(what, image):
        if what == "asked for":
            reuse.lose()
        found, want = reuse.step(frame), dense.step(frame)
    check_equal(reuse, found, dense, want)


def after(what: str, image: np.ndarray) -> list[Frame]:
    """The frames of a discontinuity; the last one is compared."""
    noisy = np.clip(image.astype(int) + 5, 0, 255).astype(np.uint8)  # under the threshold
    if what == "jump in time":
        return [frame_of(noisy, 6, is_discont=True)]
    if what == "damaged frame":
        return [frame_of(noisy, 6, is_corrupt=True)]
    if what == "after a damaged frame":
        return [frame_of(noisy, 6, is_corrupt=True), frame_of(image, 7)]
    if what == "asked for":
        return [frame_of(noisy, 6)]
    if what == "cut":
        return [frame_of(255 - image, 6)]
    if what == "exposure":
        return [frame_of(np.clip(image * 1.8, 0, 255).astype(np.uint8), 6)]
    return [frame_of(noisy, 6 + 30)]  # a gap
