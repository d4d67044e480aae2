"""Dense against reuse, in turns, in one process, on the same frames and weights.

    python benchmarks/reuse.py VIDEO_OR_DRIVE... [--threshold T...] [--write docs/reuse.md]

A drive's cameras are one batch. Times are wall clock, of encoder and head, by `streamvis eval`'s
own clock; so is accuracy: where a drive has labels they are the measure, else the dense run's own
sure boxes are, and "AP50" says how well reuse agrees with dense. Differences are paired, with their
95 % interval. Prints a table, and one line of JSON last.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from document import table, write_block
from figures import hardware

from streamvis.encode.config import EncoderConfig
from streamvis.eval.agreement import sure_boxes
from streamvis.eval.assemble import block_frames
from streamvis.eval.bootstrap import intervals
from streamvis.eval.config import EvalConfig
from streamvis.eval.detection import GROUPS, groups_of, match_detections, score_matches
from streamvis.eval.labels import DriveLabels, read_labels
from streamvis.eval.operations import Operations, count_operations
from streamvis.eval.result import Found
from streamvis.eval.rounds import Footage, Round, RoundReader, TimedFrame
from streamvis.eval.runner import TURN_ROUNDS
from streamvis.eval.shards import RunLog
from streamvis.eval.stepper import Models, Stepper, run_turn
from streamvis.source.drive import Drive
from streamvis.source.video import VideoSource
from streamvis.tiling.config import TilingConfig
from streamvis.types import TileState

CAMERA = "camera"  # of a video file


def main() -> None:
    args = parse_args()
    cv2.setNumThreads(1)
    rows: dict[str, dict[str, Any]] = {}
    for path in args.paths:
        for clip in list_clips(path, args):
            for name, row in run(clip, args).items():
                rows[name] = row
                print(name, json.dumps(row), flush=True)
    facts = {"threads": torch.get_num_threads(), "load": round(os.getloadavg()[0], 1)}
    shown = {name: to_cells(row) for name, row in rows.items() if "speedup" in row}
    print(f"\n{hardware()} {json.dumps(facts)}\n\n{table(shown)}")
    if args.write:
        write_block(args.write, args.block, table(shown))
    print(json.dumps({**facts, "clips": rows}))


@dataclass(frozen=True)
class Clip:
    """A drive, or one video."""

    name: str
    path: Path
    cameras: tuple[str, ...]
    max_frames: int | None

    def rounds(self, size: tuple[int, int], with_motion: bool) -> Iterator[Round]:
        if self.path.is_dir():
            footage = Footage(self.path, self.cameras, self.max_frames)
            with closing(RoundReader(footage, size, with_motion)) as reader:
                yield from reader
        else:
            yield from self._frames(size, with_motion)

    def _frames(self, size: tuple[int, int], with_motion: bool) -> Iterator[Round]:
        how = {"max_frames": self.max_frames, "with_motion": with_motion}
        with closing(VideoSource(self.path, CAMERA, size, **how)) as source:
            while source.grab() is not None:
                if frame := source.retrieve(0):
                    media_ns = round(frame.pts * frame.time_base * 1_000_000_000)
                    yield Round((TimedFrame(frame, media_ns),))

    def labels(self) -> DriveLabels | None:
        path = self.path / "labels.json"
        return read_labels(path, self.cameras) if path.is_file() else None


def list_clips(path: Path, args: argparse.Namespace) -> list[Clip]:
    """A folder of videos without a rig is as many clips."""
    if path.is_file():
        return [Clip(f"{path.parent.name}/{path.stem}", path, (CAMERA,), args.frames)]
    if not (path / "rig.json").is_file():
        return [clip for video in sorted(path.glob("*.mp4")) for clip in list_clips(video, args)]
    return [Clip(path.name, path, tuple(args.cameras or Drive(path).cameras), args.frames)]


@dataclass
class Contender:
    """One gate setting."""

    config: EvalConfig
    stepper: Stepper
    operations: Operations | None = None
    logs: list[RunLog] = field(default_factory=list)

    def step(self, rounds: Sequence[Round]) -> None:
        if self.operations is None:
            self.operations = count_operations(self.stepper, rounds)
        self.logs.append(run_turn(self.stepper, rounds))

    @property
    def log(self) -> RunLog:
        return RunLog.concat(self.logs)

    @property
    def gflops(self) -> float:
        """A frame."""
        assert self.operations is not None, "it was stepped"
        return self.operations.per_frame(self.log.tiles)


def run(clip: Clip, args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    contenders = build(clip, args)
    with_motion = any(one.config.tiling.wants_codec_motion for one in contenders)
    rounds = clip.rounds(contenders[0].config.encoder.input_size, with_motion)
    turn_number = 0
    while turn := list(islice(rounds, TURN_ROUNDS)):
        # Whoever goes second finds the machine as the first one left it: so they change.
        for one in contenders if turn_number % 2 == 0 else reversed(contenders):
            one.step(turn)
        turn_number += 1
    return summarise(clip, contenders)


def build(clip: Clip, args: argparse.Namespace) -> list[Contender]:
    """Dense first. They share the models."""
    encoder = EncoderConfig(
        input_size=tuple(args.size), dtype=args.dtype, threads=args.threads, weights=args.weights
    )
    dense = EvalConfig(name="dense", encoder=encoder)
    models = Models.load(dense, len(clip.cameras))
    configs = [dense, *(reuse(dense, args, t) for t in args.threshold)]
    return [Contender(config, Stepper(config, clip.cameras, models)) for config in configs]


def reuse(dense: EvalConfig, args: argparse.Namespace, threshold: float) -> EvalConfig:
    tiling = {"policy": "threshold", "threshold": threshold, "max_age": args.max_age}
    more = dict(pair.split("=", 1) for pair in args.set)
    tiling_config = TilingConfig.model_validate({**tiling, **more})
    return dense.model_copy(update={"name": f"{threshold:g}", "tiling": tiling_config})


def summarise(clip: Clip, contenders: Sequence[Contender]) -> dict[str, dict[str, Any]]:
    logs = [one.log for one in contenders]
    dense = logs[0]
    labels = clip.labels()
    found = {one.config.name: log.found() for one, log in zip(contenders, logs, strict=True)}
    if labels:
        truths = dict.fromkeys(groups_of(labels), labels.only(dense.keys))
    else:
        truths = {group: sure_boxes(dense, group) for group in GROUPS}
    accuracy = compare(truths, found, block_frames(dense))
    rows = {}
    for one, log in zip(contenders, logs, strict=True):
        name = f"{clip.name}, {one.config.name}"
        rows[name] = cost(log, one.gflops) | {"accuracy": accuracy[one.config.name]}
        if one is not contenders[0]:
            flop_speedup = contenders[0].gflops / one.gflops
            rows[name] |= against(log, dense, flop_speedup)
            rows[name]["measure"] = "labels" if labels else "dense"
    return rows


def cost(log: RunLog, gflops: float) -> dict[str, Any]:
    """Of encoder and head, a frame's mean share of its round."""
    num_frames = len(log.camera)
    return {
        "frames": num_frames,
        "ms": round(service_ns(log) / num_frames / 1e6, 3),
        "gflop": round(gflops, 3),
        "encoded": round(float(log.encoded.mean()), 4),
        "moved": round(float((log.tiles == TileState.MOVED).mean()), 4),
        "stale": round(float((log.tiles == TileState.STALE).mean()), 4),
    }


