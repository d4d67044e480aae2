"""`streamvis tune`: which setting of the gate for these cameras?"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from streamvis.cli.eval import Show, check_installed
from streamvis.cli.main import INTERRUPTED
from streamvis.eval.config import EvalConfig, read_configs
from streamvis.render.output_file import write_file
from streamvis.runtime.quiet_threads import wait_quietly
from streamvis.topology import PipelineConfig

if TYPE_CHECKING:
    from streamvis.eval.result import DetectionScore
    from streamvis.eval.tune import Tried, Tuning

    Columns = dict[str, Callable[[Tried], str]]

_PIPE_WIDTH = 140


def tune(
    drive: Annotated[
        Path, typer.Argument(help="Drive folder with rig.json; labels.json is used if it is there.")
    ],
    config: Annotated[
        Path | None,
        typer.Option(help="A pipeline or eval file: its models. The bundled ones if left out."),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=V,V,...",
            help="Values of a key of tiling; every combination is run. If left out: "
            "threshold=12,20,30,45,60 and max_age=30,90.",
        ),
    ] = None,
    max_loss: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            help="AP50 that may be lost. If left out: 0.5 against labels, 1 against the dense run.",
        ),
    ] = None,
    min_cosine: Annotated[
        float, typer.Option(help="Of embeddings to the dense ones, in 99 % of the frames.")
    ] = 0.95,
    out: Annotated[
        Path | None, typer.Option(help="Folder for what it writes; out/tune/DRIVE if not given.")
    ] = None,
    cameras: Annotated[str | None, typer.Option(help="Names, with commas.")] = None,
    max_frames: Annotated[
        int | None, typer.Option(min=2, help="Of each camera, the first ones.")
    ] = None,
) -> None:
    """Sweep the gate's settings over a drive; recommend the cheapest that loses little.

    Writes front.svg, front.png, tune.json and recommended.yaml, which `streamvis run` takes. A
    sweep that was stopped goes on where it was: run the same command again.
    """
    if max_loss is not None and not math.isfinite(max_loss):
        raise typer.BadParameter("--max-loss is a finite number of points")
    if not -1 <= min_cosine <= 1:
        raise typer.BadParameter(f"--min-cosine lies between -1 and 1, got {min_cosine:g}")
    base = read_configs([config] if config else [])[0]
    check_installed([base])
    wait_quietly()
    from streamvis.eval.shards import check_folder  # torch takes seconds to import
    from streamvis.eval.tune import DEFAULT_VARY, Limits, Sweep, list_settings

    out = out or Path("out/tune") / drive.resolve().name
    settings = list_settings(base, vary or DEFAULT_VARY)
    names = tuple(cameras.split(",")) if cameras else ()
    sweep = Sweep(drive, settings, out / "runs", names, max_frames)
    check_folder(out)
    try:
        with Show() as show:
            sweep.run(show.frames)
            tuning = sweep.weigh(Limits(max_loss, min_cosine), show.stage)
    except KeyboardInterrupt:
        print("stopped; run the same command to go on")
        raise typer.Exit(INTERRUPTED) from None
    _print(tuning)
    _write(tuning, base, drive, out)


def _write(tuning: Tuning, base: EvalConfig, drive: Path, out: Path) -> None:
    from streamvis.eval.report.front import draw_front

    svg, png = draw_front(tuning)
    files = {
        "front.svg": svg,
        "front.png": png,
        "tune.json": (json.dumps(tuning.to_dict(), indent=2) + "\n").encode(),
        "recommended.yaml": recommended_pipeline(tuning, base, drive, out).encode(),
    }
    for name, data in files.items():
        write_file(out / name, data)
        print(f"{name.partition('.')[2]}: {out / name}")


def recommended_pipeline(tuning: Tuning, base: EvalConfig, drive: Path, out: Path) -> str:
    """A pipeline file over the drive's cameras with the recommended setting and a film of it."""
    chosen = tuning.recommended
    uri = str(drive.absolute())
    sections = {
        "encoder": base.encoder.model_dump(mode="json", exclude_defaults=True),
        "tiling": chosen.tiling.model_dump(exclude_unset=True),
        "detector": base.detector.model_dump(mode="json", exclude_defaults=True),
        "tracker": base.tracker.model_dump(mode="json", exclude_defaults=True),
    }
    for part, key in (("encoder", "weights"), ("detector", "onnx")):
        if key in sections[part]:
            sections[part][key] = str(Path(sections[part][key]).absolute())
    data = {
        "version": 1,
        "name": base.name,
        "clock": "replay",
        "sources": {camera: {"uri": uri} for camera in tuning.cameras},
        **{name: values for name, values in sections.items() if values},
        "outputs": [{"mosaic": str((out / "recommended.mp4").absolute())}],
    }
    PipelineConfig.model_validate(data)
    comment = (
        f"# Written by `streamvis tune`: {chosen.label}. Of {tuning.num_frames} frames of\n"
        f"# {tuning.drive} it encoded {100 * chosen.encoded:.0f} % of the tiles and lost "
        f"{chosen.loss_points:.2f} points of AP50.\n"
        "# Copy `tiling` into your own pipeline file; this one runs over the drive.\n"
    )
    return comment + yaml.safe_dump(data, sort_keys=False)


