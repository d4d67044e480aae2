"""Encoder and head at a given share of active tiles against dense, in turns, in one process.

    python benchmarks/reuse_share.py [--weights FILE] [--batch 1 4] [--threads 1] [--turns 5]
        [--write docs/reuse.md]

With one thread times are the process's CPU time, which other programs on the machine disturb
little. Prints a table, and one line of JSON last.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from document import table, write_block
from torch.utils.flop_counter import FlopCounterMode

from streamvis.detect.config import DetectorConfig
from streamvis.detect.detector import build_detector
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import TileUpdate, build_encoder
from streamvis.source.video import VideoSource
from streamvis.tiling.grid import TileGrid
from streamvis.types import TilePlan

VIDEO = Path(__file__).parents[1] / "pipelines/drives/street/front.mp4"
NUM_TILES = 60  # of a picture of 640x384
ACTIVE = (0, 3, 6, 10, 18, 30, NUM_TILES)


def main() -> None:
    args = parse_args()
    report: dict[str, Any] = {"load": os.getloadavg()[0]}
    batches = {f"batch of {batch}": run(batch, args) for batch in args.batch}
    text = table(to_cells(batches))
    print(text)
    if args.write:
        write_block(args.write, "share", text)
    print(json.dumps(report | {"threads": torch.get_num_threads()} | batches))


def to_cells(batches: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """A row for each number of active tiles, two columns for each batch."""
    rows: dict[str, dict[str, str]] = {}
    for batch, by_count in batches.items():
        for name, it in by_count.items():
            row = rows.setdefault(name if name == "dense" else f"{name} of {NUM_TILES} tiles", {})
            row[f"{batch}, ms"] = f"{it['ms']:.1f}"
            row[f"{batch}, time / operations"] = (
                f"× {it['speedup']:.2f} / × {it['flop_speedup']:.2f} ({it['arrives']:.0%})"
            )
    return rows


def run(batch: int, args: argparse.Namespace) -> dict[str, Any]:
    encoder = build_encoder(EncoderConfig(weights=args.weights, threads=args.threads))
    detector = build_detector(DetectorConfig(), encoder)
    grid = TileGrid.over(*encoder.input_size, encoder.tile_px)
    picture = first_picture(encoder.input_size)
    images = torch.from_numpy(np.stack([picture] * batch))
    caches = [encoder.new_cache() for _ in range(batch)]

    def bind(num_active: int) -> Callable[[], Any]:
        plan = plan_of(grid, num_active)
        tiles = grid.cut(picture, plan.index)
        updates = [TileUpdate(picture, plan, tiles, cache) for cache in caches]
        return lambda: detector.detect(images, encoder.encode_changed(updates))

    bind(grid.num_tiles)()  # fills the caches
    calls = {"dense": lambda: detector.detect(images, encoder.encode_full(images))}
    calls |= {str(count): bind(count) for count in ACTIVE}
    flops = {name: count_flops(call) for name, call in calls.items()}
    times = measure(calls, args.turns)
    return {
        name: {
            "ms": round(t / batch, 1),
            "speedup": round(times["dense"] / t, 2),
            "flop_speedup": round(flops["dense"] / flops[name], 2),
            "arrives": round(times["dense"] / t / (flops["dense"] / flops[name]), 2),
        }
        for name, t in times.items()
    }


def measure(calls: dict[str, Callable[[], Any]], turns: int) -> dict[str, float]:
    """Lower quartile, ms: what disturbs only makes longer."""
    now = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            begun = now()
            call()
            times[name].append((now() - begun) * 1e3)
    return {name: float(np.quantile(t, 0.25)) for name, t in times.items()}


def count_flops(call: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def plan_of(grid: TileGrid, num_active: int) -> TilePlan:
    """Scattered tiles, all of them changed."""
    count = grid.num_tiles
    index = np.sort(np.random.default_rng(1).permutation(count)[:num_active]).astype(np.int32)
    return TilePlan(
        rows=grid.rows,
        cols=grid.cols,
        tile_px=grid.tile_px,
        kind="I" if num_active == count else "P",
        index=index,
        motion=np.zeros((0, 2), np.int16),
        score=np.full(count, 2, np.float32),
        age=np.ones(count, np.int32),
    )


def first_picture(input_size: tuple[int, int]) -> np.ndarray:
    source = VideoSource(VIDEO, "front", input_size)
    source.grab()
    frame = source.retrieve(0)
    source.close()
    assert frame is not None
    return frame.image


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, help="another bundle of sv_tiny")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--write", type=Path, help="put the table into this document")
    return parser.parse_args()


if __name__ == "__main__":
    main()
