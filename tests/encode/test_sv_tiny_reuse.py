"""Reuse on the bundled encoder equals the dense encoder on the canvas, the head's answer too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tile_stream import Camera, relative_error, worst_error
from torch.utils.flop_counter import FlopCounterMode

from streamvis.detect.config import DetectorConfig
from streamvis.detect.detector import HeadDetector
from streamvis.detect.head import Head
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import Features
from streamvis.encode.sv_tiny_encoder import SvTinyEncoder
from streamvis.encode.weights import load_bundle
from streamvis.train.network import Network
from streamvis.types import CLASSES, ModelId

CPU = torch.device("cpu")
SIZES = [(64, 64), (64, 192), (320, 64), (192, 128)]
TOLERANCE = 1e-5
SOME = 0.5  # a worth that some tiles of noise have and some do not
WORTHS = [0.0, SOME, 0.999_999]


class Model:
    """Encoder and head of one bundle."""

    def __init__(
        self,
        weights: Path,
        size: tuple[int, int] = (192, 128),
        min_worth: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        config = EncoderConfig(weights=weights, input_size=size, min_worth=min_worth)
        self.encoder = SvTinyEncoder(config, CPU, dtype)
        bundle = self.encoder.bundle
        self.head = Head(bundle.manifest.arch, len(CLASSES)).eval().requires_grad_(False)
        bundle.load_into(self.head, "head")

    def error(self, found: Features, camera: Camera) -> float:
        """Of everything the model says, against the dense model: the worst relative error."""
        want = camera.dense(self.encoder)
        pairs = zip(self.look(found), self.look(want), strict=True)
        return max([worst_error(found, want), *(relative_error(*pair) for pair in pairs)])

    def look(self, features: Features) -> tuple[torch.Tensor, torch.Tensor]:
        return self.head(features.pyramid, features.context)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def model(untrained_weights: Path) -> Model:
    return Model(untrained_weights)


@pytest.fixture(scope="module", params=WORTHS)
def tiling(request: pytest.FixtureRequest, untrained_weights: Path) -> Model:
    """With every tile, some tiles and no tile on the costly path."""
    return Model(untrained_weights, min_worth=request.param)


def one_of(features: Features, i: int) -> Features:
    """Of a batch, one picture's."""
    pyramid = {stride: x[i : i + 1] for stride, x in features.pyramid.items()}
    assert features.context is not None
    context = features.context[i : i + 1]
    return Features(pyramid, features.embedding[i : i + 1], context=context)


@pytest.mark.parametrize("size", SIZES)
def test_all_tiles_through_the_caches_equal_dense(
    untrained_weights: Path, size: tuple[int, int]
) -> None:
    model = Model(untrained_weights, size)
    camera = Camera(model.encoder)
    for _ in range(2):  # an empty cache, then a full one
        found = model.encoder.encode_changed([camera.every_tile()])
        assert model.error(found, camera) <= TOLERANCE


@settings(deadline=None, max_examples=20)
@given(stream=st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=6))
def test_any_p_packets_equal_dense_on_the_canvas(tiling: Model, stream: list[set[int]]) -> None:
    camera = Camera(tiling.encoder)
    tiling.encoder.encode_changed([camera.every_tile()])
    for index in stream:
        found = tiling.encoder.encode_changed([camera.update(sorted(index))])
        assert tiling.error(found, camera) <= TOLERANCE


def test_tiles_that_moved_leave_it_exact(model: Model) -> None:
    camera = Camera(model.encoder)
    model.encoder.encode_changed([camera.every_tile()])
    update = camera.update([2])
    moved = replace(update.plan, motion=np.full((6, 2), 9, np.int16))
    found = model.encoder.encode_changed([replace(update, plan=moved)])
    assert model.error(found, camera) <= TOLERANCE


def test_tiles_of_little_worth_say_nothing_but_a_glance(untrained_weights: Path) -> None:
    model = Model(untrained_weights, min_worth=SOME)
    camera = Camera(model.encoder)
    camera.every_tile()
    cheap, full = camera.dense(model.encoder), camera.dense(Model(untrained_weights).encoder)
    tiles = cheap.pyramid[32].view(1, 128, 2, 2, 3, 2).abs().amax((0, 1, 3, 5))  # [rows, cols]
    is_costly = tiles > 0
    assert 0 < is_costly.sum() < 6
    wanted = full.pyramid[8] * is_costly.repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert relative_error(cheap.pyramid[8], wanted) <= TOLERANCE
    assert not torch.equal(cheap.embedding, full.embedding)


def test_cameras_of_a_batch_do_not_mix(tiling: Model) -> None:
    cameras = [Camera(tiling.encoder, seed) for seed in range(3)]
    tiling.encoder.encode_changed([camera.every_tile() for camera in cameras])
    updates = [cameras[0].update([0, 5]), cameras[1].update([]), cameras[2].update([3])]
    found = tiling.encoder.encode_changed(updates)
    for i, camera in enumerate(cameras):
        assert tiling.error(one_of(found, i), camera) <= TOLERANCE


