"""Where the control sockets of this user's sessions lie, and how to find them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from streamvis.errors import AddressError, ControlError

_SUFFIX = ".control"


@dataclass(frozen=True)
class Place:
    """One session's socket."""

    pipeline: str
    pid: int
    path: Path

    @property
    def address(self) -> str:
        return f"ipc://{self.path}"


def own_place(pipeline: str) -> Place:
    """Of this process. Clears away what sessions that were killed left behind."""
    folder = private_folder()
    for place in _places(folder):
        if not _is_alive(place.pid):
            place.path.unlink(missing_ok=True)
    pid = os.getpid()
    return Place(pipeline, pid, folder / f"{pid}-{pipeline}{_SUFFIX}")


def find_session(wanted: str | None) -> str:
    """The address of the one session that runs here, or of the one whose pipeline or address is
    `wanted`. Raises ControlError when that is not exactly one."""
    if wanted and "://" in wanted:
        return wanted
    running = [place for place in _places(private_folder()) if _is_alive(place.pid)]
    found = [place for place in running if wanted in (None, place.pipeline, str(place.pid))]
    if len(found) == 1:
        return found[0].address
    names = ", ".join(f"{place.pipeline} ({place.pid})" for place in found or running)
    if found:
        raise ControlError(f"several sessions run here: {names}; name one, or its number, --at")
    which = f"no session {wanted} runs" if wanted else "no session runs"
    there = f"these do: {names}" if names else "start one with `streamvis run`"
    raise ControlError(f"{which} here; {there}")


def private_folder() -> Path:
    """Made if it is not there; nobody else may look into it. Raises AddressError."""
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR")
    base = Path(runtime_dir) if runtime_dir and Path(runtime_dir).is_dir() else None
    folder = base / "streamvis" if base else Path(f"/tmp/streamvis-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
    except OSError as error:
        raise AddressError(
            f"{folder} cannot be used for control sockets ({error.strerror}); "
            "set control: {socket: ipc:///PATH}, or off"
        ) from None
    is_ours = stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid()
    if not is_ours or about.st_mode & 0o077:
        raise AddressError(
            f"{folder} is open to others; remove it, or set control: {{socket: ipc:///PATH}}"
        )
    return folder


def _places(folder: Path) -> list[Place]:
    places = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        pid, _, pipeline = path.name.removesuffix(_SUFFIX).partition("-")
        if pid.isdigit() and pipeline:
            places.append(Place(pipeline, int(pid), path))
    return places


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
