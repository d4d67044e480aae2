"""SIGKILL for a publisher, and another one in its place: what its subscribers see."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import REPO
from endpoint import WAIT_S
from matrix import contract

from streamvis.client import Lagging, Subscriber

PUBLISHER = """
import sys
from pathlib import Path
from endpoint import endpoint
from wire_samples import make_result

folder = Path(sys.argv[1])
with endpoint(folder, address=f"ipc://{folder}/public") as e, e.publisher() as publisher:
    for line in sys.stdin:
        publisher.send(make_result(int(line)))
"""


class Pipeline:
    """A process that publishes a frame for each number it is told."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, str(folder)],
            stdin=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": f"{REPO}:{REPO}/tests", "OMP_NUM_THREADS": "1"},
        )

    def publish(self, *indices: int) -> None:
        assert self._process.stdin is not None
        for index in indices:
            self._process.stdin.write(f"{index}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(WAIT_S)
        assert self._process.stdin is not None
        self._process.stdin.close()


@contextmanager
def pipeline(folder: Path) -> Iterator[Pipeline]:
    running = Pipeline(folder)
    try:
        yield running
    finally:
        running.kill()


@contract("subscribers")
def test_a_late_joiner_is_given_the_new_pipelines_state(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/public"
    with Subscriber(address, snapshot=True, timeout_ms=WAIT_S * 1000) as sub:
        with pipeline(tmp_path) as first:
            first.publish(0)
            before = next(sub)
            assert before.seq == 0
        with pipeline(tmp_path) as second:
            second.publish(0, 1, 2)
            after = [next(sub)]
            while after[-1].seq < 2:
                after.append(next(sub))
        assert {message.epoch for message in after}.isdisjoint({before.epoch})
        assert sub.num_restarts == 1
        seen, missed = len(after), sum(sub.gaps.values())
        assert seen + missed == 3


@contract("subscribers")
def test_a_lossless_reader_is_told_and_loses_nothing_of_the_new_one(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/public"
    with Subscriber(address, lossless=True, timeout_ms=WAIT_S * 1000) as sub:
        with pipeline(tmp_path) as first:
            assert first_message(sub, first) >= 0
        sub._timeout_ms = WAIT_S * 1000
        with pipeline(tmp_path) as second:
            second.publish(*range(5))
            with pytest.raises(Lagging, match="was started again"):
                read_on(sub)  # what the first one sent and was not read yet
            assert [next(sub).seq for _ in range(5)] == list(range(5))


def read_on(sub: Subscriber) -> None:
    while True:
        next(sub)


def first_message(sub: Subscriber, running: Pipeline) -> int:
    """It begins with what is published after it is known: publish until it has something."""
    sub._timeout_ms = 100
    for index in range(200):
        running.publish(index)
        try:
            return next(sub).seq
        except TimeoutError:
            continue
    pytest.fail("nothing came")
