"""`streamvis film`: what reuse does, to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamvis.cli.eval import Show, check_installed
from streamvis.cli.main import INTERRUPTED
from streamvis.encode.config import NONE
from streamvis.errors import ConfigError
from streamvis.eval.config import EvalConfig, read_configs
from streamvis.render.output_file import PendingFile
from streamvis.runtime.quiet_threads import wait_quietly
from streamvis.source.drive import Drive
from streamvis.tiling.config import TilingConfig


def film(
    drive: Annotated[Path, typer.Argument(help="Drive folder with rig.json.")],
    config: Annotated[
        Path | None,
        typer.Option(
            help="A pipeline or eval file that reuses tiles, such as tune's recommended.yaml. "
            "The bundled model with policy threshold if left out."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.mp4", help="out/film/DRIVE.mp4 if not given.")
    ] = None,
    cameras: Annotated[str | None, typer.Option(help="Names, with commas.")] = None,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="Of each camera, the first ones.")
    ] = None,
) -> None:
    """Film a drive twice, side by side: dense at the left, reuse with its tile map at the right.

    Both see the same frames; above them stands what each has cost so far.
    """
    path = out or Path("out/film") / f"{drive.resolve().name}.mp4"
    if path.suffix != ".mp4":
        raise typer.BadParameter(f"a film is an .mp4 file, got {path.name}")
    chosen = _config(config)
    check_installed([chosen])
    there = Drive(drive)
    names = cameras.split(",") if cameras else list(there.cameras)
    for name in names:
        there.camera(name)
    PendingFile(path).discard()  # a place that cannot be written to is found now
    wait_quietly()
    from streamvis.eval.rounds import Footage  # torch takes seconds to import
    from streamvis.eval.side_by_side import film_side_by_side

    footage = Footage(drive, tuple(name for name in there.cameras if name in names), max_frames)
    try:
        with Show() as show:
            dense, reuse = film_side_by_side(footage, chosen, path, show.frames)
    except KeyboardInterrupt:
        print("stopped; nothing was written")
        raise typer.Exit(INTERRUPTED) from None
    print(f"dense: {dense.tiles} tiles, {dense.seconds:.2f} s")
    print(
        f"reuse: {reuse.tiles} tiles ({100 * reuse.tiles / dense.tiles:.0f} %), "
        f"{reuse.seconds:.2f} s ({100 * reuse.seconds / dense.seconds:.0f} %)"
    )
    print(f"film:  {path}")
    print(f"still: {path.with_suffix('.png')}")


def _config(path: Path | None) -> EvalConfig:
    if path is None:
        return EvalConfig(tiling=TilingConfig(policy="threshold"))
    config = read_configs([path])[0]
    if config.encoder.name == NONE:
        raise ConfigError(f"{path}: encoder none has no tiles; name one that does")
    if config.is_dense:
        raise ConfigError(
            f"{path}: tiling.policy is off, so both sides would be the same; set it to threshold, "
            "budget or deadline"
        )
    return config
