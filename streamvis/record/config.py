"""What the pipeline file may say about recording."""

from __future__ import annotations

from pydantic import Field

from streamvis.config.model import ConfigModel, DurationNs, LocalPath, NumBytes


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
