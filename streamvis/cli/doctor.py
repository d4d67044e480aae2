"""`streamvis doctor`: what this machine has, what would be slow on it, and why."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

Level = Literal["ok", "slow", "bad"]

_PACKAGES = ("torch", "torchvision", "timm", "av", "opencv-python-headless", "ray", "pyzmq")
_COLOURS = {"ok": "green", "slow": "yellow", "bad": "red"}


@dataclass(frozen=True)
class Finding:
    """One fact about the machine, and what to do about it."""

    name: str
    value: str
    level: Level = "ok"
    advice: str = ""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
    port: Annotated[int, typer.Option(help="The port your pipeline publishes on.")] = 7700,
) -> None:
    """Say what this machine has and what would be slow. Exit code 1 if something is missing."""
    findings = examine(port)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print_table(findings)
    if any(finding.level == "bad" for finding in findings):
        raise typer.Exit(1)


def examine(port: int) -> list[Finding]:
    """Every finding, in reading order."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _packages,
        _cpu,
        _gpu,
        _codecs,
        _memory,
        lambda: _port(port),
    )
    return [finding for check in checks for finding in check()]


def _packages() -> Iterator[Finding]:
    yield Finding("python", platform.python_version())
    for name in _PACKAGES:
        try:
            yield Finding(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "missing", "bad", f"pip install {name}")


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _cpu() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    few = "one core: decoding and encoding take turns; expect a third of the figures in the README"
    yield Finding("cores", str(cores), "slow" if cores < 2 else "ok", few if cores < 2 else "")
    flags = _cpu_flags()
    has = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    if {"avx512_bf16", "amx_bf16"} & flags:
        yield Finding("cpu flags", " ".join(has))
    else:
        advice = "no bf16 instructions: encoders run in fp32, about 2-3 times slower"
        yield Finding("cpu flags", " ".join(has) or "none known", "slow", advice)


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


def _gpu() -> Iterator[Finding]:
    if not _has("torch"):
        return
    import torch

    if torch.cuda.is_available():
        yield Finding("gpu", torch.cuda.get_device_name())
    else:
        yield Finding("gpu", "none", "slow", "encoders run on the CPU; keep to few cameras")


def _codecs() -> Iterator[Finding]:
    if not _has("av"):
        return
    import av

    decoders = dict.fromkeys(("h264", "hevc", "vp9"), "such videos cannot be read")
    for name, advice in (decoders | {"libx264": "mosaic films cannot be written"}).items():
        if name in av.codecs_available:
            yield Finding(f"codec {name}", "there")
        else:
            yield Finding(f"codec {name}", "missing", "bad", advice)


def _memory() -> Iterator[Finding]:
    shm = Path("/dev/shm")
    free_gb = shutil.disk_usage(shm).free / 1e9 if shm.is_dir() else 0.0
    if free_gb < 0.2:
        advice = "Ray needs shared memory: docker run --shm-size=1g, or use --runtime local"
        yield Finding("/dev/shm free", f"{free_gb:.1f} GB", "slow", advice)
    else:
        yield Finding("/dev/shm free", f"{free_gb:.1f} GB")


def _port(port: int) -> Iterator[Finding]:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            advice = "in use: stop what holds it, or set another address under outputs"
            yield Finding(f"port {port}", "taken", "slow", advice)
        else:
            yield Finding(f"port {port}", "free")


def _print_table(findings: list[Finding]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("what", "found", "advice"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        colour = _COLOURS[finding.level]
        table.add_row(finding.name, f"[{colour}]{finding.value}[/]", finding.advice)
    Console().print(table)
