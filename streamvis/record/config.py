"""What the pipeline file may say about recording."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from streamvis.config.model import ConfigModel, DurationNs, LocalPath

_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|TB)\s*$")
_UNIT_BYTES = {"B": 1, "kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000, "TB": 1_000_000_000_000}


def parse_bytes(value: Any) -> int:
    """'10GB', '512 MB' -> bytes. A bare number has no unit and is refused."""
    match = _SIZE.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f"a size is a number with B, kB, MB, GB or TB, such as 10GB; got {value!r}"
        )
    return round(float(match[1]) * _UNIT_BYTES[match[2]])


NumBytes = Annotated[
    int,
    BeforeValidator(lambda v: v if type(v) is int else parse_bytes(v)),
    PlainSerializer(lambda count: f"{count}B", when_used="json"),  # reads back
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*(B|kB|MB|GB|TB)$"}),
]
"""Bytes, written with a unit: `10GB`."""


class RecordConfig(ConfigModel):
    """MCAP files of all that is published, and of the cameras' own bitstreams."""

    dir: LocalPath = Field(description="Each run makes a folder of its own in it")
    keep: DurationNs | None = Field(
        default=None, gt=0, description="Files that ended longer ago are deleted, e.g. 24h"
    )
    min_free: NumBytes = Field(
        default=1_000_000_000,
        description="Space to leave on the disk: the oldest files go first, then recording stops",
    )
    segment: DurationNs = Field(
        default=600_000_000_000, gt=0, description="How much one file holds before the next begins"
    )
    queue: NumBytes = Field(
        default=64_000_000, gt=0, description="Waits for the disk; what does not fit is counted"
    )
