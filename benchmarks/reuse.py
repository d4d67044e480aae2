"""Dense against reuse, in turns, in one process, on the same frames and weights.

    python benchmarks/reuse.py VIDEO_OR_DRIVE... [--threshold T...] [--frames N] [--start N]

Without labels the dense run's own detections stand in for them, so that "AP50" says how well reuse
agrees with dense. Times are of the back: encoder, head, tracker. With --threads 1 they are the
process's CPU time, which other programs on the machine disturb little; else they are wall-clock
time. Prints one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from streamvis.back import PerceptionBack
from streamvis.detect.config import DetectorConfig
from streamvis.detect.detector import build_detector
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import build_encoder
from streamvis.front import build_front
from streamvis.source.drive import Drive
from streamvis.source.video import VideoSource
from streamvis.tiling.config import TilingConfig
from streamvis.track.config import TrackerConfig
from streamvis.types import Detections, Feedback, Frame

TURN = 10  # frames of each contender at a time
SCORE = 0.05


@dataclass
class Contender:
    """One gate setting over all cameras, with a back of its own on the shared models."""

    name: str
    tiling: TilingConfig
    encoder: Any
    detector: Any
    cameras: list[str]
    gate_ns: list[int] = field(default_factory=list)
    back_ns: list[int] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    stale: list[float] = field(default_factory=list)
    canary: list[float] = field(default_factory=list)
    found: dict[tuple[str, int], Detections] = field(default_factory=dict)
    embeddings: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = self.encoder_config
        self.fronts = {c: build_front(config, self.tiling) for c in self.cameras}
        self.back = PerceptionBack(self.encoder, self.detector, TrackerConfig(), "bench")
        self.feedback = {c: Feedback() for c in self.cameras}

    @property
    def encoder_config(self) -> EncoderConfig:
        return EncoderConfig(input_size=self.encoder.input_size)

    def step(self, frames: list[Frame], is_timed: bool = True) -> None:
        now = time.process_time_ns if torch.get_num_threads() == 1 else time.monotonic_ns
        begun = now()
        packets = [self.fronts[f.camera].step(f, self.feedback[f.camera]) for f in frames]
        packed = now()
        results, feedback = self.back.step(packets)
        ended = now()
        self.feedback |= feedback
        if is_timed:
            self.gate_ns.append((packed - begun) // len(frames))
            self.back_ns.append((ended - packed) // len(frames))
        for frame, result in zip(frames, results, strict=True):
            key = (frame.camera, frame.index)
            self.found[key] = result.detections
            self.embeddings[key] = result.embedding
            self.shares.append(result.tiles.encoded / result.tiles.total)
            self.stale.append(result.tiles.stale / result.tiles.total)
            self.canary.append(self.feedback[frame.camera].canary_error)


def main() -> None:
    args = parse_args()
    cv2.setNumThreads(1)
    config = EncoderConfig(
        input_size=tuple(args.size), dtype=args.dtype, threads=args.threads, weights=args.weights
    )
    encoder = build_encoder(config)
    detector = build_detector(DetectorConfig(score=SCORE), encoder)
    report: dict[str, Any] = {
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "threads": torch.get_num_threads(),
        "dtype": str(encoder.dtype),
        "clips": {},
    }
    for path in args.paths:
        rounds, name = read_rounds(path, encoder.input_size, args.start, args.frames, args.cameras)
        report["clips"][name] = run(rounds, encoder, detector, args)
        for setting, row in report["clips"][name].items():
            print(name, setting, json.dumps(row), flush=True)
    print(json.dumps(report))


def run(rounds: list[list[Frame]], encoder: Any, detector: Any, args: Any) -> dict[str, Any]:
    cameras = [f.camera for f in rounds[0]]
    settings = {"dense": TilingConfig()}
    for t in args.threshold:
        options = {"policy": "threshold", "threshold": t, "max_age": args.max_age}
        settings[f"t{t:g}"] = TilingConfig.model_validate(options)
    contenders = [Contender(n, t, encoder, detector, cameras) for n, t in settings.items()]
    for c in contenders:
        c.back.warm_up(len(cameras))
        c.step(rounds[0], is_timed=False)
    for begin in range(1, len(rounds), TURN):
        for c in contenders:
            for frames in rounds[begin : begin + TURN]:
                c.step(frames)
    flops = [count_flops(c, rounds) for c in contenders]
    dense = contenders[0]
    return {
        c.name: summary(c, dense, gflop, flops[0])
        for c, gflop in zip(contenders, flops, strict=True)
    }


def summary(c: Contender, dense: Contender, gflop: float, dense_gflop: float) -> dict[str, Any]:
    cosine = [float(c.embeddings[k] @ dense.embeddings[k]) for k in dense.embeddings]
    ratio = np.array(dense.back_ns) / np.array(c.back_ns)  # same frames, seconds apart
    return {
        "back_ms": ms(c.back_ns),
        "best_ms": round(float(np.quantile(c.back_ns, 0.1)) / 1e6, 2),
        "speedup": round(float(np.median(ratio)), 2),
        "speedup_best": round(
            float(np.quantile(dense.back_ns, 0.1) / np.quantile(c.back_ns, 0.1)), 2
        ),
        "gflop": round(gflop, 2),
        "flop_speedup": round(dense_gflop / gflop, 2),
        "gate_ms": ms(c.gate_ns),
        "encoded": round(float(np.mean(c.shares[len(c.fronts) :])), 3),
        "stale": round(float(np.mean(c.stale)), 4),
        "canary_p99": round(float(np.quantile(c.canary, 0.99)), 4),
        "cosine_median_p1": [round(float(np.quantile(cosine, q)), 4) for q in (0.5, 0.01)],
        "agreement_ap50": round(agreement(c.found, dense.found), 4),
    }


def ms(times: list[int]) -> float:
    return round(float(np.median(times)) / 1e6, 2)


def count_flops(c: Contender, rounds: list[list[Frame]]) -> float:
    """GFLOP a frame over the first turns, from the second frame on."""
    again = replace(
        c, gate_ns=[], back_ns=[], shares=[], stale=[], canary=[], found={}, embeddings={}
    )
    again.step(rounds[0])
    some = rounds[1 : 1 + 3 * TURN]
    with FlopCounterMode(display=False) as counter:
        for frames in some:
            again.step(frames)
    return float(counter.get_total_flops()) / sum(map(len, some)) / 1e9


def agreement(found: dict[Any, Detections], wanted: dict[Any, Detections]) -> float:
    """AP50 over all classes as one, the dense run's sure boxes as labels."""
    scores, hits, num_labels = [], [], 0
    for key, want in wanted.items():
        labels = want[want.score >= 0.3]
        num_labels += len(labels)
        free = np.ones(len(labels), np.bool_)
        mine = found[key]
        for row in np.argsort(-mine.score, kind="stable"):
            overlap = (
                iou(mine.xyxy[row], labels.xyxy) * free * (labels.class_id == mine.class_id[row])
            )
            best = int(overlap.argmax()) if len(overlap) else -1
            is_hit = best >= 0 and overlap[best] >= 0.5
            if is_hit:
                free[best] = False
            scores.append(float(mine.score[row]))
            hits.append(is_hit)
    order = np.argsort(-np.array(scores), kind="stable")
    hit = np.array(hits)[order]
    recall = np.cumsum(hit) / max(1, num_labels)
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * envelope))


def iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    inside = np.prod(np.clip(high - low, 0, None), axis=1)
    area = np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1)
    return inside / np.maximum(area - inside, 1e-9)


def read_rounds(
    path: Path, input_size: tuple[int, int], start: int, count: int, cameras: list[str] | None
) -> tuple[list[list[Frame]], str]:
    if path.is_dir():
        drive = Drive(path)
        names = cameras or list(drive.cameras)
        streams = [read(drive.video_path(c), c, input_size, start, count) for c in names]
        return [list(frames) for frames in zip(*streams, strict=False)], path.name
    return [[f] for f in read(path, "camera", input_size, start, count)], path.stem


def read(
    path: Path, camera: str, input_size: tuple[int, int], start: int, count: int
) -> list[Frame]:
    source = VideoSource(path, camera, input_size, max_frames=start + count)
    frames = []
    while source.grab() is not None:
        frame = source.retrieve(0)
        if frame is not None and frame.index >= start:
            frames.append(frame)
    source.close()
    return frames


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--threshold", type=float, nargs="+", default=[8.0])
    parser.add_argument("--max-age", type=int, default=30)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--cameras", nargs="+")
    parser.add_argument("--size", type=int, nargs=2, default=(640, 384), metavar=("W", "H"))
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--weights", type=Path, help="another bundle of sv_tiny")
    return parser.parse_args()


if __name__ == "__main__":
    main()
