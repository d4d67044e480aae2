"""Does one failing camera disturb the others? Promise (a) of docs/reliability.md, in figures.

    python benchmarks/isolation.py --rounds 5

Four live RTSP cameras run on Ray with the bundled model. The fourth fails in every way, in turns
with quiet times; the other three's p99 latency and missing frames are compared, as medians over
the rounds. The machine should be idle. Prints a table, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import torch
from document import table
from isolation_scene import CONTROLS, Turn, scene

from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import build_encoder

FPS = (15.0, 10.0, 5.0, 2.0)
BUSY = 0.4  # of the time, at most: the rest is for decoding, and for the faults
P99_SHARE, P99_MS = 0.10, 5.0  # the promise: whichever is larger


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn-s", type=float, default=10.0, help="how long each fault lasts")
    parser.add_argument("--fps", type=float, help="else what this machine serves with ease")
    options = parser.parse_args()
    fps = options.fps or affordable_fps()
    with tempfile.TemporaryDirectory(prefix="sv-bench-", dir="/tmp") as folder:
        turns = measure(Path(folder), fps, options.rounds, options.turn_s)
    figures = compare(turns)
    print(table(figures))
    print(
        json.dumps(
            {
                "benchmark": "isolation",
                "fps": fps,
                "rounds": options.rounds,
                "faults": figures,
                "holds": all(row["holds"] for row in figures.values()),
                "cores": len(os.sched_getaffinity(0)),
            }
        )
    )


def affordable_fps() -> float:
    """The highest rate at which encoding every tile of all four leaves most of the time."""
    config = EncoderConfig()
    encoder = build_encoder(config)
    width, height = config.input_size
    images = torch.full((len(CONTROLS) + 1, height, width, 3), 90, dtype=torch.uint8)
    times_s = []
    for _ in range(6):
        begin_s = perf_counter()
        float(encoder.encode_full(images).embedding.sum())
        times_s.append(perf_counter() - begin_s)
    return next((fps for fps in FPS if median(times_s[1:]) * fps < BUSY), FPS[-1])


def measure(folder: Path, fps: float, rounds: int, turn_s: float) -> list[tuple[Turn, Turn]]:
    """Pairs of a quiet turn and one with a fault after it."""
    pairs = []
    with scene(folder, fps=fps, runtime={"kind": "ray"}, tiling={"policy": "threshold"}) as four:
        four.add()
        for _ in range(rounds):
            for fault in four.faults:
                pairs.append((four.turn("", turn_s), four.turn(fault, turn_s)))
                print(*pairs[-1], sep="\n", flush=True)
                four.run.forget()
        four.run.stop()
    return pairs


def compare(pairs: list[tuple[Turn, Turn]]) -> dict[str, dict[str, float]]:
    """Of each fault: medians over the rounds, and whether the promise holds."""
    rows = {}
    for fault in dict.fromkeys(turn.fault for _, turn in pairs):
        quiet = [quiet for quiet, turn in pairs if turn.fault == fault]
        faulty = [turn for _, turn in pairs if turn.fault == fault]
        without, with_fault = (median(t.latency_p99_ms for t in ts) for ts in (quiet, faulty))
        missing = [sum(t.num_missing for t in turns) for turns in (quiet, faulty)]
        limit_ms = without + max(P99_MS, P99_SHARE * without)
        rows[fault] = {
            "p99 quiet ms": round(without, 1),
            "p99 with fault ms": round(with_fault, 1),
            "missing quiet": missing[0],
            "missing with fault": missing[1],
            "holds": with_fault <= limit_ms and missing[1] <= missing[0],
        }
    return rows


if __name__ == "__main__":
    main()
