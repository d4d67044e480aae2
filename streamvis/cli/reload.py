"""`streamvis reload`: let a session that runs take over its changed pipeline file."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from streamvis.cli.source import At
from streamvis.serve.control_socket import ask
from streamvis.serve.places import find_session


def reload(
    at: At = None,
    is_dry: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would change.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read the pipeline file again: cameras that are new, gone or different are added, removed
    and restarted, the others notice nothing. What else differs needs a new run, and is told."""
    changes = ask(find_session(at), {"verb": "reload", "dry_run": is_dry})["changes"]
    print(json.dumps(changes, indent=2) if as_json else "\n".join(_describe(changes)))


def _describe(changes: dict[str, Any]) -> list[str]:
    said = {
        "added": "+ {}",
        "removed": "- {}",
        "changed": "~ {} starts again",
        "needs_new_run": "! {} needs a new run: it stays as it is",
    }
    lines = [line.format(name) for key, line in said.items() for name in changes[key]]
    return lines or ["nothing differs"]
