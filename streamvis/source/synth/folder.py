"""A folder that appears whole or not at all, and is replaced only if all in it is ours."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamvis.errors import OutputError

_LISTING = ".streamvis-synth"  # the files we wrote, a line each


def check_target(folder: Path, replace: bool) -> None:
    """OutputError if `folder` is in the way; only one that holds what we wrote is replaced."""
    here = Path.cwd()
    if folder.resolve() in (here, *here.parents):
        raise OutputError(f"{folder} is the folder you are in, or above it; choose another folder")
    if not folder.exists():
        return
    if not replace:
        raise OutputError(f"{folder} exists already; choose another folder or pass --force")
    if folder.is_symlink() or not (folder / _LISTING).is_file():
        raise OutputError(
            f"{folder} was not made by `streamvis synth`, so it is not replaced; remove it "
            "yourself, or choose another folder"
        )
    if foreign := sorted(_files(folder) - _listed(folder)):
        raise OutputError(
            f"{folder} holds {foreign[0]}, which `streamvis synth` did not write, so it is not "
            "replaced; take that away, or choose another folder"
        )


@contextmanager
def whole_folder(folder: Path, replace: bool) -> Iterator[Path]:
    """A folder to write in, beside `folder`, that becomes `folder` if all goes well.

    OutputError if the world is in the way; neither then nor at Ctrl-C is anything left behind,
    and what was there before is there still.
    """
    check_target(folder, replace)
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
        (work / _LISTING).write_text("\n".join(sorted(_files(work))) + "\n", encoding="utf-8")
        check_target(folder, replace)  # rendering takes long: someone may have been here
        _put(work, folder)
    except OSError as error:  # PyAV's errors are OSErrors too
        reason = error.strerror or str(error)
        raise OutputError(
            f"could not write {folder}: {reason}; nothing was changed, make room or choose "
            "another folder"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _put(work: Path, folder: Path) -> None:
    """Rename `work` to `folder`; what was there goes only when the new one is in its place."""
    if not folder.exists():
        work.rename(folder)
        return
    old = work.with_name(work.name + "-old")
    folder.rename(old)
    try:
        work.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}


def _listed(folder: Path) -> set[str]:
    return {_LISTING, *(folder / _LISTING).read_text(encoding="utf-8").splitlines()}
