"""The base of every config model, and the scalar types a YAML value may have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(ns|us|ms|s|min|h)\s*$")
_UNIT_NS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
}

_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|TB)\s*$")
_UNIT_BYTES = {"B": 1, "kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000, "TB": 1_000_000_000_000}


class ConfigModel(BaseModel):
    """A frozen model that refuses unknown keys; it sits beside the stage it configures."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # it may be a password
    )


class Located(str):
    """A string that remembers the folder its relative paths start at: the folder of the file
    it is written in, or the working directory if it came from the shell."""

    base: Path

    def __new__(cls, text: str, base: Path) -> Located:
        located = super().__new__(cls, text)
        located.base = base
        return located


def parse_duration_ns(value: Any) -> int:
    """'20ms', '3s', '1.5 min' -> nanoseconds. A bare number has no unit and is refused."""
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f"a duration is a number with ns, us, ms, s, min or h, such as 20ms; got {value!r}"
        )
    return round(float(match[1]) * _UNIT_NS[match[2]])


def parse_bytes(value: Any) -> int:
    """'10GB', '512 MB' -> bytes. A bare number has no unit and is refused."""
    match = _SIZE.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f"a size is a number with B, kB, MB, GB or TB, such as 10GB; got {value!r}"
        )
    return round(float(match[1]) * _UNIT_BYTES[match[2]])


def resolve_path(value: Any) -> Path:
    """A `Located` string or plain path -> a path that does not depend on where it is read."""
    if not isinstance(value, (str, Path)) or not str(value):
        raise ValueError(f"expected a path, got {value!r}")
    return getattr(value, "base", Path()) / Path(value).expanduser()


DurationNs = Annotated[
    int,
    BeforeValidator(lambda v: v if type(v) is int and v == 0 else parse_duration_ns(v)),
    PlainSerializer(lambda ns: f"{ns}ns", when_used="json"),  # reads back
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ns|us|ms|s|min|h)$"}),
]
"""Nanoseconds, written with a unit: `20ms`, `3s`."""

NumBytes = Annotated[
    int,
    BeforeValidator(lambda v: v if type(v) is int else parse_bytes(v)),
    PlainSerializer(lambda count: f"{count}B", when_used="json"),  # reads back
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*(B|kB|MB|GB|TB)$"}),
]
"""Bytes, written with a unit: `10GB`."""

LocalPath = Annotated[Path, BeforeValidator(resolve_path), WithJsonSchema({"type": "string"})]
"""A path; a relative one starts at the folder of the file it is written in."""
