"""Four 1280x720 cameras, live, from the decoder to a subscriber: what gets through, how old it is
when it comes, and where the cores' time goes.

    python benchmarks/end_to_end.py [--drive DRIVE] [--fps 15 30] [--policy off threshold ...]
                                    [--seconds 20] [--turns 3] [--write docs/reuse.md]

Without --drive the synthetic street, enlarged. A drive is played in a loop at the rate asked for.
The policies take turns. Core-milliseconds are those of whole processes, divided by the frames
published; the first two seconds do not count. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import psutil
from document import write_block
from figures import PIPELINE, STREET

from streamvis.client import Subscriber
from streamvis.config.load import load_config
from streamvis.runtime.session import Session
from streamvis.source.drive import Drive
from streamvis.topology import PipelineConfig
from streamvis.types import STAGES, FrameResult

CAMERAS = ("front", "front_left", "left", "back")
SIZE = (1280, 720)
WARM_UP_S = 2.0
# Ray names its processes by what they run.
GROUPS = {
    "ray::CameraLoop": "cameras: decode, gate, pack",
    "ray::EncoderActor": "worker: encode, detect, track, publish",
    "": "Ray's own processes",
}
SELF = "main: proxy, heartbeat, and this subscriber"


@dataclass
class Listened:
    """What a subscriber saw after the warm-up."""

    ages_ms: list[float] = field(default_factory=list)
    stages_ms: dict[str, list[float]] = field(default_factory=dict)
    encoded: list[float] = field(default_factory=list)  # share of the tiles
    stale: int = 0
    gaps: int = 0  # frames of the sources between results that never came
    first_ns: int = 0

    def take(self, result: FrameResult, age_ms: float, last: dict[str, int]) -> None:
        now_ns = time.monotonic_ns()
        self.first_ns = self.first_ns or now_ns
        previous = last.get(result.camera)
        last[result.camera] = result.frame_index
        if now_ns - self.first_ns < WARM_UP_S * 1e9:
            return
        if previous is not None:
            self.gaps += max(0, result.frame_index - previous - 1)
        self.ages_ms.append(age_ms)
        self.encoded.append(result.tiles.encoded / result.tiles.total)
        self.stale += result.tiles.stale
        for before, after in pairwise(STAGES):
            span = (result.stamps_ns[after] - result.stamps_ns[before]) / 1e6
            self.stages_ms.setdefault(f"{before} → {after}", []).append(span)


@dataclass(frozen=True)
class Turn:
    fps: float  # a camera
    p50_ms: float
    p99_ms: float
    lost: float  # share of the frames
    encoded: float  # share of the tiles
    cores_ms: Mapping[str, float]  # a frame, by process
    stages_ms: Mapping[str, float]  # median


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--drive", type=Path)
    parser.add_argument("--fps", type=float, nargs="+", default=[15, 30])
    parser.add_argument("--policy", nargs="+", default=["off", "threshold"])
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--write", type=Path)
    args = parser.parse_args()
    with videos_of(args.drive) as videos:
        runs: dict[tuple[float, str], list[Turn]] = {}
        for _ in range(args.turns):
            for fps in args.fps:
                for policy in args.policy:
                    turn = run(videos, fps, policy, args.seconds, args.overrides)
                    runs.setdefault((fps, policy), []).append(turn)
                    print(fps, policy, turn, file=sys.stderr)
    name = args.drive.name if args.drive else "the synthetic street, enlarged"
    table = "\n".join(table_of(name, runs)) + "\n"
    print(table)
    if args.write:
        write_block(args.write, "end-to-end", table)
    print(json.dumps({f"{fps:g} {policy}": asdict(middle(t)) for (fps, policy), t in runs.items()}))


@contextmanager
def videos_of(drive: Path | None) -> Iterator[dict[str, Path]]:
    with tempfile.TemporaryDirectory(prefix="sv-", dir="/tmp") as folder:
        if drive is not None:
            cameras = Drive(drive)
            yield {name: cameras.video_path(name) for name in CAMERAS}
        else:
            street = Drive(STREET)
            targets = {name: Path(folder) / f"{name}.mp4" for name in CAMERAS}
            for name, target in targets.items():
                enlarge(street.video_path(name), target)
            yield targets


def enlarge(path: Path, target: Path) -> None:
    with av.open(str(path)) as source, av.open(str(target), "w") as film:
        stream = film.add_stream("libx264", rate=source.streams.video[0].average_rate)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.options = {"bf": "0", "crf": "21"}
        for frame in source.decode(video=0):
            film.mux(stream.encode(frame.reformat(*SIZE)))
        film.mux(stream.encode())


def run(
    videos: Mapping[str, Path], fps: float, policy: str, seconds: float, more: Sequence[str]
) -> Turn:
    with av.open(str(next(iter(videos.values())))) as container:
        media_fps = float(container.streams.video[0].average_rate or 0)
    sources = ", ".join(f"{n}: {{uri: '{p}', loop: true}}" for n, p in videos.items())
    with tempfile.TemporaryDirectory(prefix="sv-", dir="/tmp") as folder:
        address = f"ipc://{folder}/out"
        output = f"{{address: 'pub+bind:{address}', wait_subscribers: 1}}"
        overrides = [
            *(f"sources={{{sources}}}", f"outputs=[{{publish: {output}}}]", "clock=live"),
            *(f"speed={fps / media_fps}", f"tiling.policy={policy}", *more),
        ]
        config = load_config(PIPELINE, PipelineConfig, overrides)
        return watch(Session(config), address, seconds)


def watch(session: Session, address: str, seconds: float) -> Turn:
    heard, cpu, over = Listened(), [], threading.Event()

    def listen() -> None:
        last: dict[str, int] = {}
        with Subscriber(address) as results:
            for result in results:
                heard.take(result, result.age_ms(), last)
                is_warm = bool(heard.ages_ms)
                if is_warm and not cpu:
                    cpu.append(cpu_seconds())
                if is_warm and time.monotonic_ns() - heard.first_ns > (WARM_UP_S + seconds) * 1e9:
                    break
        cpu.append(cpu_seconds())
        over.set()

    thread = threading.Thread(target=listen)
    thread.start()
    session.run(should_stop=over.is_set)
    thread.join()
    count = len(heard.ages_ms)
    spent = {name: 1e3 * (cpu[1][name] - cpu[0].get(name, 0)) / count for name in cpu[1]}
    p50, p99 = np.percentile(heard.ages_ms, [50, 99])
    return Turn(
        fps=count / seconds / len(CAMERAS),
        p50_ms=float(p50),
        p99_ms=float(p99),
        lost=heard.gaps / (heard.gaps + count),
        encoded=statistics.mean(heard.encoded),
        cores_ms={k: round(v, 2) for k, v in spent.items()},
        stages_ms={k: round(statistics.median(v), 2) for k, v in heard.stages_ms.items()},
    )


def cpu_seconds() -> dict[str, float]:
    """CPU time so far of this process and all it started, by what they do."""
    spent = {SELF: sum(psutil.Process().cpu_times()[:2])}
    for process in psutil.Process().children(recursive=True):
        try:
            title, times = " ".join(process.cmdline()), process.cpu_times()
        except psutil.Error:
            continue
        name = next(name for start, name in GROUPS.items() if title.startswith(start))
        spent[name] = spent.get(name, 0) + times.user + times.system
    return spent


def middle(turns: Sequence[Turn]) -> Turn:
    """The median of each figure by itself."""
    first = asdict(turns[0])

    def of(path: str, key: str | None = None) -> float:
        values = [getattr(turn, path) for turn in turns]
        return statistics.median(v if key is None else v.get(key, 0.0) for v in values)

    return Turn(
        **{
            name: {key: of(name, key) for key in value} if isinstance(value, dict) else of(name)
            for name, value in first.items()
        }
    )


def table_of(name: str, runs: Mapping[tuple[float, str], Sequence[Turn]]) -> Iterator[str]:
    middles = {key: middle(turns) for key, turns in runs.items()}
    yield f"{name}, 4 cameras of 1280×720, median of {len(next(iter(runs.values())))} turns:"
    yield ""
    yield "| FPS asked, policy | FPS a camera | lost | p50 ms | p99 ms (range) | tiles encoded |"
    yield "|---|---|---|---|---|---|"
    for (fps, policy), m in middles.items():
        p99s = [turn.p99_ms for turn in runs[fps, policy]]
        yield (
            f"| {fps:g}, {policy} | {m.fps:.1f} | {m.lost:.2%} | {m.p50_ms:.0f} "
            f"| {m.p99_ms:.0f} ({min(p99s):.0f} – {max(p99s):.0f}) | {m.encoded:.0%} |"
        )
    titles = [f"{fps:g}, {policy}" for fps, policy in runs]
    for key, what in (("cores_ms", "core-ms a frame"), ("stages_ms", "wall clock, ms a frame")):
        rows: list[dict[str, float]] = [getattr(m, key) for m in middles.values()]
        yield ""
        yield f"| {what} | " + " | ".join(titles) + " |"
        yield "|---" * (len(titles) + 1) + "|"
        for part in rows[0]:
            yield f"| {part} | " + " | ".join(f"{row.get(part, 0):.1f}" for row in rows) + " |"
        if key == "cores_ms":
            yield "| all | " + " | ".join(f"{sum(row.values()):.1f}" for row in rows) + " |"


if __name__ == "__main__":
    main()
