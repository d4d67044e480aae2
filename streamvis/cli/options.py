"""Arguments that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PipelinePath = Annotated[
    Path, typer.Argument(metavar="PIPELINE", help="The pipeline's YAML file.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one value, e.g. sources.front.uri=x"),
]
