"""Hours of what goes wrong with cameras, processes and subscribers, and what they leave behind.

    python benchmarks/soak.py --minutes 60 [--out out/soak]
    python benchmarks/soak.py --plot out/soak          # again, of a soak that was stopped, too

A whole session (`streamvis run` in a process of its own, on Ray, live, with reuse, recording,
control socket and HTTP) with four RTSP cameras. Two of them are controls, two are victims: their
servers die, fall silent and send damaged streams, their processes are killed and stopped. The
worker is killed. A fifth camera is always reconnecting, a sixth is added and removed again and
again; subscribers come, go, are stopped and nap. Which fault comes when is drawn with a seed.

Sampled every few seconds into OUT/soak.jsonl: memory, files and threads of every process, results,
ages. At the end OUT/soak.json has the verdicts and OUT/soak.png shows it (streamvis[eval,test]).
The exit code is 0 if every promise was held, 1 if one was not, and 2 if none was broken but the
soak was too short to judge whether memory is flat (less than 30 minutes; --short makes this 0).
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from live_samples import QUICK
from rtsp_server import RtspCamera, clip
from soak_faults import Faults
from soak_judge import judge
from soak_log import Log, look_at, read_log
from soak_plot import draw
from soak_readers import Watcher, read

from streamvis.record.reader import Recording

CONTROLS, VICTIMS, RESTLESS = ("hall", "yard"), ("gate", "dock"), "loop"
LIVE = {"timeout": "2s", "stale_after": "1s", "retry_after": "100ms", "retry_at_most": "500ms"}
GOP = 5
SAMPLE_S = 5.0
KEEP_S, SEGMENT_S = 120, 20
STORE = "2MB"  # full after minutes: what grows then is a leak
START_S = STOP_S = 120.0
SETTLE_S = 10.0


def main() -> None:
    options = parse_args()
    if options.role:
        read(options.address, options.out, is_lossless=options.role == "lossless")
        return
    folder = options.plot or options.out
    end = None
    if not options.plot:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        end = soak(folder, options)
    elif (folder / "end.json").exists():
        end = json.loads((folder / "end.json").read_text())
    log = read_log(folder / "soak.jsonl")
    summary = judge(log, end, CONTROLS)
    (folder / "soak.json").write_text(json.dumps(summary, indent=2) + "\n")
    draw(log, folder / "soak.png")
    print(json.dumps({"benchmark": "soak", **summary}))
    sys.exit({True: 0, False: 1, None: 0 if options.short else 2}[summary["held"]])


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=Path("out/soak"))
    parser.add_argument("--fps", type=float, default=5.0, help="of each camera")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reconnect-every", type=float, default=3.6, help="s; 1,000 an hour")
    parser.add_argument("--add-every", type=float, default=7.2, help="s; 500 an hour")
    parser.add_argument("--join-every", type=float, default=5.0, help="s; a late joiner")
    parser.add_argument("--short", action="store_true", help="what was not judged is no failure")
    parser.add_argument("--plot", type=Path, metavar="OUT", help="judge and draw what is there")
    parser.add_argument("--role", choices=("lossless", "stalled"), help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    return parser.parse_args()


def soak(out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Returns what was there at the end; raises if the session did not start, or did not stop."""
    clip(gop=GOP)
    log = Log(out / "soak.jsonl")
    with ExitStack() as stack:
        names = [*CONTROLS, *VICTIMS, RESTLESS, "guest"]
        cameras = {
            name: stack.enter_context(RtspCamera(fps=options.fps, gop=GOP)) for name in names
        }
        session = stack.enter_context(session_of(cameras, out))
        watcher = Watcher(session.address, log)
        session.wait_until_running()
        readers = {
            role: stack.enter_context(_reader(role, session.address, out))
            for role in ("lossless", "stalled")
        }
        addresses = (session.address, session.control)
        faults = Faults(session.process, addresses, watcher, log, options.seed)
        every_s = {
            "reconnect": options.reconnect_every,
            "add_remove": options.add_every,
            "join": options.join_every,
        }
        faults.start(
            {name: cameras[name] for name in VICTIMS},
            (RESTLESS, cameras[RESTLESS]),
            cameras["guest"],
            psutil.Process(readers["stalled"].pid),
            every_s,
        )
        sample_until(options.minutes * 60, session, watcher, faults, log)
        faults.stop()
        time.sleep(SETTLE_S)
        exit_code = session.stop()
        watcher.join()
        for reader in readers.values():
            reader.wait(STOP_S)
    end = what_is_left(out, watcher, faults, exit_code)
    (out / "end.json").write_text(json.dumps(end, indent=2) + "\n")
    return end