def _print(tuning: Tuning) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:  # rich would fold a pipe's lines at 80
        console = Console(highlight=False, width=_PIPE_WIDTH)
    for table in make_tables(tuning, console.width):
        console.print(table)
    measure = "its labels" if tuning.has_labels else "what the dense run found"
    chosen = tuning.recommended
    print(
        f"{tuning.num_frames} frames of {tuning.drive}, against {measure}. AP50 is in "
        f"points; at most {tuning.loss_limit:g} may be lost, and the cosine be "
        f"{tuning.limits.cosine_p1:g} or more."
    )
    if chosen.against is None:
        print("recommended: dense. No setting costs less within these limits.")
    else:
        print(f"recommended: {chosen.label}")


def make_tables(tuning: Tuning, width: int) -> list[Table]:
    """One, or where it does not fit two: cost, and accuracy."""
    parts = [_costs(tuning), _accuracy(tuning)]
    whole = _table(tuning, parts[0] | parts[1])
    if Console(width=1000).measure(whole).maximum <= width:
        return [whole]
    return [_table(tuning, part) for part in parts]


def _table(tuning: Tuning, columns: Columns) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("setting", overflow="fold")
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    front, chosen = tuning.front, tuning.recommended
    for one in sorted(tuning.tried, key=lambda one: -one.gflops):
        note = "recommended" if one is chosen else "front" if one in front else ""
        table.add_row(one.label, *(show(one) for show in columns.values()), note)
    return table


def _costs(tuning: Tuning) -> Columns:
    columns: Columns = {"tiles %": lambda one: f"{100 * one.encoded:.0f}"}
    if any(one.moved for one in tuning.tried):
        columns["moved %"] = lambda one: f"{100 * one.moved:.0f}"
    if any(one.stale for one in tuning.tried):
        columns["stale %"] = lambda one: f"{100 * one.stale:.1f}"
    columns["operations"] = lambda one: _times(one.against.flop_speedup if one.against else 1.0)
    columns["time"] = lambda one: _times(one.against.speedup if one.against else 1.0)
    return columns


def _accuracy(tuning: Tuning) -> Columns:
    dense = tuning.tried[0].scores
    columns: Columns = {"cosine p1": _cosine, "AP50 lost": lambda one: f"{one.loss_points:.2f}"}
    for group in dense:
        columns[f"{group} AP50"] = _score_column(group, dense[group])
    return columns


def _score_column(group: str, dense: DetectionScore) -> Callable[[Tried], str]:
    return lambda one: _score(one.scores[group], dense)


def _cosine(one: Tried) -> str:
    value = one.against.cosine_p1 if one.against else None
    return "-" if value is None else f"{value:.4f}"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"/ {ratio:.2f}"


def _score(own: DetectionScore, dense: DetectionScore) -> str:
    """In points: the dense run's AP50; of the others the difference to it, with its interval."""
    if own is dense:
        return f"{100 * own.AP50:.1f}"
    difference = own.differences.get("AP50")
    interval = difference.interval if difference else None
    bounds = f" [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]" if interval else ""
    return f"{100 * (own.AP50 - dense.AP50):+.2f}{bounds}"
