"""timm's encoders on the changed tiles: with every tile changed they equal the dense encoder."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from tile_stream import Camera, relative_error, worst_error

from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import Encoder, build_encoder

TOLERANCE = 1e-5
NAMES = ("hieradet_small", "hiera_tiny_224", "vit_tiny_patch16_224")
LOCAL = NAMES[:2]  # with stages that see one tile only
# No LayerScale, windows of 14; positions of another kind; registers and patches of 14 px.
VARIANTS = ("sam2_hiera_tiny", "hiera_small_abswin_256", "vit_small_patch14_reg4_dinov2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("timm")


@cache
def build(folder: Path, name: str, size: tuple[int, int] = (192, 128)) -> Encoder:
    """Once. With weights that are all random: a bias of zero would hide what padding does."""
    path = folder / f"{name}.safetensors"
    if not path.exists():
        torch.manual_seed(0)
        options = {"num_classes": 0}
        state = timm.create_model(name, **options).state_dict()
        for key, x in state.items():
            if x.ndim == 1:
                x.add_(torch.randn_like(x) * 0.1)
            elif "pos_embed" in key:
                x.add_(torch.randn_like(x) * 0.5)
        save_file(state, path)
    config = EncoderConfig(
        name=f"timm/{name}", weights=path, input_size=size, device="cpu", dtype="fp32"
    )
    return build_encoder(config)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *((name, (192, 128)) for name in NAMES + VARIANTS),
        ("hieradet_small", (64, 64)),
        ("hieradet_small", (448, 192)),
        ("hiera_tiny_224", (64, 192)),
        ("vit_tiny_patch16_224", (64, 64)),
    ],
)
def test_all_tiles_through_the_subset_path_equal_dense(
    folder: Path, name: str, size: tuple[int, int]
) -> None:
    """Sizes at which the windows of 14 and 16 tokens do not divide the picture."""
    encoder = build(folder, name, size)
    camera = Camera(encoder)
    for _ in range(2):  # an empty cache, then a full one
        found = encoder.encode_changed([camera.every_tile()])
        assert worst_error(found, camera.dense(encoder)) <= TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_tiles_that_did_not_change_may_come_again(folder: Path, name: str) -> None:
    encoder = build(folder, name)
    camera = Camera(encoder)
    encoder.encode_changed([camera.every_tile()])
    found = encoder.encode_changed([camera.update([0, 3], quiet=True)])
    assert worst_error(found, camera.dense(encoder)) <= TOLERANCE
    assert found.canary_error[0] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", LOCAL)
def test_the_local_stages_are_exact_whatever_changed(folder: Path, name: str) -> None:
    encoder = build(folder, name)
    camera = Camera(encoder)
    encoder.encode_changed([camera.every_tile()])
    for index in ([1], [0, 4], [5], [2, 3]):
        found = encoder.encode_changed([camera.update(index)])
        want = camera.dense(encoder)
        assert relative_error(found.pyramid[8], want.pyramid[8]) <= TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_after_a_small_change_the_rest_is_near_and_a_refresh_makes_it_exact(
    folder: Path, name: str
) -> None:
    encoder = build(folder, name)
    camera = Camera(encoder)
    encoder.encode_changed([camera.every_tile()])
    found = encoder.encode_changed([camera.update([1])])
    error = worst_error(found, camera.dense(encoder))
    assert 0 < error < 1
    found = encoder.encode_changed([camera.every_tile(quiet=True)])
    assert worst_error(found, camera.dense(encoder)) <= TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_nothing_changed_gives_identical_features(folder: Path, name: str) -> None:
    encoder = build(folder, name)
    camera = Camera(encoder)
    first = encoder.encode_changed([camera.every_tile()])
    again = encoder.encode_changed([camera.update([])])
    assert torch.equal(first.embedding, again.embedding)
    assert all(torch.equal(first.pyramid[s], again.pyramid[s]) for s in first.pyramid)


@pytest.mark.parametrize("name", NAMES)
def test_cameras_of_a_batch_do_not_mix(folder: Path, name: str) -> None:
    encoder = build(folder, name)
    pairs = [(Camera(encoder, s), Camera(encoder, s)) for s in range(2)]
    encoder.encode_changed([together.every_tile() for together, _ in pairs])
    found = encoder.encode_changed([pairs[0][0].update([0, 2]), pairs[1][0].update([3])])
    for i, (own, index) in enumerate(zip((p[1] for p in pairs), ([0, 2], [3]), strict=True)):
        encoder.encode_changed([own.every_tile()])
        alone = encoder.encode_changed([own.update(index)])
        assert relative_error(found.embedding[i], alone.embedding[0]) <= TOLERANCE
        assert relative_error(found.pyramid[16][i], alone.pyramid[16][0]) <= TOLERANCE


def test_a_neighbour_is_encoded_too_only_if_its_patches_read_what_changed(folder: Path) -> None:
    encoder = build(folder, "hieradet_small")
    camera = Camera(encoder)
    encoder.encode_changed([camera.every_tile()])
    update = camera.update([0], quiet=True)
    picture, seen = camera.picture, camera.cache.seen
    picture[10, 30] ^= 255  # inside tile 0
    update = camera.update([0], quiet=True)
    assert encoder._active(update, camera.cache).tolist() == [0]
    picture[10, 62] ^= 255  # its last 3 columns
    assert encoder._active(camera.update([0], quiet=True), camera.cache).tolist() == [0, 1]
    picture[63, 63] ^= 255  # its corner
    assert encoder._active(camera.update([0], quiet=True), camera.cache).tolist() == [0, 1, 3, 4]
    encoder.encode_changed([camera.update([0], quiet=True)])
    assert np.array_equal(seen, picture)


def test_a_reset_or_foreign_cache_is_refused(folder: Path) -> None:
    encoder, other = build(folder, "vit_tiny_patch16_224"), build(folder, "hieradet_small")
    camera = Camera(encoder)
    with pytest.raises(ValueError, match="empty cache takes a full update"):
        encoder.encode_changed([camera.update([0])])
    encoder.encode_changed([camera.every_tile()])
    with pytest.raises(ValueError, match="belongs to another encoder"):
        other.encode_changed([camera.every_tile()])
    camera.cache.reset()
    with pytest.raises(ValueError, match="empty cache takes a full update"):
        encoder.encode_changed([camera.update([0])])