def sample_until(
    end_s: float, session: Session, watcher: Watcher, faults: Faults, log: Log
) -> None:
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    signal.signal(signal.SIGINT, lambda *_: stopping.append(True))
    before = dict(watcher.results)
    while log.now_s < end_s and not stopping:
        time.sleep(SAMPLE_S)
        if session.exit_code is not None:
            log.problem(f"the session ended with exit code {session.exit_code}")
            return
        now = dict(watcher.results)
        stats = dict(watcher.stats)
        log.write(
            "sample",
            processes=look_at(session.process),
            results_hz={n: round((now[n] - before.get(n, 0)) / SAMPLE_S, 2) for n in now},
            age_ms={n: s.age_ms for n, s in stats.items()},
            states={n: s.state for n, s in stats.items()},
            lost={n: sum(s.ledger.lost.values()) for n, s in stats.items()},
            counts=dict(faults.counts),
            watcher_gaps=watcher.subscriber.gaps.total(),
            metrics_bytes=len(session.metrics()),
        )
        before = now


def what_is_left(out: Path, watcher: Watcher, faults: Faults, exit_code: int) -> dict[str, Any]:
    summary = json.loads((out / "summary.json").read_text())
    return {
        "exit_code": exit_code,
        "summary": summary,
        "results": dict(watcher.results),
        "messages": dict(watcher.messages),
        "watcher_gaps": {f"{e} {topic}": n for (e, topic), n in watcher.subscriber.gaps.items()},
        "new_workers_seen": watcher.subscriber.num_restarts,
        "out_of_order": watcher.out_of_order,
        "readers": {
            role: json.loads((out / f"{role}.json").read_text()) for role in ("lossless", "stalled")
        },
        "recorded": recorded(Path(summary["recording"]["path"])),
        "counts": dict(faults.counts),
        "cores": len(os.sched_getaffinity(0)),
    }


def recorded(path: Path) -> dict[str, Any]:
    """What is left of the recording after pruning, read to its end."""
    recording = Recording.open(path)
    times_ns = [message.publish_time_ns for message in recording.messages()]
    return {
        "messages": len(times_ns),
        "segments": len(recording.paths),
        "seconds": round((max(times_ns) - min(times_ns)) / 1e9, 1),
        "keep_s": KEEP_S + 2 * SEGMENT_S,  # a file goes when its end is too old
        "damage": recording.damage,
    }


# ---------------------------------------------------------------- the session


class Session:
    """`streamvis run` in a process of its own."""

    def __init__(self, pipeline: Path, out: Path, control: str) -> None:
        self.control = control
        self._printed = out / "session.log"
        argv = ["run", str(pipeline), "--summary", str(out / "summary.json")]
        with self._printed.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streamvis.cli.main", *argv],
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.process = psutil.Process(self._process.pid)
        self.address = self._wait_for(r"publishing on ([^\s,]+)")

    def wait_until_running(self) -> None:
        self._http = self._wait_for(r"running, .*answering on (http://\S+)")

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def metrics(self) -> bytes:
        with urllib.request.urlopen(f"{self._http}/metrics", timeout=START_S) as answer:
            return bytes(answer.read())

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(STOP_S)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _wait_for(self, pattern: str) -> str:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            match = re.search(pattern, self._printed.read_text())
            if match:
                return match[1]
            time.sleep(0.1)
        raise SystemExit(f"the session never said {pattern}:\n{self._printed.read_text()}")


@contextmanager
def session_of(cameras: dict[str, RtspCamera], out: Path) -> Iterator[Session]:
    with tempfile.TemporaryDirectory(prefix="soak-", dir="/tmp") as folder:
        control = f"ipc://{folder}/control"
        path = out / "pipeline.yaml"
        path.write_text(yaml.safe_dump(pipeline(cameras, out, control)))
        session = Session(path, out, control)
        try:
            yield session
        finally:
            session.kill()


def pipeline(cameras: dict[str, RtspCamera], out: Path, control: str) -> dict[str, Any]:
    live = dict.fromkeys((*CONTROLS, *VICTIMS), LIVE) | {RESTLESS: QUICK}
    record = {"dir": str(out.resolve() / "recordings"), "keep": KEEP_S, "segment": SEGMENT_S}
    return {
        "version": 1,
        "name": "soak",
        "runtime": {"kind": "ray", "spares": 1, "run_until": "stopped"},
        "sources": {n: {"uri": cameras[n].url, "live": keys} for n, keys in live.items()},
        "encoder": {"input_size": [320, 192], "threads": 1},
        "tiling": {"policy": "threshold"},
        "control": {"socket": control, "http": "127.0.0.1:0"},
        "outputs": [
            {
                "publish": {
                    "address": "pub+bind:tcp://127.0.0.1:0",
                    "wait_subscribers": 1,
                    "store": STORE,
                }
            },
            {"record": {**record, "keep": f"{KEEP_S}s", "segment": f"{SEGMENT_S}s"}},
        ],
    }


@contextmanager
def _reader(role: str, address: str, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    argv: Sequence[str] = ["--role", role, "--address", address, "--out", str(out / f"{role}.json")]
    process = subprocess.Popen([sys.executable, __file__, *argv])
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        if process.poll() is None:
            process.kill()
        process.wait()


if __name__ == "__main__":
    main()
