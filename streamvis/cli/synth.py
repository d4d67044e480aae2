"""`streamvis synth`: render a drive, or pictures for training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamvis.cli.main import INTERRUPTED
from streamvis.cli.stop import stop_signals
from streamvis.source import framecode
from streamvis.source.synth.camera import Mount, read_rig
from streamvis.source.synth.drive import Progress as Report
from streamvis.source.synth.drive import write_drive
from streamvis.source.synth.extras import EXTRAS
from streamvis.source.synth.render.renderer import Film
from streamvis.source.synth.scene import MAX_SECONDS, SceneConfig, StreetScene
from streamvis.source.synth.training import write_pictures
from streamvis.source.synth.uri import parse_size

_DRIVE_ONLY = (
    "seconds", "fps", "weather", "site", "rig", "cameras", "samples", "extras", "frame_code", "crf",
)  # fmt: skip
PICTURES = 100  # of --labels, if nobody says how many


def synth(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to make.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another town.")] = 1,
    seconds: Annotated[float, typer.Option(help="Length of the drive.")] = 6.0,
    fps: Annotated[int, typer.Option(min=1, max=120, help="Frames a second.")] = 15,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels.")] = "960x540",
    weather: Annotated[
        str, typer.Option(help="day, overcast, low_sun, dusk, night, rain.")
    ] = "day",
    site: Annotated[
        str, typer.Option(help="drive, or a fixed camera: gantry, corner, car_park.")
    ] = "drive",
    rig: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Cameras: a JSON of mounts.")
    ] = None,
    cameras: Annotated[str, typer.Option(help="Names, with commas; all if empty.")] = "",
    samples: Annotated[
        int, typer.Option(min=1, max=64, help="Pictures averaged into each: smoother, slower.")
    ] = 2,
    extras: Annotated[str, typer.Option(help="PNGs beside the videos: masks,depth,flow.")] = "",
    frame_code: Annotated[bool, typer.Option(help="Write the frame number in a corner.")] = True,
    crf: Annotated[
        int, typer.Option(min=0, max=51, help="Of H.264: smaller is better, larger.")
    ] = 27,
    frames: Annotated[
        int | None, typer.Option(min=1, help="With --labels: how many pictures (100).")
    ] = None,
    labels: Annotated[str, typer.Option(help="coco: single random pictures for training.")] = "",
    force: Annotated[bool, typer.Option(help="Replace FOLDER if it exists.")] = False,
) -> None:
    """Render a street drive with true labels: rig.json, labels.json and one H.264 file a camera.

    With --labels coco: single pictures for training, whose towns, weather, cameras and lenses are
    drawn at random. FOLDER appears when all of it is there; Ctrl-C leaves nothing (exit 130).
    """
    try:
        _check_labels(labels, frames)
        if labels:
            _check_drawn(context)
        config = SceneConfig(
            seed, _num_frames(seconds, fps), fps, *parse_size(size), _names(cameras), weather,
            site, _rig(rig), Film(samples=samples),
        )  # fmt: skip
        wanted = _extras(extras)
        if frame_code and config.width < framecode.MIN_WIDTH and not labels:
            raise ValueError(
                f"a frame code needs a width of {framecode.MIN_WIDTH} px or more; "
                "make it wider or pass --no-frame-code"
            )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with _bar() as report:
        if labels:
            frames = frames or PICTURES
            write_pictures(out, frames, seed, (config.width, config.height), report, replace=force)
        else:
            write_drive(
                StreetScene(config), out, report, frame_code=frame_code, replace=force, crf=crf,
                extras=wanted,
            )  # fmt: skip
    said = f"{config.num_frames} frames of {', '.join(config.cameras)}"
    typer.echo(f"{out}: {f'{frames} pictures' if labels else said}")


def _check_labels(labels: str, frames: int | None) -> None:
    if labels not in ("", "coco"):
        raise ValueError(f"labels must be coco, got {labels!r}")
    if frames is not None and not labels:
        raise ValueError("--frames goes with --labels coco; a drive is --seconds long")


def _check_drawn(context: typer.Context) -> None:
    """What is drawn at random, or is of drives only, cannot be asked for too."""
    for name in _DRIVE_ONLY:
        if str(context.get_parameter_source(name)).endswith("COMMANDLINE"):
            option = "--" + name.replace("_", "-")
            raise ValueError(f"{option} goes with a drive; --labels coco draws it or has none")


def _num_frames(seconds: float, fps: int) -> int:
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"seconds must be above 0 and at most {MAX_SECONDS}, got {seconds:g}")
    return max(1, round(seconds * fps))


def _extras(text: str) -> tuple[str, ...]:
    wanted = _names(text)
    if unknown := [e for e in wanted if e not in EXTRAS]:
        raise ValueError(f"extras must be some of {', '.join(EXTRAS)}, got {', '.join(unknown)}")
    return wanted


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _rig(path: Path | None) -> Mapping[str, Mount]:
    if path is None:
        return {}
    try:
        return read_rig(json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_object))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # not JSON, not UTF-8, or not a rig
        raise ValueError(f"{path}: {error}") from error


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object; a name given twice would lose a camera silently."""
    names = [name for name, _ in pairs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{min(twice)!r} is there twice")
    return dict(pairs)


@contextmanager
def _bar() -> Iterator[Report]:
    """Shows progress; SIGINT and SIGTERM end the rendering after the frame at hand."""
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with stop_signals() as stop, Progress(*columns, transient=True) as bar:
        task = bar.add_task("frames", total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            if stop.is_requested():
                typer.echo("stopped; nothing was written", err=True)
                raise typer.Exit(INTERRUPTED)

        yield report
