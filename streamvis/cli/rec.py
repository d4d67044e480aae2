"""`streamvis rec`: look into recordings, mend them, turn them into drives and labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from streamvis.record.export import EXPORT_KINDS, ExportKind, export
from streamvis.record.reader import Recording
from streamvis.record.recover import recover
from streamvis.record.tally import CameraTally, Tally

RecordingPath = Annotated[
    Path, typer.Argument(metavar="PATH", help="A run's folder, or one .mcap or .mcap.part file.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]

rec = typer.Typer(
    help="Recordings: what is in them, mend a broken one, export.", no_args_is_help=True
)


@rec.command()
def info(
    path: RecordingPath,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say what a recording holds, what is missing in it, and what is damaged."""
    tally = Tally(Recording.open(path))
    facts = tally.to_dict()
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        _print_facts(path, tally, facts)


@rec.command("recover")
def recover_file(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A .mcap.part or damaged .mcap.")],
    out: Annotated[
        Path | None, typer.Option("-o", metavar="OUT.mcap", help="FILE.recovered.mcap beside it.")
    ] = None,
    force: Force = False,
) -> None:
    """Write what can be read of a file into a whole one; the file itself stays as it is."""
    done = recover(path, out, replace=force)
    print(
        f"{done.path}: {done.num_messages} messages (copies for viewers too), "
        f"{done.num_bytes / 1e6:.1f} MB"
    )
    print(done.damage or "nothing was lost: the file was whole")


@rec.command("export")
def export_to(
    path: RecordingPath,
    to: Annotated[str, typer.Option("--to", help="coco: labels.json; drive: videos and rig.json.")],
    out: Annotated[Path, typer.Option("-o", metavar="DIR", help="A folder that is made.")],
    force: Force = False,
) -> None:
    """Turn a recording into a drive folder (without re-encoding) or COCO annotations."""
    kind: ExportKind | None = next((name for name in EXPORT_KINDS if name == to), None)
    if kind is None:
        raise typer.BadParameter(f"--to is one of {', '.join(EXPORT_KINDS)}, got {to!r}")
    done = export(Recording.open(path), kind, out, replace=force)
    for camera, count in done.frames.items():
        print(f"{camera}: {count} frames")
    for sentence in done.left_out:
        print(f"left out: {sentence}")
    print(f"written: {done.folder}")


def _print_facts(path: Path, tally: Tally, facts: dict[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    segments = len(facts["segments"])
    console.print(f"{path}", style="bold", markup=False)
    files = f"{segments} segment{'s' * (segments != 1)}, {tally.num_bytes / 1e6:.1f} MB"
    console.print(f"{tally.duration_s:.1f} s in {files}")
    console.print(f"pipeline {facts['pipeline']}, streamvis {facts['version']}")
    weights = (facts["weights_sha256"] or "")[:12]
    console.print(f"model {facts['model']} {weights}, config {(facts['config_hash'] or '?')[:12]}")
    counts = ", ".join(f"{count} {kind}" for kind, count in facts["messages"].items())
    console.print(f"messages: {counts}")
    console.print(_table(tally.cameras))
    for camera, reason in facts["no_video"].items():
        console.print(f"{camera}: viewers get no video ({reason})", markup=False)
    if tally.steps_back:
        console.print(f"the clock stepped back {tally.steps_back} times", style="yellow")
    if tally.num_gaps:
        console.print(f"{tally.num_gaps} published messages are missing", style="yellow")
    damage = facts["damage"]
    console.print(f"damage: {damage or 'none'}", style="red" if damage else "", markup=False)


def _table(cameras: dict[str, CameraTally]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("camera")
    table.add_column("video")
    for heading in ("units", "MB", "plans", "results", "of source", "lost", "gaps"):
        table.add_column(heading, justify="right")
    for name, camera in sorted(cameras.items()):
        size = "x".join(map(str, camera.size or ()))
        table.add_row(
            name,
            f"{camera.codec} {size}" if camera.codec else "-",
            str(camera.units),
            f"{camera.unit_bytes / 1e6:.1f}",
            str(camera.plans),
            str(camera.results),
            str(camera.source_frames),
            _lost(camera.lost),
            str(camera.gaps),
        )
    return table


def _lost(lost: dict[str, int]) -> str:
    return ", ".join(f"{count} {stage}" for stage, count in lost.items() if count) or "0"
