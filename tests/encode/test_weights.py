import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from streamvis.detect.head import Head
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import build_encoder
from streamvis.encode.sv_tiny import SvTiny, SvTinyArch
from streamvis.encode.weights import BUNDLED, load_bundle, save_bundle
from streamvis.errors import WeightsError

SMALL = SvTinyArch(channels=(8, 8, 16), depths=(1, 1), num_mixers=1, pyramid_channels=16)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "mine.safetensors"
    parts = {"encoder": SvTiny(SMALL), "head": Head(SMALL, 8)}
    save_bundle(path, parts, SMALL, {"views": 3})
    return path


def test_round_trip(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    assert loaded.manifest.arch == SMALL
    assert loaded.manifest.training == {"views": 3}
    network = SvTiny(SMALL)
    loaded.load_into(network, "encoder")
    weight = network.stem.conv.weight
    torch.testing.assert_close(weight, loaded.tensors["encoder.stem.conv.weight"])


def test_one_flipped_bit_is_found(bundle: Path) -> None:
    data = bytearray(bundle.read_bytes())
    data[-1] ^= 1
    bundle.write_bytes(data)
    with pytest.raises(WeightsError, match=r"its hash is not the one in mine\.json"):
        load_bundle(bundle)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.safetensors: cannot read these weights"):
        load_bundle(tmp_path / "none.safetensors")


def test_not_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"hello")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_bundle(path)


def test_broken_manifest(bundle: Path) -> None:
    bundle.with_suffix(".json").write_text(json.dumps({"format": "other/9"}))
    with pytest.raises(WeightsError, match="not a streamvis weights manifest"):
        load_bundle(bundle)


def test_manifest_of_another_form_names_the_key(bundle: Path) -> None:
    manifest = json.loads(bundle.with_suffix(".json").read_text())
    manifest["arch"]["num_attentions"] = 3
    bundle.with_suffix(".json").write_text(json.dumps(manifest))
    with pytest.raises(WeightsError, match=r"arch\.num_attentions"):
        load_bundle(bundle)


def test_other_shape_says_which_part(bundle: Path) -> None:
    bundle.with_suffix(".json").unlink()  # so the default architecture is assumed
    with pytest.raises(WeightsError, match="its encoder does not fit this architecture"):
        build_encoder(EncoderConfig(weights=bundle, device="cpu"))


def test_tensors_missing(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_file({"encoder.x": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="does not fit"):
        load_bundle(path).load_into(SvTiny(SMALL), "encoder")


def test_the_bundled_file() -> None:
    bundle = load_bundle()
    assert BUNDLED.stat().st_size <= 16 * 2**20
    assert bundle.model.name == "sv_tiny"
    assert bundle.manifest.training["views"] > 0  # not an untrained one


def test_build_encoder_runs_the_bundled_weights() -> None:
    encoder = build_encoder(EncoderConfig(input_size=(128, 64), device="cpu"))
    features = encoder.encode_full(torch.zeros(2, 64, 128, 3, dtype=torch.uint8))
    assert sorted(features.pyramid) == [8, 16, 32]
    assert features.pyramid[8].shape == (2, 128, 8, 16)
    assert features.embedding.dtype == torch.float32
    torch.testing.assert_close(features.embedding.norm(dim=1), torch.ones(2))
