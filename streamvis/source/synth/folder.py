"""A folder that appears whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamvis.errors import OutputError


def check_target(folder: Path, replace: bool, mark: str) -> None:
    """OutputError if `folder` is in the way; only one that holds the file `mark` is replaced."""
    if not folder.exists():
        return
    if not replace:
        raise OutputError(f"{folder} exists already; choose another folder or pass --force")
    if not (folder / mark).is_file():
        raise OutputError(
            f"{folder} has no {mark}, so it is not one of ours and is not replaced; "
            "choose another folder"
        )


@contextmanager
def whole_folder(folder: Path, replace: bool, mark: str) -> Iterator[Path]:
    """A folder to write in, beside `folder`, that becomes `folder` if all goes well.

    OutputError if the world is in the way; neither then nor at Ctrl-C is anything left behind.
    """
    check_target(folder, replace, mark)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise OutputError(
            f"cannot write in {folder.parent}: {error.strerror}; choose another folder"
        ) from error
    try:
        yield work
        work.chmod(0o755)  # mkdtemp keeps others out
        if replace and folder.exists():
            shutil.rmtree(folder)
        work.rename(folder)
    except OSError as error:  # PyAV's errors are OSErrors too
        reason = error.strerror or str(error)
        raise OutputError(
            f"could not write {folder}: {reason}; nothing was left behind, make room or choose "
            "another folder"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
