"""The README's table, measured on this machine.

    python benchmarks/figures.py [--onnx yolox_nano.onnx] [--write README.md]

Everything is measured in one run, and what is compared takes turns. Each figure is a median with
its range. The last line is JSON; --write puts the table between the markers of the README.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from document import table, write_block

from streamvis.client import Subscriber
from streamvis.config.load import load_config
from streamvis.detect.config import DetectorConfig
from streamvis.detect.detector import build_detector
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import build_encoder
from streamvis.runtime.session import RunSummary, Session
from streamvis.source.video import VideoSource
from streamvis.topology import PipelineConfig

REPO = Path(__file__).resolve().parent.parent
STREET = REPO / "pipelines/drives/street"
PIPELINE = REPO / "pipelines/av_4cam.yaml"
YOLOX = REPO.parent / "shared/data/teachers/yolox_nano.onnx"
YOLOX_SIZE = (416, 416)
EQUAL_PIXELS = (448, 384)  # 172,032 px against yolox_nano's 173,056


@dataclass(frozen=True)
class Figure:
    """A median with its range over the turns."""

    name: str
    unit: str
    values: list[float]
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def row(self) -> dict[str, str]:
        low, high = f"{min(self.values):.3g}", f"{max(self.values):.3g}"
        return {
            "median": f"{self.median:.3g} {self.unit}",
            "range": f"{low} – {high}",
            "": self.note,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--onnx", type=Path, default=os.environ.get("STREAMVIS_YOLOX", YOLOX))
    parser.add_argument("--write", type=Path)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    figures = [
        decode_720p(args.turns),
        *dense_model(args.turns),
        *against_yolox(args.onnx, args.turns),
        *whole_pipeline(turns=3),
    ]
    text = f"{hardware()}\n\n{table({figure.name: figure.row() for figure in figures})}"
    print(text)
    if args.write:
        write_block(args.write, "figures", text)
    print(json.dumps({f.name: {"unit": f.unit, "median": f.median} for f in figures}))


def decode_720p(turns: int) -> Figure:
    """H.264 decode, scale and colour conversion, straight to the 640x384 input."""
    with tempfile.TemporaryDirectory() as folder:
        clip = make_720p(Path(folder) / "clip.mp4")
        return Figure(
            "decode + scale, one 1280×720 H.264 frame, one thread",
            "ms",
            [decode_ms(clip) for _ in range(turns)],
            f"{8 * clip.stat().st_size / 1e6 / 6:.1f} Mbit/s",
        )


def make_720p(path: Path) -> Path:
    """The synthetic front camera, enlarged: a 720p clip that every clone can make."""
    with av.open(str(STREET / "front.mp4")) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=source.streams.video[0].average_rate)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        stream.codec_context.options = {"bf": "0", "crf": "21"}
        for frame in source.decode(video=0):
            target.mux(stream.encode(frame.reformat(1280, 720)))
        target.mux(stream.encode())
    return path


def decode_ms(clip: Path) -> float:
    source = VideoSource(clip, "front", (640, 384))
    began, count = time.perf_counter(), 0
    while source.grab() is not None:
        count += source.retrieve(0) is not None
    source.close()
    return (time.perf_counter() - began) * 1e3 / count


def dense_model(turns: int) -> list[Figure]:
    """Encoder, head and post-processing, four cameras in a batch, the two dtypes in turns."""
    runs = {dtype: dense_run((640, 384), dtype) for dtype in ("fp32", "bf16")}
    times = in_turns(runs, turns)
    name = "dense encoder + head, one 640×384 frame (batch of 4), {}"
    return [Figure(name.format(dtype), "ms", times[dtype]) for dtype in runs]


def dense_run(size: tuple[int, int], dtype: str) -> Callable[[], float]:
    """A call that encodes and detects once; returns ms a frame."""
    encoder = build_encoder(EncoderConfig(input_size=size, dtype=dtype))
    detector = build_detector(DetectorConfig(), encoder)
    images = torch.from_numpy(pictures(size, batch=4))

    def run() -> float:
        began = time.perf_counter()
        detector.detect(images, encoder.encode_full(images))
        return (time.perf_counter() - began) * 1e3 / len(images)

    return run


def pictures(size: tuple[int, int], batch: int) -> np.ndarray:
    """Real content, since post-processing depends on it: uint8 [B, H, W, 3]."""
    source = VideoSource(STREET / "front.mp4", "front", size)
    frames = []
    while len(frames) < batch and source.grab() is not None:
        frame = source.retrieve(0)
        if frame is not None:
            frames.append(frame.image)
    source.close()
    return np.stack(frames)


def against_yolox(onnx: Path | None, turns: int) -> list[Figure]:
    """Both detectors alone, at equal pixels, in turns on the same cores."""
    if onnx is None or not onnx.is_file():
        print("yolox_nano is not compared: give its file with --onnx or STREAMVIS_YOLOX")
        return []
    runs = {"sv_tiny": dense_run(EQUAL_PIXELS, "auto"), "yolox_nano": yolox_run(onnx)}
    times = in_turns(runs, turns)
    ratios = [a / b for a, b in zip(times["sv_tiny"], times["yolox_nano"], strict=True)]
    return [
        Figure("sv_tiny dense, all stages, 448×384 (batch of 4)", "ms", times["sv_tiny"]),
        Figure(
            "onnxruntime yolox_nano alone, 416×416 (batch of 1, as exported)",
            "ms",
            times["yolox_nano"],
        ),
        Figure("sv_tiny ÷ yolox_nano, time at equal pixels", "×", ratios, "below 1 is faster"),
    ]


def yolox_run(onnx: Path) -> Callable[[], float]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    picture = pictures(YOLOX_SIZE, batch=1).transpose(0, 3, 1, 2)[:, ::-1].astype(np.float32)

    def run() -> float:
        began = time.perf_counter()
        session.run(None, {"images": np.ascontiguousarray(picture)})
        return (time.perf_counter() - began) * 1e3

    return run


def in_turns(runs: dict[str, Callable[[], float]], turns: int) -> dict[str, list[float]]:
    """Each turn is the median of 10 calls of every run; warmed up first."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        for _ in range(3):
            run()
    for _ in range(turns):
        for name, run in runs.items():
            times[name].append(statistics.median(run() for _ in range(10)))
    return times


