"""How many streams one GPU holds at 30 FPS with p99 <= 100 ms, dense and reuse.

    python benchmarks/reuse_cuda.py [--models sv_tiny vit_base_patch16_224 ...]
        [--active 0.05 0.17] [--size 1920 1088] [--json FILE] [--write docs/reuse.md]

Every stream is a camera whose pictures lie in memory, so that nothing is decoded: what is timed is
what a GPU worker does, from a frame's tiles in memory to its boxes (sv_tiny) or its embedding
(timm's encoders, random weights). In a frame a given share of scattered tiles has new content; all
streams of a round are one batch. Frames arrive by the clock and wait for the round before theirs;
latency is waiting and service together. The number of streams is doubled until it does not hold,
then narrowed down.

Needs a GPU; `--device cpu` tries the script out. It imports neither av nor ray nor zmq, so that it
runs, with PYTHONPATH at the repository, where only torch, torchvision, timm, numpy, safetensors
and pydantic are. Prints a table, and one line of JSON last.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from document import table, write_block
from safetensors.torch import save_file

from streamvis.detect.config import DetectorConfig
from streamvis.detect.detector import Detector, build_detector
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import Encoder, TileUpdate, build_encoder, stack_pictures
from streamvis.tiling.grid import TileGrid
from streamvis.types import TilePlan

MODELS = ("sv_tiny", "sam2_hiera_base_plus", "vit_base_patch16_224")
NO_GPU = 3  # exit status
FPS = 30.0
MAX_P99_MS = 100.0
WARM_ROUNDS = 3
HOPELESS = 10  # rounds after which a trial that is far too slow is given up


def main() -> None:
    args = parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        print(
            "reuse_cuda.py needs a GPU, and torch sees none here: nothing was measured. Run it "
            "where one is, or try it out with --device cpu --models vit_tiny_patch16_224 "
            "--size 128 64 --rounds 5 --most 4",
            file=sys.stderr,
        )
        raise SystemExit(NO_GPU)
    rows = {name: run(name, args) for name in args.models}
    report = {"device": device_name(args.device), "torch": torch.__version__, "rows": rows}
    cells = {
        name: {way: str(row["streams"]) for way, row in ways.items()} for name, ways in rows.items()
    }
    print(f"\n{report['device']}, torch {torch.__version__}\n\n{table(cells)}")
    if args.write:
        write_block(args.write, "cuda", table(cells))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report))


def run(name: str, args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """By way (dense, or the share of active tiles): how many streams, and their latency."""
    worker = load(name, tuple(args.size), args.device)
    found: dict[str, dict[str, Any]] = {}
    for way, share in {"dense": None, **{f"{share:.0%}": share for share in args.active}}.items():
        trials: dict[int, Trial] = {}

        def holds(
            count: int, trials: dict[int, Trial] = trials, share: float | None = share
        ) -> bool:
            trials[count] = attempt(worker, count, share, args.rounds)
            print(name, share, count, json.dumps(trials[count].to_dict()), flush=True)
            return trials[count].holds

        streams = most_streams(holds, args.most)
        last = trials[streams].to_dict() if streams else {}
        found[way] = {"streams": streams, **last}
    return found


@dataclass(frozen=True)
class Trial:
    """What one number of streams gave."""

    service_ms: Sequence[float]  # by round; empty: the memory did not suffice

    @property
    def p99_ms(self) -> float:
        return float(np.percentile(latencies_ms(self.service_ms), 99))

    @property
    def holds(self) -> bool:
        """In the long run too: a worker slower than its frames is late some day."""
        keeps_up = bool(self.service_ms) and float(np.mean(self.service_ms)) <= 1e3 / FPS
        return keeps_up and self.p99_ms <= MAX_P99_MS

    def to_dict(self) -> dict[str, float]:
        if not self.service_ms:
            return {}
        return {
            "service_p50_ms": round(float(np.median(self.service_ms)), 2),
            "latency_p99_ms": round(self.p99_ms, 2),
        }


def latencies_ms(service_ms: Sequence[float]) -> list[float]:
    """Rounds arrive at FPS and are served one after the other: waiting and service of each."""
    free_ms, latencies = 0.0, []
    for number, service in enumerate(service_ms):
        arrival_ms = number * 1e3 / FPS
        free_ms = max(free_ms, arrival_ms) + service
        latencies.append(free_ms - arrival_ms)
    return latencies


def most_streams(holds: Callable[[int], bool], most: int) -> int:
    """The largest number that holds, at most `most`; 0: not even one."""
    good, bad = 0, 1
    while bad <= most and holds(bad):
        good, bad = bad, 2 * bad
    bad = min(bad, most + 1)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good


@dataclass(frozen=True)
class Worker:
    encoder: Encoder
    detector: Detector | None

    @torch.inference_mode()
    def serve(self, updates: Sequence[TileUpdate], is_dense: bool) -> None:
        """A batch to its end: results are on the host, or the device is done."""
        if is_dense:
            features = self.encoder.encode_full(stack_pictures(updates))
        else:
            features = self.encoder.encode_changed(updates)
        features.embedding.cpu()
        if self.detector is not None:
            self.detector.detect(torch.empty(0), features)
        if self.encoder.device.type == "cuda":
            torch.cuda.synchronize()


def load(name: str, size: tuple[int, int], device: str) -> Worker:
    """sv_tiny with its own weights and head; timm's encoders with random weights, alone."""
    if name == "sv_tiny":
        encoder = build_encoder(EncoderConfig(input_size=size, device=device))
        return Worker(encoder, build_detector(DetectorConfig(), encoder))
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.safetensors"
        state = timm.create_model(name, num_classes=0).state_dict()
        save_file({key: x.contiguous() for key, x in state.items()}, path)
        config = EncoderConfig(name=f"timm/{name}", weights=path, input_size=size, device=device)
        return Worker(build_encoder(config), None)


