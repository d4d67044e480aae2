"""The re-implemented gates: with every token passed on they are the dense block."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import pytest
import timm
import torch
from conftest import REPO
from tile_stream import relative_error

NUM_TOKENS, CHANNELS = 48, 192


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(REPO / "benchmarks")
        return importlib.import_module("eventful")


@pytest.fixture(scope="module")
def block() -> Any:
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=1)
    return network.eval().requires_grad_(False).blocks[0]


def pictures(num_changed: int) -> tuple[torch.Tensor, torch.Tensor]:
    one = torch.randn(NUM_TOKENS, CHANNELS, generator=torch.Generator().manual_seed(1))
    other = one.clone()
    other[:num_changed] += 1
    return one, other


@pytest.mark.parametrize("is_full", [False, True])
def test_with_every_token_it_is_the_dense_block(
    bench: ModuleType, block: Any, is_full: bool
) -> None:
    one, other = pictures(num_changed=20)
    eventful = bench.EventfulBlock(block, is_full)
    assert relative_error(eventful.first(one), block(one[None])[0]) < 1e-5
    assert relative_error(eventful.step(other, NUM_TOKENS), block(other[None])[0]) < 1e-5


@pytest.mark.parametrize("is_full", [False, True])
def test_with_some_of_them_it_is_near_and_comes_nearer(
    bench: ModuleType, block: Any, is_full: bool
) -> None:
    """What a gate kept back it passes on later: the reference is what was sent."""
    one, other = pictures(num_changed=8)
    eventful = bench.EventfulBlock(block, is_full)
    eventful.first(one)
    want = block(other[None])[0]
    errors = [relative_error(eventful.step(other, 12), want) for _ in range(12)]
    assert 0 < errors[0] < relative_error(block(one[None])[0], want)
    assert errors[-1] < 1e-4


def test_a_gate_passes_on_what_differs_most(bench: ModuleType) -> None:
    one, other = pictures(num_changed=5)
    gate = bench.TokenGate(one)
    chosen, index = gate.pass_on(other, 5)
    assert sorted(index.tolist()) == [0, 1, 2, 3, 4]
    assert torch.equal(chosen, other[index])
    assert torch.equal(gate._sent, other)
