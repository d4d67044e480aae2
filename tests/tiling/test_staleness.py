"""The staleness invariant, from the front to the back, over a link that loses, delays and forgets.

Of every published frame: a tile that the result does not count as stale differs from the back's
own canvas by less than the threshold in every block, and was encoded at most max_age frames ago. A
moved tile is held against the canvas where its vector points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from conftest import make_frame
from hypothesis import given, settings
from hypothesis import strategies as st
from tile_stream import compensate

from streamvis.back import PerceptionBack
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import NoEncoder
from streamvis.front import build_front
from streamvis.tiling.config import TilingConfig
from streamvis.tiling.grid import TileGrid
from streamvis.track.config import TrackerConfig
from streamvis.types import (
    MOTION_BLOCK_PX,
    QUARTERS,
    Detections,
    Feedback,
    Frame,
    FrameResult,
    ModelId,
    TilePacket,
)

WIDTH, HEIGHT, TILE_PX, BLOCK_PX = 192, 128, 64, 8
ENCODER = EncoderConfig(name="none", input_size=(WIDTH, HEIGHT))
THRESHOLD = 8.0
GRID = TileGrid.over(WIDTH, HEIGHT, TILE_PX)


class Blind:
    """A detector that sees nothing: what the canvas holds does not depend on it."""

    model = ModelId("blind", "")

    def detect(self, images, features):  # noqa: ARG002 - the seam
        return [Detections.empty() for _ in images]


def new_back() -> PerceptionBack:
    return PerceptionBack(NoEncoder(ENCODER), Blind(), TrackerConfig(), epoch="e")


@dataclass
class Sent:
    """A packet on its way, and the picture it is of."""

    packet: TilePacket
    image: np.ndarray


class Link:
    """One camera, its front and its back. What arrives is checked."""

    def __init__(self, config: TilingConfig) -> None:
        self._config = config
        self._front = build_front(ENCODER, config)
        self._back, self._feedback = new_back(), Feedback()
        self._canvas = np.zeros(GRID.picture_shape, np.uint8)
        self._encoded_at = np.zeros(GRID.num_tiles, np.int64)
        self._late: Sent | None = None
        self.num_checked = self.num_moved = 0

    def step(self, frame: Frame, fate: str) -> None:
        if fate == "restart":
            self._back = new_back()
        sent = Sent(self._front.step(frame, self._feedback), frame.image)
        waiting, self._late = self._late, None
        if fate == "late":
            self._late = sent
        elif fate != "lost":
            self._arrive(sent)
        if waiting:
            self._arrive(waiting)

    def _arrive(self, sent: Sent) -> None:
        before = self._canvas.copy()
        results, feedback = self._back.step([sent.packet])
        self._feedback = feedback["front"]
        if results:
            self._canvas = self._back.picture("front").copy()
            self._check(sent, results[0], before)

    def _check(self, sent: Sent, result: FrameResult, before: np.ndarray) -> None:
        plan = sent.packet.plan
        self._encoded_at[plan.index] = result.frame_index
        age = result.frame_index - self._encoded_at
        held = self._canvas.copy()
        moved = np.flatnonzero(plan.motion.any(axis=1)).astype(np.int32)
        GRID.paste(held, moved, GRID.cut(compensate(before, plan), moved))
        is_far = worst_blocks(sent.image, held) >= THRESHOLD + 0.5
        tiles = result.tiles
        assert tiles.stale >= (is_far | (age > self._config.max_age)).sum()
        assert tiles.max_age == age.max()
        if result.packet_kind == "I":
            assert np.array_equal(sent.image, self._canvas)
        elif self._config.budget is None:
            assert tiles.stale == 0
        else:
            assert tiles.encoded <= self._config.budget
        self.num_checked += 1
        self.num_moved += tiles.moved


def worst_blocks(image: np.ndarray, canvas: np.ndarray) -> np.ndarray:
    """[M] the largest mean difference of a block and channel in each tile. The gate rounds a
    block's mean to whole levels: hence the half level of tolerance."""
    side = TILE_PX // BLOCK_PX
    far = np.abs(image.astype(np.float64) - canvas)
    blocks = far.reshape(HEIGHT // BLOCK_PX, BLOCK_PX, WIDTH // BLOCK_PX, BLOCK_PX, 3)
    blocks = blocks.mean(axis=(1, 3)).max(axis=-1)
    tiles = blocks.reshape(HEIGHT // TILE_PX, side, WIDTH // TILE_PX, side)
    return tiles.max(axis=(1, 3)).ravel()


KINDS = ("still", "fade", "object", "small", "flicker", "noise", "pan", "exposure", "cut")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.integers(0, GRID.num_tiles - 1),
        st.integers(1, 3),  # frames since the one before: the others were dropped
        st.sampled_from(["ok", "ok", "ok", "ok", "lost", "late", "restart"]),
        st.sampled_from([None, None, None, "is_discont", "is_corrupt"]),
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None, max_examples=50)
@given(
    STEPS,
    st.integers(0, 2**32 - 1),
    st.sampled_from([None, 0, 1, 3]),
    st.integers(1, 12),
    st.sampled_from(["none", "flow", "codec", "auto"]),
)
def test_every_published_frame_keeps_the_invariant_or_counts_what_breaks_it(
    steps, seed, budget, max_age, motion
):
    link = Link(config_of(budget, max_age, motion))
    random = np.random.default_rng(seed)
    image = smooth(random)
    index = 0
    for kind, tile, gap, fate, flag in steps:
        index += gap
        shift = tuple(random.integers(-6, 7, 2)) if kind == "pan" else (0, 0)
        image = next_image(kind, np.roll(image, shift, axis=(0, 1)), tile, random)
        flags = {flag: True} if flag else {}
        vectors = None if kind == "cut" else vectors_of(shift, kind == "noise", random)
        link.step(replace(frame_of(image, index), motion=vectors, **flags), fate)
    checked = link.num_checked
    for later in (1, 2, 3):  # whatever happened, the link comes back
        link.step(frame_of(image, index + later), "ok")
    assert link.num_checked > checked


@pytest.mark.parametrize("motion", ["flow", "codec"])
def test_it_holds_for_moved_tiles(motion):
    """A camera that pans slowly: so that the test above is not about nothing."""
    random = np.random.default_rng(1)
    link, image = Link(config_of(None, 30, motion)), smooth(random)
    for index in range(12):
        vectors = vectors_of((0, 2), False, random)
        link.step(replace(frame_of(image, index), motion=vectors), "ok")
        image = np.roll(image, (0, 2), axis=(0, 1))
    assert link.num_checked == 12
    assert link.num_moved > 0


def vectors_of(shift: tuple[int, ...], is_wrong: bool, random: np.random.Generator) -> np.ndarray:
    """A codec's field: where each block was, when the picture moved by `shift` (y, x) px."""
    field = np.zeros((HEIGHT // MOTION_BLOCK_PX, WIDTH // MOTION_BLOCK_PX, 2), np.int16)
    field[:] = (-QUARTERS * shift[1], -QUARTERS * shift[0])
    return random.integers(-60, 60, field.shape).astype(np.int16) if is_wrong else field


def config_of(budget: int | None, max_age: int, motion: str) -> TilingConfig:
    policy = {"policy": "threshold"} if budget is None else {"policy": "budget", "budget": budget}
    options = {"threshold": THRESHOLD, "noise_factor": 0.0, "max_age": max_age, "motion": motion}
    return TilingConfig.model_validate({**policy, **options})


def frame_of(image: np.ndarray, index: int) -> Frame:
    return replace(make_frame(index, size=(WIDTH, HEIGHT)), image=image)


def smooth(random: np.random.Generator) -> np.ndarray:
    """A picture with edges that a pan can be told from."""
    coarse = random.integers(40, 200, (HEIGHT // 16, WIDTH // 16, 3)).astype(np.uint8)
    return coarse.repeat(16, axis=0).repeat(16, axis=1)


def next_image(kind: str, image: np.ndarray, tile: int, random: np.random.Generator) -> np.ndarray:
    y, x = (n * TILE_PX + int(random.integers(0, 40)) for n in divmod(tile, WIDTH // TILE_PX))
    changed = image.copy()
    if kind == "fade":
        return to_uint8(image + 1.0)
    if kind == "object":
        changed[y : y + 24, x : x + 24] = random.integers(0, 256, 3)
    if kind == "small":  # a person far away, hardly brighter than the wall behind
        changed[y : y + 20, x : x + 7] = to_uint8(changed[y : y + 20, x : x + 7] + 20.0)
    if kind == "flicker":
        return to_uint8(image + random.choice([-9.0, 9.0]))
    if kind == "noise":
        return to_uint8(image + random.normal(0, 3, image.shape))
    if kind == "exposure":
        return to_uint8(image * random.choice([0.6, 1.5]))
    if kind == "cut":
        return smooth(random)
    return changed


def to_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
