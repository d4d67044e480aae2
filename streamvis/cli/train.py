"""`streamvis train`: make the bundled weights again, or train on your own data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamvis.cli.options import Overrides
from streamvis.config.load import load_config
from streamvis.errors import ConfigError
from streamvis.runtime.quiet_threads import wait_quietly

if TYPE_CHECKING:
    from streamvis.train.second_stage import StageConfig


def train(
    config_path: Annotated[Path, typer.Argument(metavar="CONFIG", help="configs/train/*.yaml")],
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint.")] = False,
    overrides: Overrides = None,
) -> None:
    """Train the encoder and its head; checkpoints, log and weights go to the config's `out`.

    A config with `stage: embed` or `stage: tokens` trains that part on the encoder as it is.
    """
    wait_quietly()
    from streamvis.train.second_stage import Which  # torch takes seconds to import

    match load_config(config_path, Which).stage:
        case "detect":
            weights = _train_detection(config_path, resume, overrides or ())
        case stage if resume:
            raise ConfigError(
                f"stage {stage} takes minutes and is not resumed; run it again without --resume"
            )
        case stage:
            weights = _train_part(stage, config_path, overrides or ())
    Console().print(f"wrote {weights}")


def _train_detection(config_path: Path, resume: bool, overrides: Sequence[str]) -> Path:
    from streamvis.train.config import TrainConfig
    from streamvis.train.trainer import Trainer

    config = load_config(config_path, TrainConfig, overrides)
    trainer = Trainer(config)
    if resume:
        trainer.resume()
    with _progress() as bar:
        task = bar.add_task("views", total=config.views, completed=trainer.views, note="")

        def show(views: int, values: dict[str, float]) -> None:
            note = "  ".join(f"{name} {values[name]:.3f}" for name in ("score", "box"))
            bar.update(task, completed=views, note=note)

        return trainer.run(show)


def _train_part(stage: str, config_path: Path, overrides: Sequence[str]) -> Path:
    with _progress() as bar:
        task = bar.add_task(stage, total=None, note="features of the pictures")

        def show(steps: int, values: dict[str, float]) -> None:
            note = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
            bar.update(task, completed=steps, total=config.steps, note=note)

        config: StageConfig
        if stage == "embed":
            from streamvis.train.embed import EmbedConfig, train_embedder

            config = load_config(config_path, EmbedConfig, overrides)
            return train_embedder(config, show)
        from streamvis.train.tokens import TokensConfig, train_tokens

        config = load_config(config_path, TokensConfig, overrides)
        return train_tokens(config, show)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )
