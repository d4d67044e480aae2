"""`streamvis synth`: render a drive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamvis.source import framecode
from streamvis.source.synth.camera import RIG
from streamvis.source.synth.drive import write_drive
from streamvis.source.synth.scene import SceneConfig, StreetScene
from streamvis.source.synth.uri import parse_size


def synth(
    out: Annotated[Path, typer.Argument(help="The drive folder to make.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another street.")] = 1,
    seconds: Annotated[float, typer.Option(help="Length of the drive.")] = 6.0,
    fps: Annotated[int, typer.Option(help="Frames a second.")] = 15,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels.")] = "960x540",
    cameras: Annotated[str, typer.Option(help="Names, with commas.")] = ",".join(RIG),
    frame_code: Annotated[bool, typer.Option(help="Write the frame number in a corner.")] = True,
    smooth: Annotated[bool, typer.Option(help="Smooth edges; four times slower.")] = False,
    force: Annotated[bool, typer.Option(help="Replace OUT if it exists.")] = False,
) -> None:
    """Render a street drive with true labels: rig.json, labels.json and one H.264 file a camera."""
    try:
        width, height = parse_size(size)
        config = SceneConfig(
            seed, round(seconds * fps), fps, width, height,
            tuple(cameras.split(",")), 2 if smooth else 1,
        )  # fmt: skip
        if frame_code and width < framecode.MIN_WIDTH:
            raise ValueError(f"a frame code needs a width of {framecode.MIN_WIDTH} px or more")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("frames")
        write_drive(
            StreetScene(config),
            out,
            lambda done, total: bar.update(task, completed=done, total=total),
            frame_code=frame_code,
            replace=force,
        )
    typer.echo(f"{out}: {config.num_frames} frames of {', '.join(config.cameras)}")
