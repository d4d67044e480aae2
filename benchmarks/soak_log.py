"""What a soak writes down as it goes, and how it looks at the processes of a session."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

ROLES = {
    "ray::CameraLoop": "camera",
    "ray::EncoderActor": "worker",
    "streamvis.source.decode_process": "decoder",
    "gcs_server": "ray_control",
}


class Log:
    """JSON lines, each with the seconds since the start; a soak that is stopped leaves them."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", buffering=1)
        self._lock = threading.Lock()
        self._began_s = time.monotonic()

    @property
    def now_s(self) -> float:
        return time.monotonic() - self._began_s

    def write(self, kind: str, **values: Any) -> None:
        with self._lock:
            print(
                json.dumps({"kind": kind, "t_s": round(self.now_s, 2), **values}), file=self._file
            )

    @contextmanager
    def fault(self, name: str, camera: str = "") -> Iterator[None]:
        began_s = self.now_s
        yield
        self.write("fault", name=name, camera=camera, began_s=round(began_s, 2))

    def problem(self, text: str) -> None:
        print(f"problem: {text}", flush=True)
        self.write("problem", text=text)


def read_log(path: Path) -> list[dict[str, Any]]:
    """All whole lines."""
    lines = path.read_text().splitlines()
    found = []
    for line in lines:
        with suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


def look_at(session: psutil.Process) -> list[dict[str, Any]]:
    """Every process of the session: its role, since when it lives, and what it holds."""
    found = [_about(session, "session")]
    for child in session.children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            found.append(_about(child, role_of(child)))
    return found


def role_of(process: psutil.Process) -> str:
    """Everything that is not ours is Ray's."""
    command = " ".join(process.cmdline())
    return next((role for text, role in ROLES.items() if text in command), "ray")


def _about(process: psutil.Process, role: str) -> dict[str, Any]:
    with process.oneshot():
        memory = process.memory_full_info()
        return {
            "role": role,
            "life": f"{process.pid}-{process.create_time():.0f}",
            "name": process.name(),
            "rss_mb": round(memory.rss / 1e6, 2),
            "uss_mb": round(memory.uss / 1e6, 2),
            "fds": process.num_fds(),
            "threads": process.num_threads(),
        }
