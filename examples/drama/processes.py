"""The processes below another one, out of /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    title: str
    began: int  # clock ticks since the host's start
    cpu_s: float  # that it has used


def workers(root_pid: int) -> list[Process]:
    """The encoder workers of a session: the oldest, which serves, and the spares."""
    found = [p for p in _below(root_pid) if p.title.startswith("ray::EncoderActor")]
    return sorted(found, key=lambda process: process.began)


def _below(root_pid: int) -> list[Process]:
    everything = [p for p in map(_read, Path("/proc").glob("[0-9]*")) if p]
    family = {root_pid}
    for process in sorted(everything, key=lambda process: (process.began, process.pid)):
        if process.parent in family:
            family.add(process.pid)
    return [process for process in everything if process.pid in family]


def _read(folder: Path) -> Process | None:
    try:
        title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None  # it is gone
    ticks = int(fields[11]) + int(fields[12])  # user and system
    cpu_s = ticks / os.sysconf("SC_CLK_TCK")
    return Process(int(folder.name), int(fields[1]), title, int(fields[19]), cpu_s)
