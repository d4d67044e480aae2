"""The base of every config model, and the scalar types a YAML value may have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, WithJsonSchema

_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(ns|us|ms|s|min|h)\s*$")
_UNIT_NS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
}


class ConfigModel(BaseModel):
    """A frozen model that refuses unknown keys; it sits beside the stage it configures."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FromShell(str):
    """A value that came from an environment variable or from `--set`: relative paths in it
    start at the working directory, not at the pipeline file."""


def parse_duration_ns(value: Any) -> int:
    """'20ms', '3s', '1.5 min' -> nanoseconds. A bare number has no unit and is refused."""
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"a duration needs a unit, such as 20ms or 3s; got {value!r}")
    return round(float(match[1]) * _UNIT_NS[match[2]])


def _resolve_path(value: Any, info: ValidationInfo) -> Path:
    if not isinstance(value, (str, Path)) or not str(value):
        raise ValueError(f"expected a path, got {value!r}")
    path = Path(value).expanduser()
    base = Path.cwd() if isinstance(value, FromShell) else (info.context or {}).get("base")
    return path if base is None else Path(base) / path


DurationNs = Annotated[
    int,
    BeforeValidator(lambda v: v if type(v) is int and v == 0 else parse_duration_ns(v)),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ns|us|ms|s|min|h)$"}),
]
"""Nanoseconds, written with a unit: `20ms`, `3s`."""

LocalPath = Annotated[Path, BeforeValidator(_resolve_path), WithJsonSchema({"type": "string"})]
"""A path; a relative one starts at the folder of the file it is written in."""
