"""`streamvis synth`: render a drive, or pictures for training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamvis.source import framecode
from streamvis.source.synth.camera import Mount, read_rig
from streamvis.source.synth.drive import Progress as Report
from streamvis.source.synth.drive import write_drive
from streamvis.source.synth.extras import EXTRAS
from streamvis.source.synth.render.renderer import Film
from streamvis.source.synth.scene import SceneConfig, StreetScene
from streamvis.source.synth.training import write_pictures
from streamvis.source.synth.uri import parse_size


def synth(
    out: Annotated[Path, typer.Argument(help="The drive folder to make.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another town.")] = 1,
    seconds: Annotated[float, typer.Option(help="Length of the drive.")] = 6.0,
    fps: Annotated[int, typer.Option(help="Frames a second.")] = 15,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels.")] = "960x540",
    weather: Annotated[
        str, typer.Option(help="day, overcast, low_sun, dusk, night, rain.")
    ] = "day",
    site: Annotated[
        str, typer.Option(help="drive, or a fixed camera: gantry, corner, car_park.")
    ] = "drive",
    rig: Annotated[Path | None, typer.Option(help="Cameras: a JSON of mounts.")] = None,
    cameras: Annotated[str, typer.Option(help="Names, with commas; all if empty.")] = "",
    samples: Annotated[
        int, typer.Option(help="Pictures averaged into each: smoother, slower.")
    ] = 2,
    extras: Annotated[str, typer.Option(help="PNGs beside the videos: masks,depth,flow.")] = "",
    frame_code: Annotated[bool, typer.Option(help="Write the frame number in a corner.")] = True,
    crf: Annotated[
        int, typer.Option(min=0, max=51, help="Of H.264: smaller is better, larger.")
    ] = 27,
    frames: Annotated[int, typer.Option(help="With --labels: how many pictures.")] = 100,
    labels: Annotated[str, typer.Option(help="coco: single random pictures for training.")] = "",
    force: Annotated[bool, typer.Option(help="Replace OUT if it exists.")] = False,
) -> None:
    """Render a street drive with true labels: rig.json, labels.json and one H.264 file a camera.

    With --labels coco: single pictures for training, each few another town, weather and lens.
    """
    try:
        width, height = parse_size(size)
        if labels not in ("", "coco"):
            raise ValueError(f"labels must be coco, got {labels!r}")
        wanted = _names(extras)
        if unknown := [e for e in wanted if e not in EXTRAS]:
            raise ValueError(f"extras must be some of {', '.join(EXTRAS)}, got {unknown}")
        config = SceneConfig(
            seed, round(seconds * fps), fps, width, height, _names(cameras), weather, site,
            _rig(rig), Film(samples=samples),
        )  # fmt: skip
        if frame_code and width < framecode.MIN_WIDTH and not labels:
            raise ValueError(f"a frame code needs a width of {framecode.MIN_WIDTH} px or more")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with _bar() as report:
        if labels:
            write_pictures(out, frames, seed, (width, height), report, replace=force)
        else:
            scene = StreetScene(config)
            write_drive(
                scene, out, report, frame_code=frame_code, replace=force, crf=crf, extras=wanted
            )
    said = (
        f"{frames} pictures"
        if labels
        else f"{config.num_frames} frames of {', '.join(config.cameras)}"
    )
    typer.echo(f"{out}: {said}")


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _rig(path: Path | None) -> Mapping[str, Mount]:
    if path is None:
        return {}
    try:
        return read_rig(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error


@contextmanager
def _bar() -> Iterator[Report]:
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("frames")
        yield lambda done, total: bar.update(task, completed=done, total=total)
