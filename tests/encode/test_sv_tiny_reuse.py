"""Reuse on the bundled encoder equals the dense encoder on the canvas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tile_stream import Camera, relative_error, worst_error

from streamvis.detect.config import DetectorConfig
from streamvis.detect.detector import HeadDetector
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import Features
from streamvis.encode.sv_tiny_encoder import SvTinyEncoder
from streamvis.encode.weights import load_bundle
from streamvis.types import ModelId

CPU = torch.device("cpu")
SIZES = [(64, 64), (64, 192), (320, 64), (192, 128)]
TOLERANCE = 1e-5


def build(size: tuple[int, int] = (192, 128), dtype: torch.dtype = torch.float32) -> SvTinyEncoder:
    return SvTinyEncoder(load_bundle(), EncoderConfig(input_size=size), CPU, dtype)


@pytest.fixture(scope="module")
def encoder() -> SvTinyEncoder:
    return build()


@pytest.mark.parametrize("size", SIZES)
def test_all_tiles_through_the_caches_equal_dense(size: tuple[int, int]) -> None:
    encoder = build(size)
    camera = Camera(encoder)
    for _ in range(2):  # an empty cache, then a full one
        found = encoder.encode_changed([camera.every_tile()])
        assert worst_error(found, camera.dense(encoder)) <= TOLERANCE


@settings(deadline=None, max_examples=20)
@given(st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=6))
def test_any_p_packets_equal_dense_on_the_canvas(stream: list[set[int]]) -> None:
    encoder = build()
    camera = Camera(encoder)
    encoder.encode_changed([camera.every_tile()])
    for index in stream:
        found = encoder.encode_changed([camera.update(sorted(index))])
        assert worst_error(found, camera.dense(encoder)) <= TOLERANCE


def test_boxes_and_scores_equal_dense_too(encoder: SvTinyEncoder) -> None:
    head = HeadDetector(DetectorConfig(), encoder)._head
    camera = Camera(encoder)
    encoder.encode_changed([camera.every_tile()])
    found = head(encoder.encode_changed([camera.update([1, 4])]).pyramid)
    want = head(camera.dense(encoder).pyramid)
    for one, other in zip(found, want, strict=True):
        assert relative_error(one, other) <= TOLERANCE


def test_cameras_of_a_batch_do_not_mix(encoder: SvTinyEncoder) -> None:
    cameras = [Camera(encoder, seed) for seed in range(3)]
    encoder.encode_changed([camera.every_tile() for camera in cameras])
    updates = [cameras[0].update([0, 5]), cameras[1].update([]), cameras[2].update([3])]
    found = encoder.encode_changed(updates)
    for i, camera in enumerate(cameras):
        own = Features(
            {s: x[i : i + 1] for s, x in found.pyramid.items()}, found.embedding[i : i + 1]
        )
        assert worst_error(own, camera.dense(encoder)) <= TOLERANCE


def test_a_camera_may_join_and_rest(encoder: SvTinyEncoder) -> None:
    old, new = Camera(encoder, 1), Camera(encoder, 2)
    encoder.encode_changed([old.every_tile()])
    encoder.encode_changed([new.every_tile(), old.update([2])])
    found = encoder.encode_changed([new.update([0])])
    assert worst_error(found, new.dense(encoder)) <= TOLERANCE
    found = encoder.encode_changed([old.update([1])])
    assert worst_error(found, old.dense(encoder)) <= TOLERANCE


def test_nothing_changed_gives_identical_features(encoder: SvTinyEncoder) -> None:
    camera = Camera(encoder)
    encoder.encode_changed([camera.every_tile()])
    first, again = (encoder.encode_changed([camera.update([])]) for _ in range(2))
    assert torch.equal(first.embedding, again.embedding)
    assert all(torch.equal(first.pyramid[s], again.pyramid[s]) for s in first.pyramid)


def test_bf16_reuse_stays_as_close_as_bf16_is() -> None:
    encoder = build(dtype=torch.bfloat16)
    camera = Camera(encoder)
    encoder.encode_changed([camera.every_tile()])
    found = encoder.encode_changed([camera.update([3])])
    assert worst_error(found, camera.dense(encoder)) <= 0.02


def test_the_canary_is_the_drift_of_unchanged_tiles(encoder: SvTinyEncoder) -> None:
    camera = Camera(encoder)
    encoder.encode_changed([camera.every_tile()])
    same = encoder.encode_changed([camera.update([1, 2], quiet=True)])
    assert same.canary_error[0] == pytest.approx(0, abs=1e-5)
    update = camera.update([1, 2])
    assert encoder.encode_changed([update]).canary_error[0] > 0.01, "score 0, and yet all new"
    update = camera.update([1, 2])
    changed = replace(update.plan, score=np.full(6, 5, np.float32))
    found = encoder.encode_changed([replace(update, plan=changed)])
    assert found.canary_error == (0.0,), "a tile that changed is no canary"


def test_a_reset_or_foreign_cache_is_refused(encoder: SvTinyEncoder) -> None:
    camera = Camera(encoder)
    with pytest.raises(ValueError, match="empty cache takes a full update"):
        encoder.encode_changed([camera.update([0])])
    encoder.encode_changed([camera.every_tile()])
    camera.cache.reset()
    with pytest.raises(ValueError, match="empty cache takes a full update"):
        encoder.encode_changed([camera.update([0])])
    camera.cache.model = ModelId("sv_tiny", "other weights")
    with pytest.raises(ValueError, match="belongs to another encoder"):
        encoder.encode_changed([camera.every_tile()])
