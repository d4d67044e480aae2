"""Late context: all of the encoder but the context, and the head's towers, are reused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tile_stream import Camera, relative_error
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from streamvis.detect.config import DetectorConfig
from streamvis.detect.detector import LateHeadDetector, build_detector
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import Features, build_encoder
from streamvis.encode.sv_tiny import SvTinyArch
from streamvis.encode.sv_tiny_encoder import SvTinyLateEncoder
from streamvis.encode.weights import load_bundle, save_bundle
from streamvis.train.network import Network

TOLERANCE = 1e-5
LATE = SvTinyArch(context="late")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = Network(LATE)
    for module in network.modules():  # norms that do nothing would hide folding errors
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    path = tmp_path_factory.mktemp("late") / "late.safetensors"
    save_bundle(path, {"encoder": network.encoder, "head": network.head}, LATE, {})
    return path


class Model:
    """Encoder and detector of one bundle."""

    def __init__(self, weights: Path, size: tuple[int, int] = (192, 128)) -> None:
        config = EncoderConfig(weights=weights, input_size=size, device="cpu", dtype="fp32")
        self.encoder = build_encoder(config)
        assert isinstance(self.encoder, SvTinyLateEncoder)
        self.detector = build_detector(DetectorConfig(), self.encoder)
        assert isinstance(self.detector, LateHeadDetector)

    def error(self, found: Features, picture: torch.Tensor) -> float:
        """Of everything the model says, against the dense model: the worst relative error."""
        want = self.encoder.encode_full(picture)
        pairs = zip(self.detector.look(found), self.detector.look(want), strict=True)
        errors = [relative_error(one, other) for one, other in pairs]
        return max([*errors, relative_error(found.embedding, want.embedding)])


def picture_of(camera: Camera) -> torch.Tensor:
    return torch.from_numpy(camera.picture)[None]


@pytest.mark.parametrize("size", [(64, 64), (64, 192), (320, 64), (192, 128)])
def test_all_tiles_through_the_caches_equal_dense(weights: Path, size: tuple[int, int]) -> None:
    model = Model(weights, size)
    camera = Camera(model.encoder)
    for _ in range(2):
        found = model.encoder.encode_changed([camera.every_tile()])
        assert model.error(found, picture_of(camera)) <= TOLERANCE


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(stream=st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=6))
def test_any_p_packets_equal_dense_on_the_canvas(weights: Path, stream: list[set[int]]) -> None:
    model = Model(weights)
    camera = Camera(model.encoder)
    model.detector.look(model.encoder.encode_changed([camera.every_tile()]))
    for index in stream:
        found = model.encoder.encode_changed([camera.update(sorted(index))])
        assert model.error(found, picture_of(camera)) <= TOLERANCE


def test_cameras_of_a_batch_do_not_mix(weights: Path) -> None:
    model = Model(weights)
    cameras = [Camera(model.encoder, seed) for seed in range(3)]
    model.detector.look(model.encoder.encode_changed([c.every_tile() for c in cameras]))
    updates = [cameras[0].update([0, 5]), cameras[1].update([]), cameras[2].update([3])]
    logits, _ = model.detector.look(model.encoder.encode_changed(updates))
    for i, camera in enumerate(cameras):
        want, _ = model.detector.look(model.encoder.encode_full(picture_of(camera)))
        assert relative_error(logits[i], want[0]) <= TOLERANCE


def test_the_context_does_reach_other_tiles(weights: Path) -> None:
    model = Model(weights)
    camera = Camera(model.encoder)
    before, _ = model.detector.look(model.encoder.encode_changed([camera.every_tile()]))
    after, _ = model.detector.look(model.encoder.encode_changed([camera.update([5])]))
    assert not torch.equal(before[0, 0], after[0, 0]), "the first cell, in tile 0"


def test_nine_tenths_of_the_operations_can_be_reused(weights: Path) -> None:
    model = Model(weights, (640, 384))
    camera = Camera(model.encoder)
    model.detector.look(model.encoder.encode_changed([camera.every_tile()]))
    costs = []
    for update in (camera.every_tile(), camera.update([])):
        with FlopCounterMode(display=False) as counter:
            model.detector.look(model.encoder.encode_changed([update]))
        costs.append(counter.get_total_flops())
    assert costs[1] / costs[0] < 0.1


def test_training_may_begin_with_the_bundled_weights() -> None:
    network = Network(LATE)
    fresh = network.start_from(load_bundle())
    assert not [name for name in fresh if name.startswith("encoder.")]
    assert any(name.startswith("head.") for name in fresh)


def test_training_and_inference_say_the_same(weights: Path) -> None:
    model = Model(weights)
    camera = Camera(model.encoder)
    found = model.encoder.encode_changed([camera.every_tile()])
    network = Network(LATE).eval()
    network.start_from(load_bundle(weights))
    with torch.inference_mode():
        want, _, presence = network(picture_of(camera))
    assert relative_error(model.detector.look(found)[0], want) <= 1e-4
    assert presence.shape == (1, 80)
