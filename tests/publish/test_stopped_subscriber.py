"""benchmarks/subscribers.py: SIGSTOP for one of several subscribers; `make chaos` takes fifty."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from conftest import REPO
from matrix import contract


@contract("subscribers", "a1f", long="a2")
def test_the_others_miss_nothing_and_the_publisher_does_not_grow(
    times, note, pytestconfig: pytest.Config
) -> None:
    """Promise (a) takes long runs in turns, without and with the stopped one."""
    is_long = pytestconfig.getoption("long")
    options = ["--subscribers", times(6, 50), "--seconds", times(4, 15), "--rounds", times(1, 3)]
    if not is_long:
        options += ["--case", "one_stopped"]
    done = subprocess.run(
        [sys.executable, str(REPO / "benchmarks/subscribers.py"), *map(str, options)],
        capture_output=True,
        text=True,
        timeout=150 if not is_long else 900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    cases = json.loads(done.stdout.splitlines()[-1])
    found = cases["one_stopped"]
    assert found["gaps_of_stopped"] > 0, "the stopped one lost nothing: the test shows nothing"
    assert found["overflows"] > 0
    assert found["gaps_of_others"] == 0
    assert found["rss_growth_mb"] < 1  # in 2 s and more; in 2 s 1.8 MB were for the stopped one
    if is_long:
        before_ms = cases["all_read"]["p99_ms"]
        assert found["p99_ms"] <= max(1.1 * before_ms, before_ms + 5)
        note("others' p99 with all reading", before_ms, "ms")
        note("with one stopped", found["p99_ms"], "ms")
