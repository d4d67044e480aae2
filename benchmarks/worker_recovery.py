"""How soon results come again after a worker was killed, and what that costs.

    python benchmarks/worker_recovery.py --spares 1 --rounds 5

Four cameras of the bundled drive run live with the bundled model; their worker gets SIGKILL.
Measured is until every camera has a new result; the machine should be idle. Every round is a run
of its own: a worker that dies twice within a minute is replaced later. One JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from time import monotonic

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from conftest import STREET
from running import Running, actor_process, check_books, running

from streamvis.topology import PipelineConfig

QUIET_S, LOADING = 3.0, 0.3  # a spare that used less of a second's CPU for so long has loaded
CAMERAS = ("front", "front_left", "left", "back")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--spares", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    recoveries = [measure(options.spares) for _ in range(options.rounds)]
    times_s = sorted(round(time_s, 2) for time_s, _ in recoveries)
    figures = {
        "benchmark": "worker_recovery",
        "spares": options.spares,
        "recovery_s": {"median": times_s[len(times_s) // 2], "max": times_s[-1], "all": times_s},
        "most_lost_of_a_camera": max(lost for _, lost in recoveries),
        "cores": len(os.sched_getaffinity(0)),
        "load_after": round(os.getloadavg()[0], 2),
    }
    print(json.dumps(figures))


def measure(spares: int) -> tuple[float, int]:
    """(until every camera has a new result, s; frames lost in `infer`, at most of one camera)"""
    with (
        tempfile.TemporaryDirectory(prefix="sv-bench-", dir="/tmp") as folder,
        running(pipeline(Path(folder), spares)) as run,
    ):
        recovery = recover(run, spares)
        summary = run.stop()
    for camera in CAMERAS:
        check_books(run, summary, camera)
    return recovery


def pipeline(folder: Path, spares: int) -> PipelineConfig:
    return PipelineConfig.model_validate(
        {
            "version": 1,
            "name": "recovery",
            "runtime": {"kind": "ray", "spares": spares},
            "sources": {camera: {"uri": str(STREET), "loop": True} for camera in CAMERAS},
            "tiling": {"policy": "threshold"},
            "outputs": [{"publish": f"pub+bind:ipc://{folder}/out"}],
        }
    )


def recover(run: Running, spares: int) -> tuple[float, int]:
    for camera in CAMERAS:
        run.more_results(camera, 10)
    wait_for_spares(run, spares)
    before = {camera: run.results(camera)[-1] for camera in CAMERAS}
    begin_s = monotonic()
    actor_process("EncoderActor").kill()
    run.until(
        lambda: all(run.results(c)[-1].epoch != before[c].epoch for c in CAMERAS), "new results"
    )
    took_s = monotonic() - begin_s
    lost = max(
        run.results(c)[-1].ledger.lost["infer"] - before[c].ledger.lost["infer"] for c in CAMERAS
    )
    print(f"{took_s:6.2f} s, at most {lost} lost of a camera", flush=True)
    return took_s, lost


def wait_for_spares(run: Running, spares: int) -> None:
    """Until they are there and have loaded: then they do nothing any more."""
    run.until(lambda: len(workers()) == 1 + spares, "the spares")
    waiting = workers()[1:]
    quiet_since_s = monotonic()
    while monotonic() - quiet_since_s < QUIET_S:
        used_s = sum(sum(worker.cpu_times()[:2]) for worker in waiting)
        end_s = monotonic() + 1
        run.until(lambda end_s=end_s: monotonic() > end_s, "the end of a second")
        if sum(sum(worker.cpu_times()[:2]) for worker in waiting) - used_s > LOADING:
            quiet_since_s = monotonic()


def workers() -> list[psutil.Process]:
    """The oldest first: it serves."""
    children = psutil.Process().children(recursive=True)
    found = [child for child in children if "ray::EncoderActor" in " ".join(child.cmdline())]
    return sorted(found, key=psutil.Process.create_time)


if __name__ == "__main__":
    main()