def against(log: RunLog, dense: RunLog, flop_speedup: float) -> dict[str, Any]:
    assert log.keys == dense.keys
    speedup = service_ns(dense) / service_ns(log)
    cosine = np.sum(log.embedding * dense.embedding, axis=1)
    p1, median = np.percentile(cosine, (1, 50))
    return {
        "speedup": round(speedup, 3),
        "flop_speedup": round(flop_speedup, 3),
        "arrives": round(speedup / flop_speedup, 3),
        "cosine_median_p1": [round(float(median), 4), round(float(p1), 4)],
        "cameras": {
            str(camera): {
                "encoded": round(float(log.encoded[log.camera == camera].mean()), 4),
                "cosine_p1": round(float(np.percentile(cosine[log.camera == camera], 1)), 4),
            }
            for camera in np.unique(log.camera)
        },
    }


def service_ns(log: RunLog) -> float:
    return float(log.encode_ns.sum() + log.detect_ns.sum())


def compare(
    truths: Mapping[str, DriveLabels], found: Mapping[str, Found], block: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """By contender, then by class group: AP and AP50, and their differences to the first."""
    scores: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in found}
    for group, truth in truths.items():
        if group not in groups_of(truth):
            continue
        matches = {name: match_detections(truth, own, group) for name, own in found.items()}
        spread = intervals(matches, block_frames=block)
        for name, match in matches.items():
            differences = spread.differences.get(name, {})
            score = replace(score_matches(match), differences=differences).to_dict()
            first = scores[next(iter(found))].get(group, score)
            for key in ("AP", "AP50"):  # too little evidence for an interval
                plain = {"value": round(score[key] - first[key], 4), "interval95": None}
                score["difference"].setdefault(key, plain)
            kept = ("AP", "AP50", "num_boxes", "difference")
            scores[name][group] = {key: score[key] for key in kept}
    return scores


def to_cells(row: Mapping[str, Any]) -> dict[str, str]:
    accuracy = row["accuracy"]
    group = "vehicle" if "vehicle" in accuracy else next(iter(accuracy), None)
    more = [f", {row[key]:.0%} {key}" for key in ("moved", "stale") if row[key] >= 0.005]
    median, p1 = row["cosine_median_p1"]
    return {
        "encoded": f"{row['encoded']:.0%}" + "".join(more),
        "ms": f"{row['ms']:.1f}",
        "time": f"× {row['speedup']:.2f}",
        "operations": f"× {row['flop_speedup']:.2f}",
        "arrives": f"{row['arrives']:.0%}",
        "cosine, median and p1": f"{median:.3f}, {p1:.3f}",
        "vehicle AP50": accuracy_cell(accuracy[group], row["measure"]) if group else "",
    }


def accuracy_cell(score: Mapping[str, Any], measure: str) -> str:
    """In points of AP50, and how many more they are than dense's."""
    it = score["difference"]["AP50"]
    text = f"{100 * score['AP50']:.1f}" + (" of dense's" if measure == "dense" else "")
    low_high = it["interval95"]
    interval = f" [{100 * low_high[0]:+.1f}, {100 * low_high[1]:+.1f}]" if low_high else ""
    return f"{text}: {100 * it['value']:+.2f}{interval}"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--threshold", type=float, nargs="+", default=[TilingConfig().threshold])
    parser.add_argument("--max-age", type=int, default=TilingConfig().max_age)
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="more of `tiling`"
    )
    parser.add_argument("--frames", type=int, help="of each camera, the first ones")
    parser.add_argument("--cameras", nargs="+")
    parser.add_argument("--size", type=int, nargs=2, default=(640, 384), metavar=("W", "H"))
    parser.add_argument("--dtype", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--weights", type=Path, help="another bundle of sv_tiny")
    parser.add_argument("--write", type=Path, help="put the table into this document")
    parser.add_argument("--block", default="reuse", help="between its marks of this name")
    return parser.parse_args()


if __name__ == "__main__":
    main()
