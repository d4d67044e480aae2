"""`streamvis keygen`: a key pair, for a pipeline or for one who subscribes to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from streamvis.client.curve import make_key_files

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def keygen(
    name: Annotated[str, typer.Argument(help="Whose key it is: names the two files.")],
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where to put them.")] = Path(
        "keys"
    ),
) -> None:
    """Make a key pair for encrypted publishing (CURVE): NAME.key and NAME.key_secret.

    The pipeline names its own secret file in `publish: {key: ...}`, and in `allow` a folder with
    the NAME.key of everyone who may subscribe. A subscriber gives --server-key and --key.
    """
    if not _NAME.fullmatch(name):
        raise typer.BadParameter(f"{name!r}: use up to 64 letters, digits and the signs _ . -")
    public, secret = make_key_files(folder, name)
    print(f"public: {public}  (give it to the other side)")
    print(f"secret: {secret}  (stays here; only you can read it)")
