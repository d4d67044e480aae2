"""`streamvis eval`: how good and how costly, over every labelled frame of a drive."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from streamvis.cli.main import INTERRUPTED
from streamvis.encode.config import NONE
from streamvis.errors import ConfigError
from streamvis.eval.config import EvalConfig, read_configs
from streamvis.render.output_file import PendingFile, write_file
from streamvis.runtime.quiet_threads import wait_quietly

if TYPE_CHECKING:
    from streamvis.eval.result import ConfigResult, DetectionScore, EvalResult

    Columns = Mapping[str, Callable[[ConfigResult], str]]

_LINE_EVERY_S = 10.0  # where there is no terminal
PROBE_NAMES = ("fade", "flicker", "exposure", "noise", "night", "fisheye", "xray")
_PIPE_WIDTH = 160
_PACKAGES = ("pycocotools", "matplotlib", "jinja2", "onnx")


def eval_drive(
    drive: Annotated[Path, typer.Argument(help="Drive folder with rig.json and labels.json.")],
    config: Annotated[
        list[Path] | None,
        typer.Option(help="configs/eval/*.yaml or a pipeline file; the first is the baseline."),
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all figures there.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page with plots there.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where runs are kept; out/eval/DRIVE if not given.")
    ] = None,
    cameras: Annotated[str | None, typer.Option(help="Names, with commas.")] = None,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="Of each camera, the first ones.")
    ] = None,
    probe: Annotated[
        list[str] | None, typer.Option(help=f"Disturb the video too: {', '.join(PROBE_NAMES)}.")
    ] = None,
    speed_factor: Annotated[
        float, typer.Option(help="Streaming AP of a machine so many times as fast.")
    ] = 1.0,
    fresh: Annotated[bool, typer.Option(help="Run again what is kept from before.")] = False,
) -> None:
    """Accuracy with its intervals, streaming accuracy, tracking and cost, side by side.

    An evaluation that was stopped or killed goes on where it was: run the same command again.
    """
    _check_probes(probe or [])
    if not (math.isfinite(speed_factor) and speed_factor > 0):
        raise typer.BadParameter("--speed-factor must be above 0, and finite")
    configs = read_configs(config or [])
    check_installed(configs)
    wait_quietly()
    from streamvis.eval.evaluate import Evaluation, Options  # torch takes seconds to import
    from streamvis.eval.report.page import write_report
    from streamvis.eval.shards import check_folder

    out = out or Path("out/eval") / drive.resolve().name
    for path in filter(None, (json_path, report)):
        PendingFile(path).discard()  # a place that cannot be written to is found now
    check_folder(out)
    names = tuple(cameras.split(",")) if cameras else ()
    options = Options(out, names, max_frames, tuple(probe or ()), speed_factor, fresh)
    evaluation = Evaluation(drive, configs, options)
    for name, num_frames in evaluation.resumed.items():
        print(f"{name}: {num_frames} frames were there already", flush=True)
    try:
        with Show() as show:
            evaluation.run(show.frames)
            result = evaluation.score(show.stage)
        _print(result)
        if json_path:
            write_file(json_path, (json.dumps(result.to_dict(), indent=2) + "\n").encode())
            print(f"json:   {json_path}")
        if report:
            write_report(result, evaluation.pictures(), report, evaluation.tile_use())
            print(f"report: {report}")
    except KeyboardInterrupt:
        print("stopped; run the same command to go on")
        raise typer.Exit(INTERRUPTED) from None


def check_installed(configs: Sequence[EvalConfig]) -> None:
    needed = [*_PACKAGES, *(["onnxruntime"] if any(c.detector.onnx for c in configs) else [])]
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"streamvis eval needs {', '.join(missing)}; install it: "
            "`.venv/bin/pip install 'streamvis[eval]'`"
        )


def _check_probes(names: list[str]) -> None:
    for name in names:
        if name not in PROBE_NAMES:
            raise typer.BadParameter(f"no probe {name!r}; there are {', '.join(PROBE_NAMES)}")


class Show:
    """A bar with the time left on a terminal; elsewhere a line now and then."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("frames")
        self._began_s: float | None = None
        self._began_frames = 0
        self._line_s = 0.0

    def __enter__(self) -> Show:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()

    def frames(self, done: int, total: int | None) -> None:
        now_s = time.monotonic()
        if self._began_s is None:
            self._began_s, self._began_frames, self._line_s = now_s, done, now_s
        self._bar.update(self._task, completed=done, total=total)
        if not self._console.is_terminal and now_s - self._line_s >= _LINE_EVERY_S:
            self._line_s = now_s
            print(f"{done} of {total or '?'} frames{self._left(done, total, now_s)}", flush=True)

    def stage(self, what: str) -> None:
        self._bar.update(self._task, description=what)
        now_s = time.monotonic()
        if not self._console.is_terminal and now_s - self._line_s >= _LINE_EVERY_S:
            self._line_s = now_s
            print(what, flush=True)

    def _left(self, done: int, total: int | None, now_s: float) -> str:
        new = done - self._began_frames
        if total is None or not new or self._began_s is None:
            return ""
        return f", {(total - done) * (now_s - self._began_s) / new:.0f} s left"


