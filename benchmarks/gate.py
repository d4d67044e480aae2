"""What the gate costs a camera's process, beside decoding, and what motion saves.

    python benchmarks/gate.py [VIDEO...] [--frames N] [--threshold T] [--limit-ms MS]

CPU time of one thread a 640x384 frame: decoding, its codec's vectors, and the gate with each
source of motion; the share of the tiles that are encoded and that only moved. Without VIDEO: the
front camera of the bundled street. The settings take turns on the same frames; there is no
encoder, so no detected objects. Prints one JSON line last; exit code 1 when the gate's median is
above --limit-ms.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from streamvis.source.video import VideoSource
from streamvis.tiling.config import TilingConfig
from streamvis.tiling.gate import build_gate
from streamvis.tiling.grid import TileGrid
from streamvis.tiling.plan import count_tiles
from streamvis.types import Feedback, Frame, TilePlan

STREET = Path(__file__).parents[1] / "pipelines/drives/street/front.mp4"
SIZE, TILE_PX = (640, 384), 64
KINDS = ("none", "codec", "flow", "auto")
TURN = 10  # frames of each setting at a time
ACK = Feedback(need_i=False)


def main() -> None:
    args = parse_args()
    cv2.setNumThreads(1)
    report: dict[str, Any] = {
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "threshold": args.threshold,
        "clips": {},
    }
    for path in args.videos or [STREET]:
        report["clips"][path.stem] = clip = measure(path, args)
        print(f"{path.stem}: decode {clip['decode_ms']} ms, with vectors {clip['vectors_ms']} ms")
        for kind in KINDS:
            print(f"  motion {kind:5s}", json.dumps(clip[kind]))
    medians = [clip[kind]["gate_ms"][0] for clip in report["clips"].values() for kind in KINDS]
    report["worst_median_ms"] = max(medians)
    print(json.dumps(report))
    sys.exit(report["worst_median_ms"] > args.limit_ms)


def measure(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    plain, decode_ms = read(path, args.frames, with_motion=False)
    frames, vectors_ms = read(path, args.frames, with_motion=True)
    del plain
    options = {"policy": "threshold", "threshold": args.threshold}
    grid = TileGrid.over(*SIZE, TILE_PX)
    gates = {
        kind: build_gate(TilingConfig.model_validate({**options, "motion": kind}), grid)
        for kind in KINDS
    }
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    plans: dict[str, list[TilePlan]] = {kind: [] for kind in KINDS}
    for begin in range(0, len(frames), TURN):
        for kind, gate in gates.items():
            for frame in frames[begin : begin + TURN]:
                began_ns = time.process_time_ns()
                plans[kind].append(gate.plan(frame, ACK))
                times[kind].append((time.process_time_ns() - began_ns) / 1e6)
    rows = {kind: summary(times[kind][1:], plans[kind][1:]) for kind in KINDS}
    return {"decode_ms": decode_ms, "vectors_ms": vectors_ms, **rows}


def summary(times_ms: list[float], plans: list[TilePlan]) -> dict[str, Any]:
    counts = [count_tiles(plan) for plan in plans]
    total = sum(c.total for c in counts)
    return {
        "gate_ms": [round(float(np.quantile(times_ms, q)), 2) for q in (0.5, 0.99)],
        "encoded": round(sum(c.encoded for c in counts) / total, 3),
        "moved": round(sum(c.moved for c in counts) / total, 3),
    }


def read(path: Path, count: int, with_motion: bool) -> tuple[list[Frame], float]:
    """The frames, and the median CPU time a frame took, ms."""
    frames, times = [], []
    with closing(
        VideoSource(path, "camera", SIZE, max_frames=count, with_motion=with_motion)
    ) as source:
        began_ns = time.process_time_ns()
        while source.grab() is not None:
            frame = source.retrieve(0)
            if frame is not None:
                frames.append(frame)
                times.append(time.process_time_ns() - began_ns)
                began_ns = time.process_time_ns()
    return frames, round(float(np.median(times)) / 1e6, 2)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", type=Path, nargs="*")
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--threshold", type=float, default=30.0)
    parser.add_argument("--limit-ms", type=float, default=2.5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
