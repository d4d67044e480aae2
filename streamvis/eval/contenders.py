"""Which runs an evaluation consists of: every config, as it is and under each probe."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import streamvis
from streamvis.encode.weights import BUNDLED
from streamvis.eval.config import EvalConfig
from streamvis.eval.rounds import Footage

VERSION = 1  # of the shards' columns
# Code that shards depend on: what only scores or shows them may change under a resumed run.
_ROOMS = ("source", "tiling", "encode", "detect", "back.py", "front.py", "types.py")
_OWN = ("config", "probe", "rounds", "shards", "stepper", "runner", "operations")


@dataclass(frozen=True)
class Run:
    """One config over the drive."""

    name: str
    config: EvalConfig
    probe: str | None
    reference: str | None  # the run whose embeddings this one's are compared to


def list_runs(configs: Sequence[EvalConfig], probes: Sequence[str]) -> list[Run]:
    """In the order of the result. A config that reuses tiles gets a dense twin, unless one of
    the others is just that; a probe's run is compared to the same config without it."""
    runs: list[Run] = []
    dense = {config.models(): config.name for config in reversed(configs) if config.is_dense}
    for config in configs:
        if config.is_dense:
            runs.append(Run(config.name, config, None, None))
            continue
        has_twin = config.models() not in dense
        twin = dense.setdefault(config.models(), f"{config.name}@dense")
        runs.append(Run(config.name, config, None, twin))
        if has_twin:
            runs.append(Run(twin, config.dense(), None, None))
    undisturbed = list(runs)
    for probe in dict.fromkeys(probes):
        runs += [Run(f"{r.name}+{probe}", r.config, probe, r.name) for r in undisturbed]
    return runs


def digest(run: Run, footage: Footage) -> str:
    """Names what the run's shards depend on: equal digests, equal shards (but for the times)."""
    facts = {
        "version": VERSION,
        "config": run.config.model_dump(mode="json", exclude={"tracker", "name"}),
        "weights": [_hash_file(path) for path in _weights(run.config)],
        "footage": footage.facts(),
        "probe": run.probe,
        "machine": machine_facts(),
        "code": _hash_code(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def machine_facts() -> dict[str, Any]:
    """What times depend on."""
    has_gpu = torch.cuda.is_available()
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "gpu": torch.cuda.get_device_name() if has_gpu else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "streamvis": streamvis.__version__,
    }


def _weights(config: EvalConfig) -> list[Path]:
    encoder, onnx = config.encoder, config.detector.onnx
    bundled = BUNDLED if encoder.name == "sv_tiny" else None
    paths = [path for path in (encoder.weights or bundled, onnx) if path is not None]
    return [*paths, *(path.with_suffix(".json") for path in paths)]  # a manifest calibrates


def _hash_file(path: Path) -> str:
    """Empty for a file that is not there: loading the models says so."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _hash_code() -> str:
    root = Path(streamvis.__file__).parent
    rooms = [root / name for name in _ROOMS]
    paths = [p for room in rooms for p in (room.rglob("*.py") if room.is_dir() else [room])]
    paths += [root / f"eval/{name}.py" for name in _OWN]
    hashed = hashlib.sha256()
    for path in sorted(paths):
        hashed.update(path.relative_to(root).as_posix().encode())
        hashed.update(path.read_bytes())
    return hashed.hexdigest()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "?")
