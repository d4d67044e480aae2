from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from streamvis.detect.head import Head
from streamvis.encode.sv_tiny import STRIDES, SvTiny, from_tiles, normalize, to_patches
from streamvis.encode.sv_tiny_encoder import for_inference
from streamvis.encode.weights import load_bundle
from streamvis.types import CLASSES

CPU = torch.device("cpu")
GRID = (2, 3)  # rows, cols of `pictures`


@pytest.fixture(scope="module")
def network(untrained_weights: Path) -> SvTiny:
    network = SvTiny().eval()
    load_bundle(untrained_weights).load_into(network, "encoder")
    return network.requires_grad_(False)


def pictures(batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (batch, 128, 192, 3), dtype=torch.uint8, generator=generator)


def run(network: SvTiny, images: Tensor) -> Iterator[Tensor]:
    """The dense model: pyramid at strides 8, 16, 32, context, embedding, worth."""
    x4, _, worth = network.look(to_patches(images, 64))
    pyramid, x32 = network.local(x4)
    context, embedding = network.context(from_tiles(x32, (len(images), *GRID)))
    return iter([*pyramid.values(), context, embedding, worth])


def test_it_is_small(network: SvTiny) -> None:
    assert sum(p.numel() for p in network.parameters()) < 4e6


def test_shapes_and_unit_embedding(network: SvTiny) -> None:
    *pyramid, context, embedding, worth = run(network, pictures())
    shapes = {s: tuple(x.shape) for s, x in zip(STRIDES, pyramid, strict=True)}
    assert shapes == {8: (12, 128, 8, 8), 16: (12, 128, 4, 4), 32: (12, 128, 2, 2)}
    assert context.shape == (2, 128, 4, 6)
    assert worth.shape == (12,)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))


def test_patches_are_the_tiles_pixels_in_order() -> None:
    images = pictures()
    patches = to_patches(images, 64)  # [12, 48, 16, 16]
    tile = images[0, 64:128, 64:128]  # the fifth
    assert torch.equal(patches[4, :, 2, 3], tile[8:12, 12:16].flatten())
    assert torch.equal(to_patches(tile[None], 64)[0], patches[4])


def test_from_tiles_puts_each_in_its_place() -> None:
    tiles = torch.randn(12, 5, 2, 2)
    whole = from_tiles(tiles, (2, *GRID))  # [2, 5, 4, 6]
    assert torch.equal(whole[1, :, 2:4, 4:6], tiles[11])
    assert torch.equal(whole[0, :, 0:2, 2:4], tiles[1])


def test_both_dtypes_see_the_same_pixels() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(normalize(levels, torch.bfloat16).float(), normalize(levels, torch.float32))


def test_all_but_the_context_sees_one_tile_only(network: SvTiny) -> None:
    images = pictures(1)
    changed = images.clone()
    changed[:, :64, 64:128] = 255 - changed[:, :64, 64:128]  # tile 1
    *before, context, _, worth = run(network, images)
    *after, other_context, _, other_worth = run(network, changed)
    for x, y in zip([*before, worth], [*after, other_worth], strict=True):
        same = [torch.equal(x[i], y[i]) for i in range(len(x))]
        assert same == [True, False, True, True, True, True]
    assert not torch.equal(context[..., -1, -1], other_context[..., -1, -1])


def test_pictures_of_a_batch_do_not_mix(network: SvTiny) -> None:
    *_, context, embedding, _ = run(network, pictures())
    *_, own_context, own_embedding, _ = run(network, pictures()[1:])
    torch.testing.assert_close(context[1:], own_context)
    torch.testing.assert_close(embedding[1:], own_embedding)


def test_folded_norms_equal_the_plain_module(network: SvTiny) -> None:
    folded = for_inference(copy.deepcopy(network), CPU, torch.float32)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    with torch.inference_mode():
        for found, want in zip(run(folded, pictures()), run(network, pictures()), strict=True):
            torch.testing.assert_close(found, want, atol=1e-4, rtol=1e-3)


def test_bf16_stays_close_to_fp32(network: SvTiny) -> None:
    fast = for_inference(copy.deepcopy(network), CPU, torch.bfloat16)
    with torch.inference_mode():
        found, wanted = list(run(fast, pictures())), list(run(network, pictures()))
    assert found[-2].dtype == torch.float32, "the embedding"
    for x, want in zip(found, wanted, strict=True):
        assert (x.float() - want).norm() / want.norm() < 0.03


def test_nine_tenths_of_the_multiplications_are_per_tile(network: SvTiny) -> None:
    """The promise that reuse cashes in; the head counts as dense."""
    macs = {True: 0, False: 0}
    head = Head(network.arch, len(CLASSES)).eval()

    def count(is_local: bool) -> object:
        def hook(module: nn.Module, _: object, out: Tensor) -> None:
            weight = module.get_parameter("weight")
            macs[is_local] += out.numel() // weight.shape[0] * weight.numel()

        return hook

    handles = [
        module.register_forward_hook(count(part is not head and not name.startswith("context")))  # type: ignore[arg-type]
        for part in (network, head)
        for name, module in part.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    ]
    *pyramid, context, _, _ = run(network, pictures(1))
    wholes = (from_tiles(x, (1, *GRID)) for x in pyramid)
    head(dict(zip(STRIDES, wholes, strict=True)), context)
    for handle in handles:
        handle.remove()
    assert macs[True] / sum(macs.values()) > 0.9
