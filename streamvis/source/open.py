"""A camera's config -> the source that reads it."""

from __future__ import annotations

from pathlib import Path

from streamvis.errors import SourceError
from streamvis.source.base import Source
from streamvis.source.config import SYNTH_SCHEME, SourceConfig
from streamvis.source.drive import CAPTURE_UNCERTAINTY_NS, Drive
from streamvis.source.live import LiveSource
from streamvis.source.loop import LoopSource
from streamvis.source.recorded import RecordedSource, is_recording
from streamvis.source.video import VideoSource
from streamvis.source.window import WindowSource


def open_source(
    name: str, config: SourceConfig, input_size: tuple[int, int], with_motion: bool = False
) -> Source:
    """Open camera `name`. Frames come at `input_size` (width, height) px, letter-boxed, and
    `with_motion` they carry the codec's motion where it tells.

    Raises SourceError with a typed state when a recording cannot be opened; a live camera says how
    it is while it is read.
    """
    if config.is_live:
        return LiveSource(name, config, input_size, with_motion=with_motion)
    is_window = config.start > 0 or config.end is not None
    if not (is_window or config.loop):
        return _open_whole(name, config, input_size, with_motion, config.max_frames)
    if not config.loop:
        whole = _open_whole(name, config, input_size, with_motion)
        return WindowSource(whole, config.start, config.end, config.max_frames)
    looped = LoopSource(lambda: _open_round(name, config, input_size, with_motion))
    return WindowSource(looped, max_frames=config.max_frames)


def _open_round(
    name: str, config: SourceConfig, input_size: tuple[int, int], with_motion: bool
) -> Source:
    whole = _open_whole(name, config, input_size, with_motion)
    return WindowSource(whole, config.start, config.end)


def _open_whole(
    name: str,
    config: SourceConfig,
    input_size: tuple[int, int],
    with_motion: bool,
    max_frames: int | None = None,
) -> Source:
    if config.uri.startswith(SYNTH_SCHEME):
        return _open_synth(name, config, input_size, max_frames)
    path = Path(config.uri)
    if not path.exists():
        raise SourceError(f"{path}: there is no such file or folder; check `uri`", "not_found")
    if is_recording(path):
        recorded = config.camera or name
        return RecordedSource(path, recorded, name, input_size, max_frames, with_motion)
    if path.is_dir():
        return _open_drive(name, config, input_size, with_motion, max_frames)
    return VideoSource(path, name, input_size, max_frames=max_frames, with_motion=with_motion)


def _open_drive(
    name: str,
    config: SourceConfig,
    input_size: tuple[int, int],
    with_motion: bool,
    max_frames: int | None,
) -> Source:
    drive = Drive(Path(config.uri))
    recorded = config.camera or name
    rig = drive.camera(recorded)
    return VideoSource(
        drive.video_path(recorded),
        name,
        input_size,
        capture_ns=rig.capture_ns,
        capture_uncertainty_ns=CAPTURE_UNCERTAINTY_NS,
        max_frames=max_frames,
        intrinsics=drive.intrinsics(recorded),
        with_motion=with_motion,
    )


def _open_synth(
    name: str, config: SourceConfig, input_size: tuple[int, int], max_frames: int | None
) -> Source:
    from streamvis.source.synth.source import SynthSource  # the renderer is slow to import

    return SynthSource(name, config.model_copy(update={"max_frames": max_frames}), input_size)
