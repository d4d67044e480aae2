"""The table says only what tests have shown."""

from __future__ import annotations

import sys

import matrix
import pytest

pytest_plugins = ["pytester"]

TESTS = """
import pytest
from matrix import contract, smoke

@contract("worker", "ce", long="f")
def test_passes(): pass

@contract("worker", "e")
def test_fails(): assert False

@contract("disk", "d")
def test_is_skipped(): pytest.skip("not here")

@smoke("replay")
def test_runs(note): note("took", 1.5, "s")
"""


@pytest.fixture
def lines(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """The table of a run with these options, by row, and the whole run."""
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))

    def run(*options: str):
        result = pytester.runpytest_subprocess("-p", "matrix", "--matrix", *options)
        rows = (line.split(" | ") for line in result.outlines if line.startswith("| "))
        return {cells[0].removeprefix("| "): cells[1:] for cells in rows}, result

    return run


def test_only_what_passed_is_a_kept_promise(lines, pytester):
    pytester.makepyfile(TESTS)
    rows, result = lines()
    assert rows[matrix.ROWS["worker"]][:2] == ["contract: 1 failed, 1 passed", "c"]
    assert rows[matrix.ROWS["disk"]][:2] == ["contract: 1 skipped", ""]
    assert rows[matrix.ROWS["replay"]][:3] == ["smoke: 1 passed", "", "took 1.5 s"]
    result.stdout.fnmatch_lines([f"no test of the row '{matrix.ROWS['disk']}' passed"])


def test_what_is_asserted_at_full_length_is_claimed_there_only(lines, pytester):
    pytester.makepyfile(TESTS)
    assert lines("-k", "passes", "--long")[0][matrix.ROWS["worker"]][1] == "c e f"


@pytest.mark.parametrize("disk", ["passes", "is skipped"])
def test_a_row_without_a_test_that_passed_fails_the_run(lines, pytester, disk):
    others = "\n".join(f'@contract("{row}")' for row in matrix.ROWS if row != "disk")
    disk_test = "pass" if disk == "passes" else "pytest.skip()"
    pytester.makepyfile(
        f"import pytest\nfrom matrix import contract\n\n"
        f'{others}\ndef test_others(): pass\n\n@contract("disk")\ndef test_disk(): {disk_test}\n'
    )
    expected = pytest.ExitCode.OK if disk == "passes" else pytest.ExitCode.TESTS_FAILED
    assert lines()[1].ret == expected
