"""Subscribers of a whole session that are stopped, join and leave: what the others see of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import numpy as np
import psutil
from conftest import REPO
from matrix import contract
from running import WAIT_S, Running, check_books, running
from supervised import config

from streamvis.client import Subscriber

READER = """
import json
import sys

from streamvis.client import Subscriber

with Subscriber(sys.argv[1], kinds=("det",), cameras=["a"]) as results:
    numbers = []
    for message in results:
        numbers.append(message.seq)
        if len(numbers) == 1:
            print("joined", flush=True)
    print(json.dumps({"numbers": numbers, "gaps": results.gaps.total()}))
"""


@contextmanager
def reader(address: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", READER, address],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "joined\n"
        yield process
    finally:
        process.kill()
        process.wait()


def join_and_leave(run: Running, address: str) -> float:
    """Seconds until a late joiner has the newest result of both cameras."""
    known = {camera: run.results(camera)[-1].seq for camera in "ab"}
    began_s = monotonic()
    state: dict[str, int] = {}
    with Subscriber(address, ("det",), snapshot=True, timeout_ms=WAIT_S * 1000) as late:
        while len(state) < 2:
            message = next(late)
            state.setdefault(message.camera, message.seq)
        assert not late.gaps
    assert all(state[camera] >= known[camera] for camera in "ab"), (state, known)
    return monotonic() - began_s


@contract("subscribers", "c")
def test_one_is_stopped_and_others_come_and_go_while_a_session_runs(
    tmp_path: Path, times, note
) -> None:
    made = config(tmp_path, "ab", kind="local")
    with running(made) as run:
        run.more_results("a")
        run.more_results("b")
        address = run.session.address
        with reader(address) as process:
            psutil.Process(process.pid).suspend()
            joined_s = [join_and_leave(run, address) for _ in range(times(5, 50))]
            psutil.Process(process.pid).resume()
            run.more_results("a")
            run.more_results("b")
            summary = run.stop()
            told = json.loads(process.communicate(timeout=WAIT_S)[0])
    for camera in "ab":
        check_books(run, summary, camera)
        numbers = [message.seq for message in run.results(camera)]
        assert numbers == list(range(numbers[-1] + 1)), "the steady one missed something"
    numbers = told["numbers"]
    assert numbers == sorted(set(numbers))
    assert len(numbers) + told["gaps"] == run.results("a")[-1].seq + 1 - numbers[0]
    note("late joiners", len(joined_s), "")
    note("state there after, p99", float(np.percentile(joined_s, 99)), "s")
