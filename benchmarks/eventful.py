"""One block of timm's ViT-B on some of its tokens, three ways, against the same block dense.

    python benchmarks/eventful.py [--threads 1] [--turns 7] [--write docs/reuse.md]

*subset* is ours (`encode/timm_vit.py`): the tokens are chosen once a frame, at the input, and ask
all keys from a cache. *gates* are those of Eventful Transformers (Dutson, Li, Gupta, ICCV 2023):
every layer chooses anew which tokens differ most from what it last passed on. *gates, full* also
keeps the product of queries and keys and that of attention and values, and updates both. They are
re-implemented here from the paper, at their least: `top-r` gates, one picture, no pooling.

Dense has fused attention; all run in bfloat16. With one thread the times are the process's CPU
time, which other programs on the machine disturb little. Prints a table, and one line of JSON last.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from document import table, write_block
from subset_vit import GRIDS, SIDE, bind
from torch import Tensor

from streamvis.encode.timm_tokens import TokenCache
from streamvis.encode.timm_vit import VitTokens
from streamvis.types import ModelId

SHARES = (0.1, 0.25, 0.5)


class TokenGate:
    """Passes on the tokens that differ most from what it last passed on."""

    def __init__(self, x: Tensor) -> None:
        self._sent = x.clone()

    def pass_on(self, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """[N, C] -> the chosen tokens [count, C], and which ones they are."""
        index = (x - self._sent).norm(dim=-1).topk(count).indices
        chosen = x[index]
        self._sent[index] = chosen
        return chosen, index


class EventfulBlock:
    """timm's block with a gate and a buffer around qkv, the projection and the MLP.

    N tokens   n of them chosen   H heads   d of one head
    """

    def __init__(self, block: Any, is_full: bool) -> None:
        self._block, self._is_full = block, is_full
        self._heads: int = block.attn.num_heads
        self._scale: float = block.attn.scale

    def first(self, x: Tensor) -> Tensor:
        """Of a stream: everything is computed. [N, C] -> [N, C]"""
        block = self._block
        normed = block.norm1(x)
        self._qkv, self._qkv_gate = block.attn.qkv(normed), TokenGate(normed)
        mixed = self._attend_first()
        self._out, self._out_gate = block.attn.proj(mixed), TokenGate(mixed)
        x = x + block.ls1(self._out)
        normed = block.norm2(x)
        self._mlp, self._mlp_gate = block.mlp(normed), TokenGate(normed)
        result: Tensor = x + block.ls2(self._mlp)
        return result

    def step(self, x: Tensor, count: int) -> Tensor:
        """A later picture: `count` tokens pass each gate. [N, C] -> [N, C]"""
        block = self._block
        chosen, index = self._qkv_gate.pass_on(block.norm1(x), count)
        self._qkv[index] = block.attn.qkv(chosen)
        mixed = self._attend(index)
        chosen, index = self._out_gate.pass_on(mixed, count)
        self._out[index] = block.attn.proj(chosen)
        x = x + block.ls1(self._out)
        chosen, index = self._mlp_gate.pass_on(block.norm2(x), count)
        self._mlp[index] = block.mlp(chosen)
        result: Tensor = x + block.ls2(self._mlp)
        return result

    def _split(self) -> tuple[Tensor, Tensor, Tensor]:
        """The buffered queries, keys and values, [H, N, d] each."""
        qkv = self._qkv.view(len(self._qkv), 3, self._heads, -1).permute(1, 2, 0, 3)
        q, k, v = qkv.unbind(0)
        return q, k, v

    def _attend_first(self) -> Tensor:
        q, k, v = self._split()
        if not self._is_full:
            return _join(F.scaled_dot_product_attention(q[None], k[None], v[None])[0])
        self._product = q @ k.mT * self._scale  # [H, N, N]
        self._attention, self._values = self._product.softmax(-1), v.clone()
        self._mixed = self._attention @ v
        return _join(self._mixed)

    def _attend(self, index: Tensor) -> Tensor:
        if not self._is_full:
            return self._attend_first()
        q, k, v = self._split()
        self._product[:, index] = q[:, index] @ k.mT * self._scale  # rows
        self._product[:, :, index] = q @ k[:, index].mT * self._scale  # columns
        self._mix(self._product.softmax(-1), v, len(index))
        return _join(self._mixed)

    def _mix(self, attention: Tensor, values: Tensor, count: int) -> None:
        """Of attention [H, N, N] times values [H, N, d] the `count` columns that changed most:
        A'V' - AV = A' (V' - V) + (A' - A) V."""
        index = (attention - self._attention).norm(dim=(0, 1)).topk(count).indices
        new, old = attention[:, :, index], self._attention[:, :, index]
        old_values = self._values[:, index]
        self._mixed += new @ (values[:, index] - old_values) + (new - old) @ old_values
        self._attention[:, :, index] = new
        self._values[:, index] = values[:, index]


def _join(x: Tensor) -> Tensor:
    """[H, N, d] -> [N, H * d]"""
    return x.transpose(0, 1).flatten(1)


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads or len(os.sched_getaffinity(0)))
    network = build_network()
    report: dict[str, Any] = {"threads": torch.get_num_threads(), "load": os.getloadavg()[0]}
    rows: dict[str, dict[str, str]] = {}
    for tiles in GRIDS:
        for name, cells in run(network, tiles, args.turns).items():
            rows[f"N = {tiles[0] * tiles[1] * SIDE**2}, {name}"] = cells
            print(list(rows)[-1], json.dumps(cells), flush=True)
    if args.write:
        write_block(args.write, "eventful", table(rows))
    print(json.dumps(report | {"rows": rows}))