def _print(result: EvalResult) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:  # rich would fold a pipe's lines at 80
        console = Console(highlight=False, width=_PIPE_WIDTH)
    for table in make_tables(result, console.width):
        console.print(table)
    units = result.settings["bootstrap_units"].get(_main_group(result), "no labelled object")
    print(
        f"{result.num_labelled} labelled of {result.num_frames} frames, "
        f"{result.duration_s:.0f} s of one drive: little evidence. The 95 % intervals say how far "
        f"chance within this drive ({units}) reaches; another street, weather or camera may "
        "differ by more."
    )
    for note in result.notes:
        print(note)


def make_tables(result: EvalResult, width: int) -> list[Table]:
    """One table; two where figures would not fit into one."""
    accuracy, costs = _accuracy(_main_group(result)), _costs()
    table = _table("config", result.configs, {**accuracy, **costs})
    tables = [table]
    if Console(width=1000).measure(table).maximum > width:
        tables = [_table("config", result.configs, columns) for columns in (accuracy, costs)]
    others = [c for c in result.configs[1:] if c.probe is None]
    if others:
        against = f"against {result.configs[0].name}"
        tables.append(_table(against, others, _differences(_main_group(result))))
    return tables


def _table(heading: str, configs: Sequence[ConfigResult], columns: Columns) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column(heading, overflow="fold")
    for name in columns:
        table.add_column(name, justify="right", overflow="fold")
    for config in configs:
        table.add_row(config.name, *(show(config) for show in columns.values()))
    return table


def _accuracy(group: str) -> Columns:
    return {
        f"{group} AP50": lambda c: _with_interval(c, group),
        "person AP50": lambda c: _score(_ap50(c.detection, "person")),
        f"{group} sAP50": lambda c: (
            _score(_ap50(c.streaming.detection, group)) if c.streaming else "-"
        ),
        "HOTA": lambda c: _score(c.tracking[group].HOTA if group in c.tracking else None),
        "cosine": lambda c: _score(c.embedding.median if c.embedding else None, 4),
    }


def _costs() -> Columns:
    return {
        "tiles %": lambda c: _score(_encoded_percent(c), 0),
        "GFLOP": lambda c: _score(c.cost.gflops_per_frame, 1),
        "encode ms": lambda c: _score(float(np.median(c.cost.encode_ms)), 1),
        "detect ms": lambda c: _score(float(np.median(c.cost.detect_ms)), 1),
        "p99 ms": lambda c: _score(float(np.percentile(c.cost.latency_ms, 99)), 1),
        "MB": lambda c: _score(c.cost.memory_mb, 0),
    }


def _differences(group: str) -> Columns:
    return {
        f"{group} AP50": lambda c: _difference(c, group, "AP50"),
        f"{group} AP": lambda c: _difference(c, group, "AP"),
        "cosine": lambda c: _score(c.against.cosine_median if c.against else None, 4),
        "p1": lambda c: _score(c.against.cosine_p1 if c.against else None, 4),
        "time": lambda c: _times(c.against.speedup if c.against else None),
        "operations": lambda c: _times(c.against.flop_speedup if c.against else None),
        "arrives": lambda c: _percent(c.against.arrives if c.against else None),
    }


def _difference(config: ConfigResult, group: str, key: str) -> str:
    scores = config.detection.get(group)
    found = scores.differences.get(key) if scores else None
    if found is None:
        return "-"
    it = found.interval
    return f"{found.value:+.4f}" + (f" [{it.low:+.4f}, {it.high:+.4f}]" if it else "")


def _times(ratio: float | None) -> str:
    """How many times less than the first needs."""
    return "-" if ratio is None else f"/ {ratio:.2f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _encoded_percent(config: ConfigResult) -> float | None:
    if config.config["encoder"]["name"] == NONE:
        return None
    return 100 * config.cost.tiles_encoded / config.cost.tiles_total


def _main_group(result: EvalResult) -> str:
    """What the drive is mostly about."""
    groups = result.configs[0].detection
    return "vehicle" if "vehicle" in groups or not groups else next(iter(groups))


def _with_interval(config: ConfigResult, group: str) -> str:
    text = _score(_ap50(config.detection, group))
    interval = config.detection[group].intervals.get("AP50") if group in config.detection else None
    return f"{text} [{interval.low:.2f}, {interval.high:.2f}]" if interval else text


def _ap50(detection: Mapping[str, DetectionScore], group: str) -> float | None:
    return detection[group].AP50 if group in detection else None


def _score(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
