"""Arguments that several verbs share, and the one way errors are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from streamvis.client import ClientKeys
from streamvis.errors import StreamvisError

PipelinePath = Annotated[
    Path, typer.Argument(metavar="PIPELINE", help="The pipeline's YAML file.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one value, e.g. sources.front.uri=x"),
]
SummaryPath = Annotated[
    Path | None, typer.Option(metavar="FILE.json", help="Write the run's figures there.")
]
WaitSubscribers = Annotated[
    int | None,
    typer.Option(min=0, help="Start the cameras when so many subscribers are there."),
]

ServerKey = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Of a pipeline that encrypts: its public key."),
]
OwnKey = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="And your own: NAME.key_secret (see keygen)."),
]


def client_keys(server_key: Path | None, key: Path | None) -> ClientKeys | None:
    """Both or none."""
    if server_key is None and key is None:
        return None
    if server_key is None or key is None:
        raise typer.BadParameter("--server-key and --key go together")
    return ClientKeys.load(server_key, key)


def print_error(error: StreamvisError) -> None:
    """One line on stderr, as it is: square brackets in a path are not markup."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("error:", style="bold red", end=" ")
    console.print(str(error), markup=False)
