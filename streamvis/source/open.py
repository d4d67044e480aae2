"""A camera's config -> the source that reads it."""

from __future__ import annotations

from pathlib import Path

from streamvis.errors import SourceError
from streamvis.source.base import Source
from streamvis.source.config import SYNTH_SCHEME, SourceConfig
from streamvis.source.drive import CAPTURE_UNCERTAINTY_NS, Drive
from streamvis.source.video import VideoSource


def open_source(name: str, config: SourceConfig, input_size: tuple[int, int]) -> Source:
    """Open camera `name`. Frames come at `input_size` (width, height) px, letter-boxed.

    Raises SourceError with a typed state when it cannot be opened.
    """
    if config.uri.startswith(SYNTH_SCHEME):
        return _open_synth(name, config, input_size)
    path = Path(config.uri)
    if path.is_dir():
        return _open_drive(name, config, input_size)
    if not path.exists():
        raise SourceError(f"{path}: there is no such file or folder; check `uri`", "not_found")
    return VideoSource(path, name, input_size, max_frames=config.max_frames)


def _open_drive(name: str, config: SourceConfig, input_size: tuple[int, int]) -> Source:
    drive = Drive(Path(config.uri))
    recorded = config.camera or name
    rig = drive.camera(recorded)
    return VideoSource(
        drive.video_path(recorded),
        name,
        input_size,
        capture_ns=rig.capture_ns,
        capture_uncertainty_ns=CAPTURE_UNCERTAINTY_NS,
        max_frames=config.max_frames,
    )


def _open_synth(name: str, config: SourceConfig, input_size: tuple[int, int]) -> Source:
    from streamvis.source.synth.source import SynthSource  # the renderer is slow to import

    return SynthSource(name, config, input_size)