def attempt(worker: Worker, count: int, share: float | None, rounds: int) -> Trial:
    """`share` of the tiles is active; None: the dense encoder."""
    try:
        return Trial(list(serve_rounds(worker, count, share, rounds)))
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        return Trial([])


def serve_rounds(worker: Worker, count: int, share: float | None, rounds: int) -> Iterator[float]:
    """Service times, ms, until the end or until it is hopeless."""
    streams = [Stream(worker.encoder, seed) for seed in range(count)]
    worker.serve([stream.update(1.0) for stream in streams], share is None)
    for number in range(WARM_ROUNDS + rounds):
        updates = [stream.update(1.0 if share is None else share) for stream in streams]
        begun = time.perf_counter()
        worker.serve(updates, share is None)
        took_ms = (time.perf_counter() - begun) * 1e3
        if number >= WARM_ROUNDS:
            yield took_ms
        if number == WARM_ROUNDS + HOPELESS and took_ms > 2 * MAX_P99_MS:
            return


class Stream:
    """A camera: its canvas, its cache, and tiles with new content."""

    def __init__(self, encoder: Encoder, seed: int) -> None:
        width, height = encoder.input_size
        self._grid = TileGrid.over(width, height, encoder.tile_px)
        self._random = np.random.default_rng(seed)
        self._canvas = self._random.integers(0, 256, self._grid.picture_shape, np.uint8)
        self._cache = encoder.new_cache()

    def update(self, share: float) -> TileUpdate:
        """At least one tile: pixels of the picture, brighter by one."""
        grid = self._grid
        num_active = max(1, round(share * grid.num_tiles))
        index = np.sort(self._random.permutation(grid.num_tiles)[:num_active]).astype(np.int32)
        tiles = grid.cut(self._canvas, index) + np.uint8(1)
        grid.paste(self._canvas, index, tiles)
        return TileUpdate(self._canvas, plan_of(grid, index), tiles, self._cache)


def plan_of(grid: TileGrid, index: np.ndarray) -> TilePlan:
    count = grid.num_tiles
    return TilePlan(
        rows=grid.rows,
        cols=grid.cols,
        tile_px=grid.tile_px,
        kind="I" if len(index) == count else "P",
        index=index,
        motion=np.zeros((0, 2), np.int16),
        score=np.full(count, 2, np.float32),
        age=np.ones(count, np.int32),
    )


def device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "CPU: not a measurement"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--active", type=float, nargs="+", default=[0.05, 0.17])
    parser.add_argument("--size", type=int, nargs=2, default=(1920, 1088), metavar=("W", "H"))
    parser.add_argument("--rounds", type=int, default=100, help="of every trial")
    parser.add_argument("--most", type=int, default=512, help="streams")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", type=Path, help="put the table into this document")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
