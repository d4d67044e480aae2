"""What a camera's entry in the pipeline file may say."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from streamvis.config.model import ConfigModel, DurationNs, resolve_path

SYNTH_SCHEME = "synth://"


def _resolve_uri(value: object) -> str:
    text = str(value)
    if text.startswith(SYNTH_SCHEME):
        return text
    if "://" in text:
        scheme = text.split("://", 1)[0]
        raise ValueError(
            f"{scheme}:// is not read yet; give a video file, a drive folder, or synth://street"
        )
    return str(resolve_path(value))


SourceUri = Annotated[str, BeforeValidator(_resolve_uri)]


class SourceConfig(ConfigModel):
    """One camera: a video file, one camera of a recorded drive, or a rendered street."""

    uri: SourceUri = Field(
        description="Video file, drive folder (with rig.json), or synth://street?seed=1"
    )
    camera: str | None = Field(
        default=None, description="Camera of the drive; the source's own name if not given"
    )
    max_frames: int | None = Field(default=None, ge=1, description="Stop after so many frames")
    start: DurationNs = Field(default=0, description="Begin at this media time")
    end: DurationNs | None = Field(default=None, gt=0, description="Stop at this media time")
    loop: bool = Field(default=False, description="Begin again at the end, for ever")

    @model_validator(mode="after")
    def _check_window(self) -> SourceConfig:
        if self.end is not None and self.end <= self.start:
            raise ValueError("end must be later than start")
        return self
