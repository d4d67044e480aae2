"""`streamvis source`: the cameras of a session that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from streamvis.config.load import read_overrides
from streamvis.serve.control_socket import ask
from streamvis.serve.places import find_session

source = typer.Typer(
    help="List, add, remove and restart the cameras of a session that runs.",
    no_args_is_help=True,
)

At = Annotated[
    str | None,
    typer.Option(help="Pipeline's name, process id or control address; the only one if not given."),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The camera's name.")]


@source.command(name="list")
def list_sources(
    at: At = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Every camera and how it is."""
    answer = ask(find_session(at), {"verb": "list"})
    if as_json:
        print(json.dumps(answer, indent=2))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for heading in ("camera", "state", "FPS", "published", "lost", "uri"):
        table.add_column(heading, overflow="fold")
    for name, about in answer["sources"].items():
        table.add_row(name, *_cells(about))
    Console(highlight=False, soft_wrap=True).print(table)


def _cells(about: dict[str, Any]) -> tuple[str, ...]:
    lost = sum(about.get("lost", {}).values())
    fps, published = about.get("fps", 0.0), about.get("published", 0)
    return about["state"], f"{fps:.1f}", str(published), str(lost), about["uri"]


@source.command()
def add(
    name: Name,
    uri: Annotated[str, typer.Argument(metavar="URI", help="What `uri` says in a pipeline file.")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Another key of it, e.g. live.transport=udp."
        ),
    ] = None,
    at: At = None,
) -> None:
    """Add a camera; the others go on. Its state tells how it goes: `streamvis source list`."""
    values = read_overrides(settings or ())
    values["uri"] = uri if "://" in uri else str(Path(uri).absolute())
    ask(find_session(at), {"verb": "add", "name": name, "source": values})
    print(f"{name}: added")


@source.command()
def remove(name: Name, at: At = None) -> None:
    """Stop a camera and forget it; the others go on."""
    ask(find_session(at), {"verb": "remove", "name": name})
    print(f"{name}: removed")


@source.command()
def restart(name: Name, at: At = None) -> None:
    """Stop a camera and begin again; the numbers of its frames go on."""
    ask(find_session(at), {"verb": "restart", "name": name})
    print(f"{name}: restarted")
