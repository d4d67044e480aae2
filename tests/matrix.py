"""The fault matrix: which test makes which fault, what it proves, and what it measured.

A test says what it is for with `@contract("row", "a1c")`, where it asserts these promises, or with
`@smoke("row")`, where it only shows that nothing breaks. Promise (a) has two halves, because a p99
is only worth asserting where nothing else runs: `a1` is that no other camera's drop count changes,
`a2` that no other's p99 does. What is asserted at full length only is said with `long="f"`.

`make chaos` runs them all at their full length and prints the table; `make test` runs the same
tests, short. A promise stands in the table if a test that asserts it passed, and every test that
asserts it and ran did. A row of which no test passed fails the run.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from document import table, write_block

Note = Callable[[str, float, str], None]

ROWS = {
    "rtsp_server": "RTSP server down and up; refuses; silent; half-open",
    "none_at_start": "all cameras down at the start; bad URL; bad password",
    "bitstream": "damaged bitstream: bit flips, cut NAL units, no SPS/PPS",
    "new_stream": "another size or codec in mid-stream",
    "timestamps": "declared fps is not the real one; PTS reset, wrap, backwards",
    "host_clock": "the host's clock jumps by an hour",
    "subscribers": "subscribers stopped, slow, joining and leaving; publisher starts again",
    "hostile_bytes": "hostile bytes: oversize, nested, mutated, from other versions",
    "decode_process": "a decode process is killed or hangs",
    "worker": "a worker is killed, hangs, or runs out of memory",
    "node": "a node of the cluster is lost",
    "disk": "disk full, slow or read-only while recording",
    "kill_recorder": "kill -9 in mid-recording",
    "add_remove": "cameras added and removed under load",
    "isolation": "one camera of four fails in every way",
    "overload": "twice the streams that can be served",
    "network": "delay, jitter and loss between hosts",
    "replay": "one recorded drive twice, at full speed",
}
_PROMISES = re.compile(r"(a1|a2|[b-g])*")
LEGEND = (
    "a1: no other camera drops more; a2: no other's p99 rises; b: first result 2 s after the key "
    "frame; c: the books are exact; d: nothing old without an error; e: a killed process costs one "
    "batch, 15 s, with a spare 5 s; f: memory is flat; g: no input runs code or ends the process."
)


def contract(row: str, promises: str = "", long: str = "") -> pytest.MarkDecorator:
    """Asserts what must hold in this row, and these of the promises; those of `long` only at full
    length."""
    return _mark(row, promises, long, "contract")


def smoke(row: str) -> pytest.MarkDecorator:
    """Only runs: nothing breaks."""
    return _mark(row, "", "", "smoke")


def _mark(row: str, promises: str, long: str, kind: str) -> pytest.MarkDecorator:
    assert row in ROWS, row
    assert _PROMISES.fullmatch(promises + long), (promises, long)
    return pytest.mark.matrix(row, kind, promises, long)


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Note:
    """`note("recovery", 0.87, "s")`: a figure for the table, which the test measured."""

    def write(name: str, value: float, unit: str) -> None:
        record_property("figure", f"{name} {value:.3g} {unit}".rstrip())

    return write


@pytest.fixture
def times(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """`times(5, 100)`: how often, in `make test` and in `make chaos`."""
    is_long = request.config.getoption("long")
    return lambda short, long: long if is_long else short


@dataclass
class Row:
    """What became of one row's tests."""

    outcomes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    kept: set[str] = field(default_factory=set)  # promises, by a test that passed
    broken: set[str] = field(default_factory=set)
    figures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def has_passed(self) -> bool:
        return any("passed" in outcomes for outcomes in self.outcomes.values())

    def note(self, kind: str, promises: set[str], report: pytest.TestReport) -> None:
        self.outcomes[kind].append(report.outcome)
        if report.outcome == "passed":
            self.kept |= promises
        elif report.outcome == "failed":
            self.broken |= promises
        self.figures += [str(text) for key, text in report.user_properties if key == "figure"]

    def as_columns(self) -> dict[str, str]:
        return {
            "tests": "; ".join(f"{k}: {_count(o)}" for k, o in sorted(self.outcomes.items())),
            "promises": " ".join(sorted(self.kept - self.broken)),
            "figures": ", ".join(self.figures),
            "s": f"{self.seconds:.0f}",
        }


def _count(outcomes: list[str]) -> str:
    return ", ".join(f"{outcomes.count(one)} {one}" for one in sorted(set(outcomes)))


class Matrix:
    """Listens to the tests of a run and writes the table at its end."""

    def __init__(self, into: str | None, is_long: bool) -> None:
        self._into = into
        self._is_long = is_long
        self._rows = {name: Row() for name in ROWS}
        self._marks: dict[str, list[tuple[str, str, set[str]]]] = {}  # row, kind, promises

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            marks = [mark.args for mark in item.iter_markers("matrix")]
            if marks:
                self._marks[item.nodeid] = [self._read(*mark) for mark in marks]

    def _read(self, row: str, kind: str, promises: str, long: str) -> tuple[str, str, set[str]]:
        asserted = promises + long if self._is_long else promises
        return row, kind, set(re.findall(r"[a-g]\d?", asserted))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        is_outcome = report.when == "call" or report.outcome != "passed"
        for name, kind, promises in self._marks.get(report.nodeid, []):
            self._rows[name].seconds += report.duration
            if is_outcome:
                self._rows[name].note(kind, promises, report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._empty and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        rows = table({ROWS[name]: row.as_columns() for name, row in self._rows.items()})
        text = f"{rows}\n{LEGEND}\n"
        terminalreporter.section("fault matrix")
        terminalreporter.write(text)
        for name in self._empty:
            terminalreporter.write_line(f"no test of the row '{ROWS[name]}' passed", red=True)
        if self._into:
            write_block(Path(self._into), "matrix", text)

    @property
    def _empty(self) -> list[str]:
        return [name for name, row in self._rows.items() if not row.has_passed]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fault matrix")
    group.addoption("--long", action="store_true", help="the matrix's tests at full length")
    group.addoption("--matrix", action="store_true", help="print the table of the fault matrix")
    group.addoption("--matrix-into", metavar="FILE", help="and write it into this document")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "matrix(row, kind, promises, long): of the fault matrix")
    if config.getoption("matrix"):
        if config.getoption("numprocesses", None):
            raise pytest.UsageError("--matrix counts in one process: leave out -n")
        matrix = Matrix(config.getoption("matrix_into"), config.getoption("long"))
        config.pluginmanager.register(matrix, "matrix-table")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test of full length may take its time."""
    if config.getoption("long"):
        for item in items:
            if item.get_closest_marker("matrix"):
                item.add_marker(pytest.mark.timeout(1800))
