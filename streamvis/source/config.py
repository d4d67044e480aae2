"""What a camera's entry in the pipeline file may say."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from streamvis.config.model import ConfigModel, DurationNs, resolve_path
from streamvis.redact import HIDDEN, redact

SYNTH_SCHEME = "synth://"
LIVE_SCHEMES = ("rtsp", "rtsps", "http", "https", "udp")
DEVICE_FOLDER = "/dev/"

# `rtsp:/user:password@host`: taken for a path it would be printed whole.
_MISTYPED = re.compile(r"(?:^|/)[a-zA-Z][\w+.-]*:.*@", re.DOTALL)

Transport = Literal["tcp", "udp"]


def _resolve_uri(value: object) -> str:
    text = str(value)
    scheme, colon, _ = text.partition("://")
    if _MISTYPED.search(scheme):
        raise ValueError("a login without scheme:// before it; write rtsp://USER:PASSWORD@HOST")
    if not colon:
        return str(resolve_path(value))
    if scheme in LIVE_SCHEMES or text.startswith(SYNTH_SCHEME):
        return text
    if scheme == "srt":
        raise ValueError(
            "srt:// is not read: PyAV's FFmpeg is built without SRT; let a relay turn it into "
            "rtsp:// or udp://"
        )
    raise ValueError(
        f"{scheme}:// is not read; give {', '.join(LIVE_SCHEMES)}, synth, a video file, "
        "a drive folder, or a device such as /dev/video0"
    )


def _told(uri: str) -> str:
    """A path holds no login, whatever its folders are called."""
    return redact(uri) if "://" in uri else uri


SourceUri = Annotated[str, BeforeValidator(_resolve_uri), PlainSerializer(_told, when_used="json")]
"""As it is written, with its credentials; they are left out wherever it is written down."""

FfmpegOptions = Annotated[
    dict[str, str],
    PlainSerializer(
        lambda options: dict.fromkeys(options, HIDDEN), return_type=dict[str, str], when_used="json"
    ),
]
"""Any of them may hold a login (`headers`, `http_proxy`): their values are never written down."""


def is_live(uri: str) -> bool:
    """A camera that sends on its own, as against a recording that waits to be read."""
    return uri.partition("://")[0] in LIVE_SCHEMES or uri.startswith(DEVICE_FOLDER)


class LiveConfig(ConfigModel):
    """How a live camera is reached, and when it is given up."""

    transport: Transport = Field(default="tcp", description="Of RTSP: what carries the media")
    tls_verify: bool = Field(
        default=True, description="https and rtsps: refuse a certificate that no authority signed"
    )
    timeout: DurationNs = Field(
        default=5_000_000_000, gt=0, description="Connect anew when nothing came for so long"
    )
    stale_after: DurationNs = Field(
        default=1_000_000_000, gt=0, description="`stale` when no picture came for so long"
    )
    low_delay: bool = Field(
        default=True, description="Wait less for packets out of order, and start at the newest"
    )
    retry_after: DurationNs = Field(
        default=250_000_000, gt=0, description="Before the first new attempt; doubles each time"
    )
    retry_at_most: DurationNs = Field(
        default=1_000_000_000, gt=0, description="Longest wait between two attempts"
    )
    options: FfmpegOptions = Field(
        default_factory=dict,
        repr=False,
        description="FFmpeg's own, such as video_size: 1280x720",
    )

    @model_validator(mode="after")
    def _check_waits(self) -> LiveConfig:
        if self.retry_at_most < self.retry_after:
            raise ValueError("retry_at_most must not be shorter than retry_after")
        return self


class SourceConfig(ConfigModel):
    """One camera: live, a video file, one camera of a recorded drive, or a rendered street."""

    uri: SourceUri = Field(
        repr=False,
        description="rtsp://, http(s)://, udp://, /dev/video0, a video file, a drive folder "
        "(with rig.json), or synth://street?seed=1",
    )
    live: LiveConfig = Field(default=LiveConfig(), description="Of a live camera")
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
        if self.is_live and (self.start or self.end is not None or self.loop):
            raise ValueError("a live camera has no start, end or loop; take them out")
        return self

    @property
    def is_live(self) -> bool:
        return is_live(self.uri)

    def without_credentials(self) -> SourceConfig:
        """For who must not read the camera."""
        return self.model_copy(update={"uri": _told(self.uri), "live": LiveConfig()})
