"""`streamvis replay`: a drive or a recording through the pipeline again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, cast

import typer
from pydantic import TypeAdapter, ValidationError

from streamvis.cli.options import Overrides, SummaryPath, WaitSubscribers
from streamvis.cli.run import run_to_end
from streamvis.config.model import parse_duration_ns
from streamvis.errors import RegressionError
from streamvis.replay.check import Check, check_repeat
from streamvis.replay.config import ReplayOptions, replay_config
from streamvis.topology import RuntimeKind


def replay(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", help="A drive folder, a recording's folder, or an .mcap file."
        ),
    ],
    config: Annotated[
        Path | None,
        typer.Option(metavar="PIPELINE", help="Take the stages from there, not the recorded ones."),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(min=0, help="0: lossless, as fast as it goes. Else paced, newest wins."),
    ] = 0.0,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end.")] = False,
    start: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begin there, such as 2s.")
    ] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="Stop there, such as 5s.")] = None,
    cameras: Annotated[
        str | None, typer.Option(help="Names, with commas. All if left out.")
    ] = None,
    as_recorded: Annotated[
        bool,
        typer.Option("--as-recorded", help="Repeat the drops, batches and plans of the recording."),
    ] = False,
    runtime: Annotated[str | None, typer.Option(help="ray, or local: one process.")] = None,
    address: Annotated[
        str | None, typer.Option(help="Publish there; a free port if left out.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Record the replay into a new folder there.")
    ] = None,
    mosaic: Annotated[
        Path | None, typer.Option(metavar="FILE.mp4", help="Draw a film of all cameras.")
    ] = None,
    summary: SummaryPath = None,
    wait_subscribers: WaitSubscribers = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Only compare with the recording, byte for byte; exit code 10 if not."
        ),
    ] = False,
    overrides: Overrides = None,
) -> None:
    """Run recorded cameras through the pipeline again.

    Ctrl-C ends it cleanly, a second one at once. `streamvis --help` lists the exit codes.
    """
    if not math.isfinite(speed):
        raise typer.BadParameter(f"--speed must be a finite number, got {speed}")
    options = ReplayOptions(
        pipeline=config,
        speed=speed,
        loop=loop,
        start_ns=_duration_ns(start, "--start") or 0,
        end_ns=_duration_ns(end, "--end"),
        cameras=tuple(cameras.split(",")) if cameras else (),
        as_recorded=as_recorded,
        runtime=_runtime(runtime),
        address=address,
        record=record,
        mosaic=mosaic,
        overrides=tuple(overrides or ()),
    )
    if check:
        if speed or loop or start or end or cameras or address or record or mosaic or summary:
            raise typer.BadParameter("--check compares a whole, lossless replay and writes nothing")
        _print_check(check_repeat(source, options))
        return
    run_to_end(replay_config(source, options), summary, wait_subscribers)


def _print_check(found: Check) -> None:
    if not found.num_differ:
        print(f"equal: {found.num_messages} messages (det, emb, plan)")
        return
    excess = (
        "none by more than rounding does on another processor"
        if found.is_tolerable
        else "by more than rounding; --as-recorded repeats a live run's drops"
    )
    raise RegressionError(
        f"{found.num_differ} of {found.num_messages} messages differ, {excess}. "
        f"First: {found.first}"
    )


def _duration_ns(text: str | None, option: str) -> int | None:
    try:
        return None if text is None else parse_duration_ns(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}") from None


def _runtime(text: str | None) -> RuntimeKind | None:
    try:
        TypeAdapter(RuntimeKind | None).validate_python(text)
    except ValidationError:
        raise typer.BadParameter(f"--runtime is ray or local, not {text!r}") from None
    return cast(RuntimeKind | None, text)
