"""Embeddings at several levels: shapes, which box says what, clips, and bundles without them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from streamvis.encode.config import EncoderConfig
from streamvis.encode.embedder import (
    CLIP_NS,
    PART,
    ClipWindow,
    Embedder,
    EmbeddingReader,
    pool_objects,
    pool_picture,
)
from streamvis.encode.encoder import Features, NoEncoder, build_encoder
from streamvis.encode.sv_tiny_encoder import SvTinyEncoder
from streamvis.encode.weights import add_part, load_bundle
from streamvis.errors import WeightsError
from streamvis.types import Detections, Embeddings

SIZE = (256, 192)
BOXES = np.array([[10, 10, 60, 50], [100, 80, 180, 170]], np.float32)


@pytest.fixture(scope="module")
def weights(untrained_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    bundle = load_bundle(untrained_weights)
    path = tmp_path_factory.mktemp("embed") / "sv_tiny.safetensors"
    add_part(bundle, PART, Embedder(bundle.manifest.arch), {"seed": 1}, path)
    return path


@pytest.fixture(scope="module")
def encoder(weights: Path) -> SvTinyEncoder:
    encoder = build_encoder(EncoderConfig(weights=weights, input_size=SIZE, threads=1))
    assert isinstance(encoder, SvTinyEncoder)
    return encoder


IMAGES = torch.from_numpy(
    np.random.default_rng(0).integers(0, 256, (2, SIZE[1], SIZE[0], 3), np.uint8)
)


@pytest.fixture(scope="module")
def features(encoder: SvTinyEncoder) -> Features:
    return encoder.encode_full(IMAGES)


def found(boxes: np.ndarray) -> Detections:
    return Detections.make(boxes, np.ones(len(boxes), np.float32), np.zeros(len(boxes), np.int32))


def test_every_scope_has_its_size_and_norm(encoder, features):
    none, two = EmbeddingReader(encoder).read(IMAGES, features, [found(BOXES[:0]), found(BOXES)])
    assert two[0].shape == (256,)
    assert two[1].pyramid.shape == (3, 128)
    assert two[1].objects.shape == (2, 128)
    assert none[1].objects.shape == (0, 128)
    for rows in (two[0][None], two[1].pyramid, two[1].objects):
        np.testing.assert_allclose(np.linalg.norm(rows.astype(float), axis=1), 1, atol=2e-3)


def test_only_what_was_asked_for_is_made(encoder, features):
    ((_, more), _) = EmbeddingReader(encoder, ["object"]).read(IMAGES, features, [found(BOXES)] * 2)
    assert more.pyramid is None
    assert more.objects is not None
    assert not EmbeddingReader(encoder, ["object"]).makes_clips


def test_rows_belong_to_the_detections_whatever_their_order(encoder, features):
    reader = EmbeddingReader(encoder, ["object"])
    ((_, one), (_, other)) = reader.read(IMAGES, features, [found(BOXES), found(BOXES)])
    ((_, turned), _) = reader.read(IMAGES, features, [found(BOXES[::-1].copy()), found(BOXES)])
    assert np.array_equal(turned.objects, one.objects[::-1])
    assert not np.allclose(one.objects, other.objects, atol=1e-3), "another picture, another vector"


def test_an_object_is_what_lies_under_its_box():
    """Half a picture away nothing counts; under the box everything does."""
    torch.manual_seed(0)
    maps = {s: torch.randn(1, 4, 192 // s, 256 // s) for s in (8, 16, 32)}
    features = Features(maps, torch.zeros(1, 2), context=torch.randn(1, 4, 6, 8))
    images = IMAGES[:1].clone()
    box = [torch.from_numpy(BOXES[:1])]
    before = vars(pool_objects(images, features, box))
    for x in (maps[8], maps[16], features.context):
        x[..., x.shape[-1] // 2 :] += 1
    images[:, :, 128:] = 0
    far = vars(pool_objects(images, features, box))
    for name, value in before.items():
        torch.testing.assert_close(far[name], value)
    for x in (maps[8], features.context):
        x[..., : x.shape[-1] // 2] += 1
    images[:] = 0
    under = vars(pool_objects(images, features, box))
    assert all(not torch.allclose(under[name], value) for name, value in before.items())


def test_colours_of_a_box_are_their_shares():
    maps = {s: torch.zeros(1, 4, 192 // s, 256 // s) for s in (8, 16, 32)}
    features = Features(maps, torch.zeros(1, 2), context=torch.zeros(1, 4, 6, 8))
    images = torch.zeros(1, 192, 256, 3, dtype=torch.uint8)
    images[:, :, :35] = torch.tensor([48, 112, 240], dtype=torch.uint8)  # middles of bins 1, 3, 7
    images[:, :, 35:] = torch.tensor([16, 16, 16], dtype=torch.uint8)  # 0, 0, 0
    (colours,) = pool_objects(images, features, [torch.from_numpy(BOXES[:1])]).colours
    assert colours.norm() == pytest.approx(1, abs=1e-5)
    shares = colours.square().view(8, 8, 8)
    assert shares[1, 3, 7] == pytest.approx(0.5, abs=0.05)
    assert shares[0, 0, 0] == pytest.approx(0.5, abs=0.05)


def test_pooling_a_picture_equals_its_plain_form():
    torch.manual_seed(0)
    maps = {s: torch.randn(1, 4, 192 // s, 256 // s) for s in (8, 16, 32)}
    pooled = pool_picture(Features(maps, torch.zeros(1, 2), context=torch.ones(1, 3, 6, 8)))
    plain = [f(m.flatten(1)) for s in (8, 16, 32) for m in maps[s][0][None].unbind(0)
             for f in (lambda x: x.mean(1), lambda x: x.max(1).values)]  # fmt: skip
    torch.testing.assert_close(pooled[0, :24], torch.cat(plain))
    assert pooled[0, 24:].tolist() == [1.0] * (2 * 3 + 8 * 3)


def test_a_window_holds_what_is_younger_than_its_span():
    window = ClipWindow()
    step_ns = CLIP_NS // 4
    for i in range(6):
        window.push(i * step_ns, np.full(2, i, np.float32))
    assert window.span_ns == (2 * step_ns, 5 * step_ns + 1)
    older, newer = window.halves()
    assert (older[0], newer[0]) == (2.5, 4.5)


def test_a_window_of_one_frame_and_time_that_runs_backwards():
    window = ClipWindow()
    window.push(100, np.ones(2, np.float32))
    window.push(50, np.zeros(2, np.float32))
    assert window.span_ns == (50, 51)
    assert [half.tolist() for half in window.halves()] == [[0, 0], [0, 0]]


def test_a_clip_knows_which_half_came_first(encoder):
    reader = EmbeddingReader(encoder)
    rows = np.random.default_rng(0).normal(size=(4, 256)).astype(np.float32)
    forwards, backwards = ClipWindow(), ClipWindow()
    for i in range(4):
        forwards.push(i, rows[i])
        backwards.push(i, rows[3 - i])
    assert reader.read_clip(forwards).shape == (128,)
    assert not np.allclose(reader.read_clip(forwards), reader.read_clip(backwards), atol=1e-2)


def test_a_bundle_without_them_says_how_to_get_them(untrained_weights: Path):
    encoder = build_encoder(EncoderConfig(weights=untrained_weights, input_size=SIZE, threads=1))
    with pytest.raises(WeightsError, match=r"no embeddings but the frame's; train them"):
        EmbeddingReader(encoder, ["clip"])


def test_another_encoder_has_none():
    with pytest.raises(WeightsError, match="the encoder is another"):
        EmbeddingReader(NoEncoder(EncoderConfig(name="none")), ["object"])


def test_adding_a_part_leaves_the_others_as_they_are(untrained_weights: Path, weights: Path):
    before, after = load_bundle(untrained_weights), load_bundle(weights)
    assert after.manifest.training == before.manifest.training | {"embed": {"seed": 1}}
    assert after.has(PART)
    assert not before.has(PART)
    for name, tensor in before.tensors.items():
        assert torch.equal(tensor, after.tensors[name])


def test_embeddings_are_checked():
    with pytest.raises(ValueError, match="a clip has a vector and its times"):
        Embeddings(clip=np.zeros(4, np.float16))
    with pytest.raises(ValueError, match="pyramid must be"):
        Embeddings(pyramid=np.zeros(4, np.float16))
