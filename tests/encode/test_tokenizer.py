"""Semantic tokens: what a slot says, where it looks, and which bundles have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tile_stream import Camera

from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import Features, NoEncoder, build_encoder
from streamvis.encode.sv_tiny import SvTinyArch
from streamvis.encode.sv_tiny_encoder import SvTinyEncoder
from streamvis.encode.tokenizer import (
    Tokenizer,
    TokenReader,
    attention_boxes,
    gather_cells,
)
from streamvis.errors import WeightsError

SIZE = (256, 192)
ROWS, COLS = 12, 16  # stride-16 cells


def new_encoder(weights: Path) -> SvTinyEncoder:
    encoder = build_encoder(EncoderConfig(weights=weights, input_size=SIZE, threads=1))
    assert isinstance(encoder, SvTinyEncoder)
    return encoder


@pytest.fixture(scope="module")
def encoder(weights_with_tokens: Path) -> SvTinyEncoder:
    return new_encoder(weights_with_tokens)


@pytest.fixture(scope="module")
def features(encoder: SvTinyEncoder) -> Features:
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE[1], SIZE[0], 3), np.uint8)
    return encoder.encode_full(torch.from_numpy(images))


def test_tokens_have_the_announced_shapes(encoder, features):
    both = TokenReader(encoder).read(features)
    assert len(both) == 2
    for tokens in both:
        assert tokens.vectors.shape == (24, 64)
        assert tokens.num_codes == 256
        np.testing.assert_allclose(np.linalg.norm(tokens.vectors.astype(float), axis=1), 1, 2e-3)
        assert tokens.share.sum() == pytest.approx(1, abs=1e-4)
        x0, y0, x1, y1 = tokens.xyxy.T
        assert (x0 >= 0).all()
        assert (x0 < x1).all()
        assert (x1 <= SIZE[0]).all()
        assert (y0 >= 0).all()
        assert (y0 < y1).all()
        assert (y1 <= SIZE[1]).all()


def test_the_code_is_the_nearest_entry_of_the_codebook(encoder, features):
    reader = TokenReader(encoder)
    tokens = reader.read(features)[1]
    codebook = reader.network.codebook.numpy()
    distance = ((tokens.vectors[:, None].astype(np.float32) - codebook) ** 2).sum(2)
    chosen = distance[np.arange(24), tokens.codes]
    assert (chosen <= distance.min(1) + 2e-3).all()  # the vectors were rounded to float16


def test_every_cell_is_shared_out_among_the_slots(encoder, features):
    slots = TokenReader(encoder).network(gather_cells(features))
    assert slots.attention.shape == (2, 24, ROWS, COLS)
    torch.testing.assert_close(slots.attention.sum(1), torch.ones(2, ROWS, COLS))


def test_pictures_of_a_batch_do_not_touch(encoder, features):
    alone = {s: x[1:] for s, x in features.pyramid.items()}
    assert features.context is not None
    one = Features(alone, features.embedding[1:], context=features.context[1:])
    reader = TokenReader(encoder)
    want, got = reader.read(features)[1], reader.read(one)[0]
    np.testing.assert_allclose(got.vectors, want.vectors, atol=2e-3)
    np.testing.assert_allclose(got.xyxy, want.xyxy, atol=0.05)


def test_tokens_of_reused_features_are_those_of_dense_ones(encoder):
    camera = Camera(encoder)
    encoder.encode_changed([camera.every_tile()])
    reused = encoder.encode_changed([camera.update([1, 5])])
    reader = TokenReader(encoder)
    got, want = reader.read(reused)[0], reader.read(camera.dense(encoder))[0]
    np.testing.assert_array_equal(got.codes, want.codes)
    np.testing.assert_allclose(got.vectors, want.vectors, atol=2e-3)


def test_what_is_read_does_not_depend_on_where_it_lies():
    """The same two things, mirrored: every slot that sees only one of them says the same."""
    torch.manual_seed(1)
    network = Tokenizer(SvTinyArch(), num_slots=2, num_rounds=1).eval()
    with torch.no_grad():
        network.queries.zero_()
        network.queries[0, 0], network.queries[1, 0] = 400.0, -400.0
        network.key.weight.zero_()
        network.key.bias.zero_()
        network.place.weight.zero_()
        network.place.weight[0, 0] = -1.0  # slot 0 looks to the left
    left, right = torch.randn(2, network.read.in_features)
    cells = torch.stack([left, left, right, right]).repeat(1, 3, 1, 1)
    vectors = network(torch.cat([cells, cells.flip(2)])).vectors
    torch.testing.assert_close(vectors[0, 0], vectors[1, 1])
    torch.testing.assert_close(vectors[0, 1], vectors[1, 0])
    assert not torch.allclose(vectors[0, 0], vectors[0, 1])


def test_a_box_is_the_extent_of_even_attention():
    attention = torch.zeros(1, 2, ROWS, COLS)
    attention[0, 0, 2:6, 3:13] = 0.5
    attention[0, 1, 7, 9] = 1.0
    one, other = attention_boxes(attention)[0]
    torch.testing.assert_close(one, torch.tensor([3, 2, 13, 6]) * 16.0)
    torch.testing.assert_close(other, torch.tensor([9, 7, 10, 8]) * 16.0)


def test_the_box_of_a_slot_without_attention_is_finite():
    assert attention_boxes(torch.zeros(1, 1, ROWS, COLS)).isfinite().all()


def test_a_bundle_without_tokens_says_so(untrained_weights):
    with pytest.raises(WeightsError, match=r"has no semantic tokens; train them.*opt_in"):
        TokenReader(new_encoder(untrained_weights))


def test_another_encoder_has_no_tokens():
    with pytest.raises(WeightsError, match="use the encoder sv_tiny"):
        TokenReader(NoEncoder(EncoderConfig(name="none")))


def test_folding_the_norm_changes_nothing():
    torch.manual_seed(0)
    network = Tokenizer(SvTinyArch()).eval()
    torch.nn.init.uniform_(network.norm.running_mean, -1, 1)
    torch.nn.init.uniform_(network.norm.running_var, 0.5, 2)
    cells = torch.randn(2, 4, 6, network.read.in_features)
    want = network(cells)
    network.fold()
    got = network(cells)
    torch.testing.assert_close(got.vectors, want.vectors, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(got.attention, want.attention, atol=1e-5, rtol=1e-4)
