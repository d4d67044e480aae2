"""`streamvis tune`: which setting of the gate for these cameras?"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
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
            help="Values of a key of tiling; every combination is run. "
            "[default: threshold=12,20,30,45,60 and max_age=30,90]",
        ),
    ] = None,
    max_loss: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            help="AP50 that may be lost. [default: 0.5 against labels, 1 against the dense run]",
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
    console.print(_table(tuning))
    measure = "its labels" if tuning.has_labels else "what the dense run found"
    chosen = tuning.recommended
    print(
        f"{tuning.num_frames} frames of {tuning.drive}, against {measure}. Most allowed: "
        f"{tuning.loss_limit:g} points of AP50, cosine {tuning.limits.cosine_p1:g}."
    )
    if chosen.against is None:
        print("recommended: dense. No setting costs less within these limits.")
    else:
        print(f"recommended: {chosen.label}")


def _table(tuning: Tuning) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("setting", overflow="fold")
    groups = list(tuning.tried[0].scores)
    heads = ["tiles %", "stale %", "operations", "time", "cosine p1", "AP50 lost"]
    for heading in [*heads, *(f"{group} AP50, points" for group in groups), ""]:
        table.add_column(heading, justify="right", overflow="fold")
    front, chosen = tuning.front, tuning.recommended
    for one in sorted(tuning.tried, key=lambda one: -one.gflops):
        note = "recommended" if one is chosen else "front" if one in front else ""
        table.add_row(*_cells(one, tuning.tried[0], groups), note)
    return table


def _cells(one: Tried, dense: Tried, groups: Sequence[str]) -> list[str]:
    against = one.against
    return [
        one.label,
        f"{100 * one.encoded:.0f}",
        f"{100 * one.stale:.1f}",
        "1" if against is None else _times(against.flop_speedup),
        "1" if against is None else _times(against.speedup),
        "-" if against is None or against.cosine_p1 is None else f"{against.cosine_p1:.4f}",
        f"{one.loss_points:.2f}",
        *(_score(one.scores[group], dense.scores[group]) for group in groups),
    ]


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