def whole_pipeline(turns: int) -> list[Figure]:
    """`streamvis run pipelines/av_4cam.yaml` without its film, on both runtimes."""
    replay = [run_pipeline("clock=replay") for _ in range(turns)]
    starts = {kind: [start_s(kind) for _ in range(turns)] for kind in ("ray", "local")}
    live = [run_live() for _ in range(turns)]
    stats = [status for summary, _ in live for status in summary.cameras]
    lost = sum(sum(s.ledger.lost.values()) for s in stats)
    offered = sum(s.ledger.source_frames for s in stats)
    note = f"4 cameras live, {lost} of {offered} frames dropped for newer ones"
    p50, p99 = zip(*(np.percentile(ages_ms, [50, 99]) for _, ages_ms in live), strict=True)
    return [
        Figure("four cameras, whole pipeline on Ray, lossless", "frames/s", list(map(fps, replay))),
        Figure("ingest to subscriber, p50", "ms", list(p50), note),
        Figure("ingest to subscriber, p99", "ms", list(p99)),
        *(Figure(f"command to first result, {kind}", "s", starts[kind]) for kind in starts),
    ]


def run_live() -> tuple[RunSummary, list[float]]:
    """A live run, and the age of every result when a subscriber has it in hand."""
    ages_ms: list[float] = []
    with tempfile.TemporaryDirectory(prefix="sv-", dir="/tmp") as folder:
        address = f"ipc://{folder}/out"

        def listen() -> None:
            with Subscriber(address) as results:
                ages_ms.extend(result.age_ms() for result in results)

        subscriber = threading.Thread(target=listen)
        subscriber.start()
        output = f"{{address: 'pub+bind:{address}', wait_subscribers: 1}}"
        summary = run_pipeline("clock=live", outputs=f"[{{publish: {output}}}]")
        subscriber.join()
    return summary, ages_ms


def run_pipeline(*overrides: str, outputs: str = "[]") -> RunSummary:
    return Session(load_config(PIPELINE, PipelineConfig, [f"outputs={outputs}", *overrides])).run()


def fps(summary: RunSummary) -> float:
    return sum(status.fps for status in summary.cameras)


def start_s(kind: str) -> float:
    """Seconds from the command line until a subscriber holds the first result."""
    with tempfile.TemporaryDirectory(prefix="sv-", dir="/tmp") as folder:
        address = f"ipc://{folder}/out"
        with Subscriber(address, timeout_ms=120_000) as results:
            began = time.perf_counter()
            run = subprocess.Popen(
                [
                    *(sys.executable, "-m", "streamvis.cli.main", "run", str(PIPELINE)),
                    *("--runtime", kind, "--clock", "replay", "--wait-subscribers", "1"),
                    *("--set", f"outputs=[{{publish: 'pub+bind:{address}'}}]"),
                ],
                stdout=subprocess.DEVNULL,
            )
            next(iter(results))
            seconds = time.perf_counter() - began
            run.terminate()
            for _ in results:  # the rest, until it says that it stopped
                pass
        run.wait(30)
    return seconds


def hardware() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "?")
    cores = len(os.sched_getaffinity(0))
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    features = torch.cpu.get_capabilities()
    wide = [name for name in ("amx_bf16", "avx512_bf16", "avx2") if features.get(name)]
    return (
        f"{cores} cores of {model} ({', '.join(wide)}), {gpu}, "
        f"torch {torch.__version__.partition('+')[0]}, Python {platform.python_version()}:"
    )


if __name__ == "__main__":
    main()