def build_network() -> Any:
    network = timm.create_model(
        "vit_base_patch16_224", num_classes=0, class_token=False, global_pool="avg",
        depth=1, dynamic_img_size=True,
    )  # fmt: skip
    return network.eval().to(torch.bfloat16).requires_grad_(False)


@torch.inference_mode()
def run(network: Any, tiles: tuple[int, int], turns: int) -> dict[str, dict[str, str]]:
    """By way: its time, and how many times less it is than dense."""
    dense_ms, ways_ms = 0.0, {"subset (ours)": {}, "gates": {}, "gates, full": {}}
    for share in SHARES:
        calls = bind_all(network, tiles, share)
        times = measure(calls, turns)
        dense_ms = times["dense"]
        for name in ways_ms:
            ways_ms[name][f"{share:.0%}"] = f"{times[name]:.1f} ms, × {dense_ms / times[name]:.2f}"
    return {"dense": {f"{share:.0%}": f"{dense_ms:.1f} ms" for share in SHARES[:1]}} | ways_ms


def bind_all(network: Any, tiles: tuple[int, int], share: float) -> dict[str, Callable[[], Any]]:
    """Two pictures that differ in scattered tiles, in turns: so a gate always has work."""
    block, num_tiles = network.blocks[0], tiles[0] * tiles[1]
    tokens = VitTokens(network, *tiles, SIDE)
    random = np.random.default_rng(0)
    chosen = np.sort(random.choice(num_tiles, round(share * num_tiles), replace=False))
    slots = tokens._slots(chosen.astype(np.int32), torch.device("cpu"))
    every = tokens._slots(np.arange(num_tiles, dtype=np.int32), torch.device("cpu"))
    one = torch.randn(len(every), 768, dtype=torch.bfloat16)
    other = one.clone()
    other[slots] = torch.randn(len(slots), 768, dtype=torch.bfloat16)
    cache = TokenCache(ModelId("vit", ""), np.zeros((1, 1, 3), np.uint8))
    bind(tokens, block, one, every, cache)()  # fills it
    calls = {
        "dense": lambda: block(other[None]),
        "subset (ours)": bind(tokens, block, other[slots], slots, cache),
    }
    for name, is_full in (("gates", False), ("gates, full", True)):
        calls[name] = bind_gates(block, is_full, [one, other], len(slots))
    return calls


def bind_gates(block: Any, is_full: bool, pictures: list[Tensor], count: int) -> Callable[[], Any]:
    eventful = EventfulBlock(block, is_full)
    eventful.first(pictures[0])
    number = 0

    def call() -> Tensor:
        nonlocal number
        number += 1
        return eventful.step(pictures[number % 2], count)

    return call


def measure(calls: dict[str, Callable[[], Any]], turns: int) -> dict[str, float]:
    """Lower quartile, ms: what disturbs only makes longer."""
    now = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()  # warm
    for _ in range(turns):
        for name, call in calls.items():
            begun = now()
            call()
            times[name].append((now() - begun) * 1e3)
    return {name: float(np.quantile(t, 0.25)) for name, t in times.items()}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--write", type=Path, help="put the table into this document")
    return parser.parse_args()


if __name__ == "__main__":
    main()
