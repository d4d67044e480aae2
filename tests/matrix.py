"""The fault matrix: which test makes which fault, what it proves, and what it measured.

A test says what it is for with `@contract("row", "ac")`, where it asserts these promises, or with
`@smoke("row")`, where it only shows that nothing breaks. `make chaos` runs them all at their full
length and prints the table; `make test` runs the same tests, short.
"""

from __future__ import annotations

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
PROMISES = "abcdefg"


def contract(row: str, promises: str = "") -> pytest.MarkDecorator:
    """Asserts what must hold in this row, and these of the promises (a) to (g)."""
    return _mark(row, promises, "contract")


def smoke(row: str) -> pytest.MarkDecorator:
    """Only runs: nothing breaks."""
    return _mark(row, "", "smoke")


def _mark(row: str, promises: str, kind: str) -> pytest.MarkDecorator:
    assert row in ROWS, row
    assert set(promises) <= set(PROMISES), promises
    return pytest.mark.matrix(row, kind, promises)


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
    promises: set[str] = field(default_factory=set)
    figures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_columns(self) -> dict[str, str]:
        return {
            "tests": "; ".join(f"{k}: {_count(o)}" for k, o in sorted(self.outcomes.items())),
            "promises": " ".join(sorted(self.promises)),
            "figures": ", ".join(self.figures),
            "s": f"{self.seconds:.0f}",
        }


def _count(outcomes: list[str]) -> str:
    return ", ".join(f"{outcomes.count(one)} {one}" for one in sorted(set(outcomes)))


class Matrix:
    """Listens to the tests of a run and writes the table at its end."""

    def __init__(self, into: str | None) -> None:
        self._into = into
        self._rows = {name: Row() for name in ROWS}
        self._marks: dict[str, list[tuple[str, str, str]]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            marks = [mark.args for mark in item.iter_markers("matrix")]
            if marks:
                self._marks[item.nodeid] = marks

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        is_outcome = report.when == "call" or report.outcome != "passed"
        for name, kind, promises in self._marks.get(report.nodeid, []):
            row = self._rows[name]
            row.seconds += report.duration
            if is_outcome:
                row.outcomes[kind].append(report.outcome)
                row.promises |= set(promises)
                row.figures += [
                    str(text) for key, text in report.user_properties if key == "figure"
                ]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._empty and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        text = table({ROWS[name]: row.as_columns() for name, row in self._rows.items()})
        terminalreporter.section("fault matrix")
        terminalreporter.write(text)
        for name in self._empty:
            terminalreporter.write_line(f"no test of the row '{ROWS[name]}' ran", red=True)
        if self._into:
            write_block(Path(self._into), "matrix", text)

    @property
    def _empty(self) -> list[str]:
        return [name for name, row in self._rows.items() if not row.outcomes]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fault matrix")
    group.addoption("--long", action="store_true", help="the matrix's tests at full length")
    group.addoption("--matrix", action="store_true", help="print the table of the fault matrix")
    group.addoption("--matrix-into", metavar="FILE", help="and write it into this document")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "matrix(row, kind, promises): a test of the fault matrix")
    if config.getoption("matrix"):
        config.pluginmanager.register(Matrix(config.getoption("matrix_into")), "matrix-table")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test of full length may take its time."""
    if config.getoption("long"):
        for item in items:
            if item.get_closest_marker("matrix"):
                item.add_marker(pytest.mark.timeout(1800))
