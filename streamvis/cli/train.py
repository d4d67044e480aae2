"""`streamvis train`: make the bundled weights again, or train on your own data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamvis.cli.options import Overrides
from streamvis.config.load import load_config
from streamvis.runtime.quiet_threads import wait_quietly


def train(
    config_path: Annotated[Path, typer.Argument(metavar="CONFIG", help="configs/train/*.yaml")],
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint.")] = False,
    overrides: Overrides = None,
) -> None:
    """Train the encoder and its head; checkpoints, log and weights go to the config's `out`."""
    wait_quietly()
    from streamvis.train.config import TrainConfig
    from streamvis.train.trainer import Trainer  # torch takes seconds to import

    config = load_config(config_path, TrainConfig, overrides or ())
    trainer = Trainer(config)
    if resume:
        trainer.resume()
    with _progress() as bar:
        task = bar.add_task("views", total=config.views, completed=trainer.views, note="")

        def show(views: int, values: dict[str, float]) -> None:
            note = "  ".join(f"{name} {values[name]:.3f}" for name in ("score", "box"))
            bar.update(task, completed=views, note=note)

        weights = trainer.run(show)
    Console().print(f"wrote {weights}")


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )
