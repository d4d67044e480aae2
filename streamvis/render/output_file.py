"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from streamvis.errors import OutputError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}


class PendingFile:
    """A file that is written beside `path` and moved there by `commit()`.

    Making one creates the folder and an empty file, so a place that cannot be written to is
    found before the work and not after it. What a crash leaves behind, the next run overwrites.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(f".{path.stem}.part{path.suffix}")
        try:
            if path.is_dir():
                raise OutputError(f"cannot write {path}: it is a folder. Name a file inside it.")
            path.parent.mkdir(parents=True, exist_ok=True)
            self.part.touch()
        except OSError as error:
            raise output_error(path, error) from error

    def commit(self) -> None:
        try:
            os.replace(self.part, self.path)
        except OSError as error:
            self.discard()
            raise output_error(self.path, error) from error

    def discard(self) -> None:
        self.part.unlink(missing_ok=True)


def write_file(path: Path, data: bytes) -> None:
    """Write all of `data` to `path`, or leave what was there and raise OutputError."""
    pending = PendingFile(path)
    try:
        pending.part.write_bytes(data)
    except OSError as error:
        pending.discard()
        raise output_error(path, error) from error
    pending.commit()


def output_error(path: Path, error: Exception) -> OutputError:
    """What went wrong at `path`, and what to do about it."""
    number = getattr(error, "errno", None)
    if number in _NO_SPACE:
        advice = "the disk is full. Free some space or choose another place."
    elif number in _NO_PERMISSION:
        advice = f"no permission in {path.parent}. Choose a folder that you may write to."
    elif number in (errno.ENOTDIR, errno.EEXIST):
        advice = f"{path.parent} is not a folder. Choose another place."
    else:
        advice = f"{error}. Choose another place."
    return OutputError(f"cannot write {path}: {advice}")
