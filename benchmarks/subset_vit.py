"""One block of timm's ViT-B on some of the tokens against the same block dense, in one run.

    python benchmarks/subset_vit.py [--threads 1] [--turns 7]

With one thread the times are the process's CPU time, which other programs on the machine disturb
little. Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import timm
import torch

from streamvis.encode.timm_tokens import TokenCache
from streamvis.encode.timm_vit import VitTokens
from streamvis.types import ModelId

SIDE = 4  # a tile of 64 px has 4 x 4 tokens
GRIDS = ((6, 14), (10, 23))  # tiles: N = 1344 and 3680
SHARES = (0.1, 0.25, 0.5, 1.0)


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads or len(os.sched_getaffinity(0)))
    now = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    network = timm.create_model(
        "vit_base_patch16_224", num_classes=0, class_token=False, global_pool="avg",
        depth=1, dynamic_img_size=True,
    )  # fmt: skip
    network = network.eval().to(torch.bfloat16).requires_grad_(False)
    report: dict[str, Any] = {"threads": torch.get_num_threads(), "load": os.getloadavg()[0]}
    for rows, cols in GRIDS:
        row = run(network, rows, cols, args.turns, now)
        report[f"N={rows * cols * SIDE**2}"] = row
        print(rows * cols * SIDE**2, json.dumps(row), flush=True)
    print(json.dumps(report))


@torch.inference_mode()
def run(network: Any, rows: int, cols: int, turns: int, now: Callable[[], float]) -> dict[str, Any]:
    tokens = VitTokens(network, rows, cols, SIDE)
    block = network.blocks[0]
    x = torch.randn(rows * cols * SIDE**2, 768, dtype=torch.bfloat16)
    cache = TokenCache(ModelId("vit", ""), np.zeros((1, 1, 3), np.uint8))
    contenders: dict[str, Callable[[], Any]] = {"dense": lambda: block(x[None])}
    for share in SHARES:
        chosen = np.random.default_rng(0).choice(
            rows * cols, round(share * rows * cols), replace=False
        )
        slots = tokens._slots(np.sort(chosen).astype(np.int32), x.device)
        contenders[f"{share:.0%}"] = bind(tokens, block, x[slots], slots, cache)
    contenders["100%"]()  # fills the cache
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(turns):
        for name, call in contenders.items():
            begun = now()
            call()
            times[name].append(now() - begun)
    best = {name: float(np.quantile(t, 0.25)) * 1e3 for name, t in times.items()}
    return {n: {"ms": round(t, 1), "speedup": round(best["dense"] / t, 2)} for n, t in best.items()}


def bind(
    tokens: VitTokens, block: Any, x: torch.Tensor, slots: torch.Tensor, cache: TokenCache
) -> Callable[[], Any]:
    return lambda: tokens._block(0, block, x, [len(x)], [slots], [cache])


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--turns", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    main()
