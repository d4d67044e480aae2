"""The short form of benchmarks/subscribers.py: SIGSTOP for one of several subscribers."""

from __future__ import annotations

import json
import subprocess
import sys

from conftest import REPO


def test_the_others_miss_nothing_and_the_publisher_does_not_grow() -> None:
    options = ["--subscribers", "6", "--seconds", "4", "--rounds", "1", "--case", "one_stopped"]
    done = subprocess.run(
        [sys.executable, str(REPO / "benchmarks/subscribers.py"), *options],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])["one_stopped"]
    assert found["gaps_of_stopped"] > 0, "the stopped one lost nothing: the test shows nothing"
    assert found["overflows"] > 0
    assert found["gaps_of_others"] == 0
    assert found["rss_growth_mb"] < 1  # in 2 s, in which 1.8 MB were meant for the stopped one
