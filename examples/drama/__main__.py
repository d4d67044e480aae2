"""One minute in which everything breaks that may break, and what a subscriber sees of it.

    make drama          # or: python examples/drama

Four RTSP cameras play the synthetic street into a pipeline with reuse on. A camera's server dies
and returns, the encoder worker is killed, a subscriber is stopped, a camera is added and removed.
A table says which promises were held; the exit code is 1 if one was not, 2 if the scene broke off.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))  # its RTSP cameras

from drama.acts import play
from drama.display import Display
from drama.judge import Verdict, judge
from drama.record import Record
from drama.scene import REPO, BrokenOff, Plan, scene

from streamvis.errors import StreamvisError

BUSY = 0.3  # of the cores: more, and latencies speak of something else, too
_QUIT = 130


def main() -> int:
    options = parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where it came ignored
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    log = options.json.with_suffix(".log")
    try:
        with Display() as display:
            record = perform(Plan(fps=options.fps), log, display)
            verdicts = judge(record)
            display.report(record, verdicts)
    except KeyboardInterrupt:
        print("stopped")
        return _QUIT
    except (BrokenOff, StreamvisError) as error:
        print(f"The scene broke off ({error}); the session's log is {log}.", file=sys.stderr)
        return 2
    write(options.json, record, verdicts)
    return conclude(verdicts)


def perform(plan: Plan, log: Path, display: Display) -> Record:
    """All of it, from an empty stage to an empty stage."""
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if load > BUSY * cores:
        display.say(f"the machine is busy (load {load:.1f}, {cores} cores): latencies will tell")
    display.say("Ray, the models and the cameras are started")
    with scene(plan, log) as stage:
        display.show(stage)
        play(stage, display.say)
        return stage.finish()


def conclude(verdicts: list[Verdict]) -> int:
    """The last line, and the exit code."""
    promised = [verdict for verdict in verdicts if verdict.is_held is not None]
    missed = [verdict.what for verdict in promised if not verdict.is_held]
    if missed:
        print(f"\n{len(missed)} of {len(promised)} promises were missed: {'; '.join(missed)}.")
        return 1
    print(f"\nAll {len(promised)} promises were held.")
    return 0


def write(path: Path, record: Record, verdicts: list[Verdict]) -> None:
    """Everything but the single results, as JSON."""
    acts = [
        {
            **asdict(act),
            "touched": sorted(act.touched),
            "began_s": round(act.began_s - record.began_s, 3),
            "ended_s": round(act.ended_s - record.began_s, 3),
        }
        for act in record.acts
    ]
    about = {
        "all_held": all(verdict.is_held is not False for verdict in verdicts),
        "verdicts": [asdict(verdict) for verdict in verdicts],
        "acts": acts,
        "cameras": {name: asdict(books) for name, books in record.books.items()},
        "stopped_subscriber": asdict(record.stalled) if record.stalled else None,
        "written": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(about, indent=2) + "\n")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, default=REPO / "out/drama.json", help="written there")
    parser.add_argument("--fps", type=float, default=Plan.fps, help="of each camera")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
