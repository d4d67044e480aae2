"""`streamvis run`: a pipeline file, run to its end or until Ctrl-C."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streamvis.cli.options import (
    Overrides,
    PipelinePath,
    SummaryPath,
    WaitSubscribers,
    print_error,
)
from streamvis.cli.stop import stop_signals
from streamvis.config.load import load_config
from streamvis.errors import OutputError, RuntimeStartError
from streamvis.record.recorder import RecordSummary
from streamvis.runtime.ledger import CameraStatus
from streamvis.runtime.session import RunSummary, Session
from streamvis.serve.server import serving
from streamvis.topology import PipelineConfig


def run(
    pipeline: PipelinePath,
    clock: Annotated[
        str | None, typer.Option(help="live: paced, newest wins. replay: lossless.")
    ] = None,
    runtime: Annotated[str | None, typer.Option(help="ray, or local: one process.")] = None,
    overrides: Overrides = None,
    record: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Record into a new folder there, as MCAP files."),
    ] = None,
    summary: SummaryPath = None,
    wait_subscribers: WaitSubscribers = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Publish where other hosts can listen, unencrypted.")
    ] = False,
) -> None:
    """Run a pipeline: cameras in, results out over ZeroMQ.

    Ctrl-C ends it cleanly, a second one at once. `streamvis --help` lists the exit codes.
    """

    def load() -> PipelineConfig:
        config = load_config(
            pipeline,
            PipelineConfig,
            list(_as_overrides(clock, runtime, overrides)),
            context={"insecure": insecure},
        )
        return config.recording_to(record) if record else config

    run_to_end(load(), summary, wait_subscribers, load)


def run_to_end(
    config: PipelineConfig,
    summary: Path | None = None,
    wait_subscribers: int | None = None,
    load: Callable[[], PipelineConfig] | None = None,
) -> NoReturn:
    """Run it, show how it goes, tell how it went, and exit with its code. `load` reads the
    pipeline file again, for `streamvis reload`."""
    if summary:
        _check_writable(summary)
    session = Session(config, wait_subscribers)
    with (
        stop_signals() as stop,
        serving(session, load) as addresses,
        _Display(session, config.name, addresses) as display,
    ):
        result = session.run(display.show, stop.is_requested)
    _report(result, was_stopped=stop.is_requested())
    if summary:
        _write_summary(summary, result)
    raise typer.Exit(result.exit_code)


def _as_overrides(clock: str | None, runtime: str | None, own: list[str] | None) -> Iterator[str]:
    if clock:
        yield f"clock={clock}"
    if runtime:
        yield f"runtime.kind={runtime}"
    yield from own or ()


class _Display:
    """The live table on a terminal; a line per phase elsewhere."""

    def __init__(self, session: Session, name: str, control: Sequence[str]) -> None:
        self._session = session
        self._http = [address for address in control if address.startswith("http")]
        self._name = name
        self._console = Console()
        self._phase = ""
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> _Display:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def show(self, phase: str, address: str) -> None:
        if self._console.is_terminal:
            hint = "Ctrl-C again quits" if phase == "stopping" else "Ctrl-C stops"
            title = f"{self._name}  {phase}  {address}   ({hint})"
            rows = self._session.ledger.status(recent=True)
            self._live.update(Group(Text(title, style="bold"), status_table(rows)))
        elif phase != self._phase:
            also = f", answering on {self._http[0]}" if self._http else ""
            print(f"{self._name}: {phase}, publishing on {address}{also}", flush=True)
        self._phase = phase


def status_table(rows: list[CameraStatus], is_final: bool = False) -> Table:
    """One line a camera; in the end the newest result's age means nothing any more."""
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("camera")
    table.add_column("state")
    for heading in ("FPS", "p50 ms", "p99 ms", "objects", "published", "lost"):
        table.add_column(heading, justify="right")
    if not is_final:
        table.add_column("age ms", justify="right")
    for row in rows:
        lost = sum(row.ledger.lost.values())
        table.add_row(
            row.camera,
            Text(row.state, style="red" if row.is_failed else "green"),
            f"{row.fps:.1f}",
            _ms(row.latency_p50_ms),
            _ms(row.latency_p99_ms),
            str(row.num_detections),
            str(row.ledger.published),
            Text(str(lost), style="yellow" if lost else ""),
            *(() if is_final else (_ms(row.age_ms),)),
        )
    return table


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _report(result: RunSummary, was_stopped: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(status_table(result.cameras, is_final=True))
    console.print("stopped" if was_stopped else _ending(result))
    if result.film:
        console.print(f"film:  {_short(result.film)}")
        console.print(f"still: {_short(result.film.with_suffix('.png'))}")
    if result.recording:
        console.print(describe_recording(result.recording), markup=False)
    for problem in result.problems:
        print_error(problem)


def describe_recording(recording: RecordSummary) -> str:
    """One line, and a second one if anything was lost."""
    size = f"{recording.messages} messages, {recording.num_bytes / 1e6:.1f} MB"
    line = f"recording: {_short(recording.path)} ({size})"
    lost = [f"{count} {_LOSSES[key]}" for key, count in recording.lost.items() if count]
    return f"{line}\nnot recorded: {', '.join(lost)}" if lost else line


_LOSSES = {
    "gap": "that never reached the recorder",
    "queue": "because the disk was too slow",
    "disk": "because the disk failed",
}


def _ending(result: RunSummary) -> str:
    if any(isinstance(problem, RuntimeStartError) for problem in result.problems):
        return "the run broke off"
    if all(status.is_failed for status in result.cameras):
        return "no camera could be read to its end"
    return "all cameras ended"


def _short(path: Path) -> Path:
    """As seen from the working directory, where that is shorter."""
    resolved, here = path.resolve(), Path.cwd()
    return resolved.relative_to(here) if resolved.is_relative_to(here) else resolved


def _check_writable(path: Path) -> None:
    is_new = not path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a"):
            pass
        if is_new:
            path.unlink()
    except OSError as error:
        raise OutputError(
            f"{path}: cannot write the summary there ({error.strerror}); give another --summary"
        ) from None


def _write_summary(path: Path, result: RunSummary) -> None:
    try:
        path.write_text(json.dumps(result.to_dict(), indent=2) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot write the summary ({error.strerror})") from None
    print(f"summary: {_short(path)}")
