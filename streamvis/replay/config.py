"""What is replayed, and how -> the pipeline that does it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamvis.config.load import check_config, load_config
from streamvis.errors import ConfigError, SourceError
from streamvis.record.reader import Recording
from streamvis.source.drive import Drive
from streamvis.source.recorded import is_recording
from streamvis.topology import PipelineConfig, RuntimeKind

_STAGES = ("encoder", "tiling", "detector", "tracker")
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class ReplayOptions:
    """All of a replay but its source. Its outputs come from here alone: it must not overwrite the
    film of the run that was recorded, or take its port."""

    pipeline: Path | None = None  # its stages, instead of the recorded ones or the defaults
    speed: float = 0.0  # seconds of media a second, newest wins; 0: lossless, as fast as it goes
    loop: bool = False
    start_ns: int = 0
    end_ns: int | None = None
    max_frames: int | None = None
    cameras: tuple[str, ...] = ()  # all if empty
    as_recorded: bool = False
    runtime: RuntimeKind | None = None
    address: str | None = None
    record: Path | None = None
    mosaic: Path | None = None
    overrides: tuple[str, ...] = ()  # key.path=value


def replay_config(source: Path, options: ReplayOptions) -> PipelineConfig:
    """`source` is a drive folder or a recording. Raises ConfigError or SourceError."""
    if not source.exists():
        raise SourceError(f"{source}: there is no such drive or recording", "not_found")
    recording = Recording.open(source) if is_recording(source) else None
    if recording is None and not (source / "rig.json").exists():
        raise SourceError(
            f"{source} is neither a drive (a folder with rig.json) nor a recording (.mcap, or the "
            "folder of one); check the path",
            "not_found",
        )
    _check_as_recorded(source, recording, options)
    base = _base(recording, source, options.pipeline)
    if recording is not None:
        sources = _recorded_sources(source, recording)
    else:
        sources = {name: {"uri": str(source.absolute())} for name in Drive(source).cameras}
    sources = _chosen(source, sources, options.cameras)
    return check_config(
        {
            **base,
            "clock": "live" if options.speed else "replay",
            "speed": options.speed or 1.0,
            "as_recorded": options.as_recorded,
            "runtime": _runtime(base, options),
            "sources": {name: _windowed(own, options) for name, own in sources.items()},
            "outputs": _outputs(options),
        },
        PipelineConfig,
        options.overrides,
        origin=source,
    )


def _check_as_recorded(source: Path, recording: Recording | None, options: ReplayOptions) -> None:
    if not options.as_recorded:
        return
    if recording is None:
        raise ConfigError(f"{source} is a drive: only a recording can be replayed --as-recorded")
    if options.speed:
        raise ConfigError("--as-recorded repeats the drops that were; leave --speed out")
    if options.loop or options.start_ns or options.end_ns or options.cameras:
        raise ConfigError(
            "--as-recorded repeats the whole run; leave --cameras, --start, --end and --loop out"
        )


def _base(recording: Recording | None, source: Path, pipeline: Path | None) -> dict[str, Any]:
    """The stages and the name. The name is the recorded one: it is part of every topic."""
    own = recording.config if recording else None
    recorded_name = own.get("name") if own else None
    name = recorded_name or _NOT_A_NAME.sub("_", source.resolve().name) or "replay"
    if pipeline is None:
        return {**(own or {"version": 1}), "name": name}
    given = json.loads(load_config(pipeline, PipelineConfig).resolved_json())
    stages = {key: given[key] for key in (*_STAGES, "runtime")}
    return {"version": 1, "name": recorded_name or given["name"], **stages}


def _recorded_sources(path: Path, recording: Recording) -> dict[str, dict[str, Any]]:
    """Each camera's own bitstream; a rendered one, which has none, is rendered again."""
    config = recording.config
    if config is None or not isinstance(config.get("sources"), dict):
        raise SourceError(
            f"{path}: it does not say which pipeline it is of, so it cannot be replayed; record "
            "it from its start",
            "corrupt",
        )
    return {
        name: _recorded_source(path, recording, name, own)
        for name, own in config["sources"].items()
        if name in recording.cameras
    }


def _recorded_source(
    path: Path, recording: Recording, name: str, own: dict[str, Any]
) -> dict[str, Any]:
    if next(recording.messages(["vid"], [name]), None) is None:
        if own["uri"].startswith("synth://"):
            return own
        raise SourceError(
            f"{path}: camera {name} was recorded without its video; record it with "
            "`streamvis run --record`, or replay its source",
            "no_video",
        )
    kept = () if own.get("loop") else ("start", "end", "max_frames")
    return {"uri": str(path.absolute()), **{key: own[key] for key in kept if key in own}}


def _chosen(
    source: Path, sources: dict[str, dict[str, Any]], cameras: Sequence[str]
) -> dict[str, dict[str, Any]]:
    unknown = [name for name in cameras if name not in sources]
    if unknown or not sources:
        raise SourceError(
            f"{source} has no camera {unknown[0] if unknown else 'at all'}; "
            f"it has {', '.join(sources) or 'none'}",
            "not_found",
        )
    return {name: own for name, own in sources.items() if name in (cameras or sources)}


def _windowed(own: dict[str, Any], options: ReplayOptions) -> dict[str, Any]:
    window: dict[str, Any] = {"loop": options.loop}
    if options.start_ns:
        window["start"] = f"{options.start_ns}ns"
    if options.end_ns is not None:
        window["end"] = f"{options.end_ns}ns"
    if options.max_frames is not None:
        window["max_frames"] = options.max_frames
    return {**own, **window}


def _runtime(base: dict[str, Any], options: ReplayOptions) -> dict[str, Any]:
    runtime = dict(base.get("runtime", {}))
    if not (options.as_recorded or options.speed):
        runtime["workers"] = 1  # what makes a replay reproducible
    if options.runtime:
        runtime["kind"] = options.runtime
    return runtime


def _outputs(options: ReplayOptions) -> list[dict[str, Any]]:
    outputs = []
    if options.address:
        outputs.append({"publish": {"address": options.address}})
    if options.mosaic:
        outputs.append({"mosaic": {"path": str(options.mosaic.absolute())}})
    if options.record:
        outputs.append({"record": {"dir": str(options.record.absolute())}})
    return outputs