def test_a_camera_may_join_and_rest(model: Model) -> None:
    old, new = Camera(model.encoder, 1), Camera(model.encoder, 2)
    model.encoder.encode_changed([old.every_tile()])
    model.encoder.encode_changed([new.every_tile(), old.update([2])])
    assert model.error(model.encoder.encode_changed([new.update([0])]), new) <= TOLERANCE
    assert model.error(model.encoder.encode_changed([old.update([1])]), old) <= TOLERANCE


def test_nothing_changed_gives_identical_features(model: Model) -> None:
    camera = Camera(model.encoder)
    model.encoder.encode_changed([camera.every_tile()])
    first, again = (model.encoder.encode_changed([camera.update([])]) for _ in range(2))
    assert torch.equal(first.embedding, again.embedding)
    assert all(torch.equal(first.pyramid[s], again.pyramid[s]) for s in first.pyramid)


def test_the_context_reaches_the_boxes_of_other_tiles(model: Model) -> None:
    camera = Camera(model.encoder)
    before, _ = model.look(model.encoder.encode_changed([camera.every_tile()]))
    after, _ = model.look(model.encoder.encode_changed([camera.update([5])]))
    assert not torch.equal(before[0, 0], after[0, 0]), "the first cell, in tile 0"


def test_bf16_reuse_stays_as_close_as_bf16_is(untrained_weights: Path) -> None:
    model = Model(untrained_weights, dtype=torch.bfloat16)
    camera = Camera(model.encoder)
    model.encoder.encode_changed([camera.every_tile()])
    found = model.encoder.encode_changed([camera.update([3])])
    assert worst_error(found, camera.dense(model.encoder)) <= 0.02


def test_a_twentieth_of_the_operations_stays_dense(untrained_weights: Path) -> None:
    """Context and head, at the default size: measured 4.3 %."""
    encoder = Model(untrained_weights, (640, 384)).encoder
    detector = HeadDetector(DetectorConfig(), encoder)
    camera = Camera(encoder)
    images = torch.from_numpy(camera.picture)[None]
    encoder.encode_changed([camera.every_tile()])
    costs = []
    for update in (camera.every_tile(), camera.update([])):
        with FlopCounterMode(display=False) as counter:
            detector.detect(images, encoder.encode_changed([update]))
        costs.append(counter.get_total_flops())
    assert 0 < costs[1] / costs[0] < 0.05


def test_training_and_inference_say_the_same(untrained_weights: Path, model: Model) -> None:
    camera = Camera(model.encoder)
    found = model.encoder.encode_changed([camera.every_tile()])
    network, bundle = Network().eval(), load_bundle(untrained_weights)
    for part in ("encoder", "head"):
        bundle.load_into(getattr(network, part), part)
    with torch.inference_mode():
        answer = network(torch.from_numpy(camera.picture)[None])
    logits, xyxy = model.look(found)
    assert relative_error(logits, answer.logits) <= TOLERANCE
    assert relative_error(xyxy, answer.xyxy) <= TOLERANCE


def test_training_skips_tiles_as_inference_does(untrained_weights: Path) -> None:
    """What `min_worth` does must be what the network saw in training."""
    bundle = load_bundle(untrained_weights)
    network = Network()
    for part in ("encoder", "head"):
        bundle.load_into(getattr(network, part), part)
    network.eval().training = True  # norms stay as they are at inference
    model = Model(untrained_weights, min_worth=SOME)
    camera = Camera(model.encoder)
    camera.every_tile()
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr("streamvis.train.network._choose", lambda x, _: x.sigmoid() < SOME)
        answer = network(torch.from_numpy(camera.picture)[None])
    logits, xyxy = model.look(camera.dense(model.encoder))
    assert relative_error(logits, answer.logits) <= TOLERANCE
    assert relative_error(xyxy, answer.xyxy) <= TOLERANCE


def test_the_canary_is_the_drift_of_unchanged_tiles(model: Model) -> None:
    encoder, camera = model.encoder, Camera(model.encoder)
    encoder.encode_changed([camera.every_tile()])
    same = encoder.encode_changed([camera.update([1, 2], quiet=True)])
    assert same.canary_error[0] == pytest.approx(0, abs=1e-5)
    update = camera.update([1, 2])
    assert encoder.encode_changed([update]).canary_error[0] > 0.01, "score 0, and yet all new"
    update = camera.update([1, 2])
    changed = replace(update.plan, score=np.full(6, 5, np.float32))
    found = encoder.encode_changed([replace(update, plan=changed)])
    assert found.canary_error == (0.0,), "a tile that changed is no canary"


def test_a_reset_or_foreign_cache_is_refused(model: Model) -> None:
    encoder, camera = model.encoder, Camera(model.encoder)
    with pytest.raises(ValueError, match="empty cache takes a full update"):
        encoder.encode_changed([camera.update([0])])
    encoder.encode_changed([camera.every_tile()])
    camera.cache.reset()
    with pytest.raises(ValueError, match="empty cache takes a full update"):
        encoder.encode_changed([camera.update([0])])
    camera.cache.model = ModelId("sv_tiny", "other weights")
    with pytest.raises(ValueError, match="belongs to another encoder"):
        encoder.encode_changed([camera.every_tile()])
