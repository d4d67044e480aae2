from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import Encoder, build_encoder
from streamvis.errors import WeightsError

NAMES = ("hieradet_small", "hiera_tiny_224", "vit_tiny_patch16_224")


def make_checkpoint(folder: Path, name: str) -> Path:
    torch.manual_seed(0)
    path = folder / f"{name}.safetensors"
    if not path.exists():
        save_file(timm.create_model(name, num_classes=0).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("timm")


def build(folder: Path, name: str, size: tuple[int, int] = (256, 128)) -> Encoder:
    config = EncoderConfig(
        name=f"timm/{name}",
        weights=make_checkpoint(folder, name),
        input_size=size,
        device="cpu",
        dtype="fp32",
    )
    return build_encoder(config)


@pytest.mark.parametrize("name", NAMES)
def test_same_interface_as_the_bundled_one(folder: Path, name: str) -> None:
    encoder = build(folder, name)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 128, 256, 3), dtype=torch.uint8, generator=generator)
    features = encoder.encode_full(images)
    for stride in (8, 16, 32):
        assert features.pyramid[stride].shape[0] == 2
        assert features.pyramid[stride].shape[-2:] == (128 // stride, 256 // stride)
    torch.testing.assert_close(features.embedding.norm(dim=1), torch.ones(2))
    assert not torch.allclose(features.embedding[0], features.embedding[1])
    assert encoder.model.name == f"timm/{name}"
    assert len(encoder.model.weights_sha256) == 64


def test_vit_equals_timm_on_its_own_size(folder: Path) -> None:
    encoder = build(folder, "vit_tiny_patch16_224", (256, 256))
    network = timm.create_model(
        "vit_tiny_patch16_224", pretrained=False, num_classes=0, dynamic_img_size=True
    ).eval()
    path = make_checkpoint(folder, "vit_tiny_patch16_224")
    timm.models.load_checkpoint(network, str(path))
    images = torch.full((1, 256, 256, 3), 200, dtype=torch.uint8)
    x = (images.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5  # this model's mean and std
    with torch.inference_mode():
        want = torch.nn.functional.normalize(network(x), dim=-1)
    torch.testing.assert_close(encoder.encode_full(images).embedding, want, atol=1e-5, rtol=1e-4)


def test_patch14_gets_a_grid_of_stride_16(folder: Path) -> None:
    encoder = build(folder, "vit_small_patch14_dinov2", (128, 64))
    features = encoder.encode_full(torch.zeros(1, 64, 128, 3, dtype=torch.uint8))
    assert features.pyramid[16].shape[-2:] == (4, 8)


def test_checkpoint_of_another_model(folder: Path) -> None:
    path = make_checkpoint(folder, "vit_tiny_patch16_224")
    config = EncoderConfig(name="timm/hieradet_small", weights=path, device="cpu")
    with pytest.raises(WeightsError, match="not a checkpoint of timm's hieradet_small"):
        build_encoder(config)


def test_missing_checkpoint_and_unknown_model(tmp_path: Path) -> None:
    config = EncoderConfig(name="timm/hieradet_small", weights=tmp_path / "no.pth", device="cpu")
    with pytest.raises(WeightsError, match=r"no\.pth: no such checkpoint"):
        build_encoder(config)
    with pytest.raises(WeightsError, match="has no model 'hieradet_giant'"):
        build_encoder(EncoderConfig(name="timm/hieradet_giant", device="cpu"))


def test_not_a_hierarchy_or_vit(tmp_path: Path) -> None:
    path = tmp_path / "r.safetensors"
    save_file(timm.create_model("resnet18", num_classes=0).state_dict(), path)
    config = EncoderConfig(name="timm/resnet18", weights=path, device="cpu")
    with pytest.raises(WeightsError, match="neither HieraDet, Hiera nor ViT"):
        build_encoder(config)


def test_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(WeightsError, match=r"could not fetch .*; download it on a machine"):
        build_encoder(EncoderConfig(name="timm/hieradet_small", device="cpu"))
