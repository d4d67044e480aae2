import copy

import pytest
import torch
from torch import Tensor, nn

from streamvis.encode.sv_tiny import SvTiny, from_tiles, normalize, to_tiles
from streamvis.encode.sv_tiny_encoder import for_inference

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> SvTiny:
    torch.manual_seed(0)
    network = SvTiny().eval()
    for module in network.modules():  # norms that do nothing would hide folding errors
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return network


def pictures(batch: int = 2, width: int = 192, height: int = 128) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (batch, height, width, 3), dtype=torch.uint8, generator=generator)


def test_it_is_small(network: SvTiny) -> None:
    assert 2e6 < sum(p.numel() for p in network.parameters()) < 4e6


@torch.inference_mode()
def test_shapes_and_unit_embedding(network: SvTiny) -> None:
    pyramid, embedding = network(pictures())
    assert {s: tuple(x.shape) for s, x in pyramid.items()} == {
        8: (2, 96, 16, 24),
        16: (2, 96, 8, 12),
        32: (2, 96, 4, 6),
    }
    assert embedding.shape == (2, 256)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))


def test_tiles_and_back() -> None:
    images = pictures()
    tiles = to_tiles(images, 64)  # [12, 3, 64, 64]
    assert torch.equal(tiles[4], images[0, 64:128, 64:128].permute(2, 0, 1))
    assert torch.equal(from_tiles(tiles, (2, 2, 3)), images.permute(0, 3, 1, 2))


def test_both_dtypes_see_the_same_pixels() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(normalize(levels, torch.bfloat16).float(), normalize(levels, torch.float32))


@torch.inference_mode()
def test_local_stages_see_one_tile_only(network: SvTiny) -> None:
    images = pictures(1)
    changed = images.clone()
    changed[:, :64, 64:128] = 255 - changed[:, :64, 64:128]  # tile 1
    before = network.local(normalize(to_tiles(images, 64), torch.float32))
    after = network.local(normalize(to_tiles(changed, 64), torch.float32))
    for x, y in zip(before, after, strict=True):
        same = [torch.equal(x[i], y[i]) for i in range(len(x))]
        assert same == [True, False, True, True, True, True]


@torch.inference_mode()
def test_context_reaches_other_tiles(network: SvTiny) -> None:
    images = pictures(1)
    changed = images.clone()
    changed[:, :64, :64] = 0
    before, after = network(images)[0], network(changed)[0]
    assert not torch.equal(before[32][..., -1, -1], after[32][..., -1, -1])


@torch.inference_mode()
def test_pictures_of_a_batch_do_not_mix(network: SvTiny) -> None:
    images = pictures(2)
    together, alone = network(images), network(images[1:])
    torch.testing.assert_close(together[1][1:], alone[1])
    torch.testing.assert_close(together[0][8][1:], alone[0][8])


@torch.inference_mode()
def test_folded_norms_equal_the_plain_module(network: SvTiny) -> None:
    folded = for_inference(copy.deepcopy(network), CPU, torch.float32)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    (pyramid, embedding), (want_pyramid, want) = folded(pictures()), network(pictures())
    torch.testing.assert_close(embedding, want, atol=1e-5, rtol=1e-4)
    for stride, x in pyramid.items():
        torch.testing.assert_close(x, want_pyramid[stride], atol=1e-4, rtol=1e-3)


@torch.inference_mode()
def test_bf16_stays_close_to_fp32(network: SvTiny) -> None:
    fast = for_inference(copy.deepcopy(network), CPU, torch.bfloat16)
    (pyramid, embedding), (want_pyramid, want) = fast(pictures()), network(pictures())
    assert embedding.dtype == torch.float32
    assert (embedding * want).sum(1).min() > 0.999
    for stride, x in pyramid.items():
        y = want_pyramid[stride]
        assert (x.float() - y).norm() / y.norm() < 0.03


@torch.inference_mode()
def test_most_work_is_local(network: SvTiny) -> None:
    """The promise that reuse will cash in: at least 80 % of the multiplications are per tile."""
    macs = {"local": 0, "dense": 0}

    def count(name: str) -> object:
        key = "local" if name.startswith("local") else "dense"

        def hook(module: nn.Module, _: object, out: Tensor) -> None:
            weight = module.get_parameter("weight")
            macs[key] += out.numel() // weight.shape[0] * weight.numel()

        return hook

    handles = [
        module.register_forward_hook(count(name))  # type: ignore[arg-type]
        for name, module in network.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    ]
    network(pictures(1, 640, 384))
    for handle in handles:
        handle.remove()
    assert macs["local"] / sum(macs.values()) > 0.8
