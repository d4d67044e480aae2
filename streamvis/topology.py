"""The pipeline file: everything one `streamvis run` needs to know, in one model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from streamvis.address import Address
from streamvis.config.model import ConfigModel, DurationNs, LocalPath
from streamvis.detect.config import DetectorConfig
from streamvis.encode.config import EncoderConfig
from streamvis.errors import AddressError, ConfigError
from streamvis.publish.config import OptInKind, PublishConfig
from streamvis.record.config import RecordConfig
from streamvis.source.config import LiveConfig, SourceConfig, SourceUri, is_live
from streamvis.tiling.config import TilingConfig
from streamvis.track.config import TrackerConfig
from streamvis.types import Clock
from streamvis.wire import check_name

RuntimeKind = Literal["ray", "local"]


class SourceDefaults(ConfigModel):
    """Keys that every source takes over unless it says otherwise."""

    uri: SourceUri | None = Field(default=None, repr=False)
    live: LiveConfig = LiveConfig()
    max_frames: int | None = Field(default=None, ge=1)


class RuntimeConfig(ConfigModel):
    """Where the stages run."""

    kind: RuntimeKind = Field(default="ray", description="Ray actors, or one local process")
    workers: int = Field(default=1, ge=1, description="Encoder workers; cameras are shared out")
    spread: bool = Field(
        default=False, description="ray: workers on all nodes of the cluster, encrypted"
    )
    spares: int = Field(
        default=0, ge=0, description="Workers with loaded models that wait for one to die"
    )
    worker_timeout: DurationNs = Field(
        default=15_000_000_000, gt=0, description="A worker that hangs for so long is replaced"
    )
    run_until: Literal["cameras_end", "stopped"] = Field(
        default="cameras_end",
        description="stopped: goes on without any camera, until it is told to stop",
    )
    gpus_per_worker: float | None = Field(
        default=None,
        ge=0,
        description="Whole GPUs or a fraction of one; an even share if not given",
    )
    batch_window: DurationNs = Field(
        default=4_000_000, description="How long a live batch waits for the other cameras"
    )

    @field_validator("gpus_per_worker")
    @classmethod
    def _whole_or_fraction(cls, count: float | None) -> float | None:
        if count is not None and count > 1 and count != int(count):
            raise ValueError(f"more than one GPU must be a whole number, got {count:g}")
        return count


class ControlConfig(ConfigModel):
    """How the session can be asked and ordered while it runs."""

    socket: str = Field(
        default="auto",
        description="Of `streamvis source` and `reload`: auto (a private file), off, "
        "ipc:///PATH or tcp://127.0.0.1:PORT",
    )
    http: str | None = Field(
        default=None, description="HOST:PORT for health, metrics and control; 0: any free port"
    )
    token_file: LocalPath | None = Field(
        default=None, description="Its text is asked for over HTTP; else that of STREAMVIS_TOKEN"
    )

    @field_validator("socket")
    @classmethod
    def _check_socket(cls, text: str) -> str:
        if text not in ("auto", "off") and not _parse_address(text).is_local:
            raise ValueError(f"{text} can be reached from other hosts; use http with a token there")
        return text

    @field_validator("http")
    @classmethod
    def _check_http(cls, text: str | None) -> str | None:
        if text is not None and _parse_address(f"tcp://{text}").endpoint.endswith("*"):
            raise ValueError(f"{text} names no port; 0 takes a free one")
        return text

    @property
    def http_address(self) -> tuple[str, int]:
        """(host, port)"""
        host, _, port = (self.http or "").rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def is_http_local(self) -> bool:
        return self.http is None or Address.parse(f"tcp://{self.http}").is_local


class MosaicConfig(ConfigModel):
    """A film of all cameras with boxes, and one still of it beside it."""

    path: LocalPath
    fps: float | None = Field(default=None, gt=0, description="The fastest camera's, if not given")

    @field_validator("path")
    @classmethod
    def _is_mp4(cls, path: Path) -> Path:
        if path.suffix != ".mp4":
            raise ValueError(f"a film is an .mp4 file, got {path.name}")
        return path


_OUTPUT_PATHS = (("mosaic", "path"), ("record", "dir"), ("publish", "key"), ("publish", "allow"))
SHORT_FORMS = {"publish": "address", "mosaic": "path", "record": "dir"}
_ONE_KEY = f"an output has exactly one key: {', '.join(SHORT_FORMS)}"


class OutputConfig(ConfigModel):
    """One output: exactly one key."""

    publish: PublishConfig | None = None
    mosaic: MosaicConfig | None = None
    record: RecordConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, data: Any) -> Any:
        """`publish: ADDRESS`, `mosaic: PATH` and `record: DIR` instead of a mapping; what else
        `record` may say stands beside it: `{record: DIR, keep: 24h}`."""
        if not isinstance(data, dict):
            return data
        if len(data.keys() & SHORT_FORMS.keys()) > 1:
            raise ValueError(_ONE_KEY)
        for key, inner in SHORT_FORMS.items():
            if isinstance(data.get(key), str):
                options = {k: v for k, v in data.items() if k not in SHORT_FORMS}
                return {key: {inner: data[key], **options}}
        return data

    @model_validator(mode="after")
    def _one_key(self) -> OutputConfig:
        if len(self.model_fields_set) != 1:
            raise ValueError(_ONE_KEY)
        return self


class PipelineConfig(ConfigModel):
    """A runnable topology."""

    version: Literal[1]
    name: str
    clock: Clock = Field(
        default="live",
        description="live: paced, the latest frame wins. replay: lossless and reproducible",
    )
    speed: float = Field(
        default=1.0, gt=0, description="live: seconds of a recorded source a second"
    )
    as_recorded: bool = Field(
        default=False,
        description="Repeat the drops, batches and plans of the recordings that are the sources",
    )
    runtime: RuntimeConfig = RuntimeConfig()
    defaults: SourceDefaults = SourceDefaults()
    sources: dict[str, SourceConfig] = Field(min_length=1)
    encoder: EncoderConfig = EncoderConfig()
    tiling: TilingConfig = TilingConfig()
    detector: DetectorConfig = DetectorConfig()
    tracker: TrackerConfig = TrackerConfig()
    control: ControlConfig = ControlConfig()
    outputs: list[OutputConfig] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _apply_defaults(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("sources"), dict):
            return data
        defaults = data.get("defaults")
        defaults = defaults if isinstance(defaults, dict) else {}
        known = {k: v for k, v in defaults.items() if k in SourceDefaults.model_fields}
        sources = {
            name: {**known, **(own or {})} if isinstance(own or {}, dict) else own
            for name, own in data["sources"].items()
        }
        return {**data, "sources": sources}

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return check_name(name)

    @field_validator("sources")
    @classmethod
    def _check_cameras(cls, sources: dict[str, SourceConfig]) -> dict[str, SourceConfig]:
        for name in sources:
            check_name(name)
        return sources

    @model_validator(mode="after")
    def _check_detector(self) -> PipelineConfig:
        self.detector.check_encoder(self.encoder.name)
        return self

    @model_validator(mode="after")
    def _check_outputs(self) -> PipelineConfig:
        for key in SHORT_FORMS:
            if sum(getattr(output, key) is not None for output in self.outputs) > 1:
                raise ValueError(f"outputs: at most one {key}; remove the others")
        if self.clock == "replay" and self.runtime.workers > 1 and not self.as_recorded:
            raise ValueError("clock: replay is reproducible on one worker only; set workers: 1")
        if self.clock == "replay" and any(source.is_live for source in self.sources.values()):
            raise ValueError("a live camera cannot be replayed; set clock: live, and record it")
        if self.as_recorded and self.clock != "replay":
            raise ValueError("as_recorded repeats what was: set clock: replay")
        return self

    @property
    def publish(self) -> PublishConfig:
        """The public endpoint; a free loopback port when the file names none."""
        return next((o.publish for o in self.outputs if o.publish), PublishConfig())

    @property
    def mosaic(self) -> MosaicConfig | None:
        return next((o.mosaic for o in self.outputs if o.mosaic), None)

    @property
    def record(self) -> RecordConfig | None:
        return next((o.record for o in self.outputs if o.record), None)

    @property
    def reuses_tiles(self) -> bool:
        """Whether some tiles of a frame may not be encoded."""
        return self.tiling.policy != "off"

    @property
    def opt_in(self) -> frozenset[OptInKind]:
        """The kinds of messages that are published only because somebody wants them."""
        wanted: set[OptInKind] = set(self.publish.opt_in)
        if self.record:
            wanted |= {"vid", "plan"}
        if self.mosaic:
            wanted |= {"img", "plan"} if self.reuses_tiles else {"img"}
        return frozenset(wanted)

    def without_credentials(self) -> PipelineConfig:
        """The same pipeline for processes that read no live camera."""
        sources = {name: source.without_credentials() for name, source in self.sources.items()}
        return self.model_copy(update={"sources": sources, "defaults": SourceDefaults()})

    def recording_to(self, folder: Path) -> PipelineConfig:
        """The same pipeline, recorded into `folder`; other wishes of its own record are kept."""
        record = self.record.model_copy(update={"dir": folder}) if self.record else None
        others = [output for output in self.outputs if output.record is None]
        added = OutputConfig(record=record or RecordConfig(dir=folder))
        return self.model_copy(update={"outputs": [*others, added]})

    def resolved_json(self) -> str:
        """This config so that it means the same wherever it is read: paths are absolute, what
        has a default is said. URIs are without credentials. `from_resolved` reads it back."""
        values = self.model_dump(mode="json", exclude_none=True, exclude={"defaults"})
        if self.detector.onnx is None:
            del values["detector"]["decode"]  # it may only stand beside an ONNX model
        for source in values["sources"].values():
            source["uri"] = _absolute(source["uri"])
            if not is_live(source["uri"]):
                del source["live"]
        for part, key in (("encoder", "weights"), ("detector", "onnx")):
            if key in values[part]:
                values[part][key] = _absolute(values[part][key])
        for output in values["outputs"]:
            for kind, key in _OUTPUT_PATHS:
                if key in output.get(kind, {}):
                    output[kind][key] = _absolute(output[kind][key])
        return json.dumps(values)

    @classmethod
    def from_resolved(cls, text: str) -> PipelineConfig:
        """Undo `resolved_json`; ConfigError if another version of streamvis wrote it."""
        try:
            return cls.model_validate(json.loads(text))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ConfigError(
                f"the recorded pipeline file does not fit this version: {where}: {first['msg']}; "
                "give one that does with --config"
            ) from None

    def digest(self) -> str:
        """sha256 of the resolved config, hex: two runs with one digest ran the same thing."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def _parse_address(text: str) -> Address:
    try:
        return Address.parse(text)
    except AddressError as error:
        raise ValueError(str(error)) from None


def _absolute(path: str) -> str:
    return path if "://" in path else str(Path(path).absolute())
