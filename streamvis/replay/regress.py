"""A replay against its stored reference: did anything change that nobody meant to change?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field, model_validator

from streamvis import wire
from streamvis.config.load import load_config
from streamvis.config.model import ConfigModel, LocalPath
from streamvis.detect.config import DetectorConfig
from streamvis.encode.config import EncoderConfig
from streamvis.errors import SourceError
from streamvis.record.channels import Entry, wire_channel
from streamvis.record.reader import Recording
from streamvis.record.segment import Segment
from streamvis.render.output_file import output_error
from streamvis.replay.check import KINDS
from streamvis.replay.collect import collect
from streamvis.replay.compare import Difference, Logged, Tolerance, as_log, differences
from streamvis.replay.config import ReplayOptions, replay_config
from streamvis.tiling.config import TilingConfig
from streamvis.topology import PipelineConfig
from streamvis.track.config import TrackerConfig
from streamvis.wire import AnyMessage, Origin, PlanMessage

CASE, REFERENCE = "regress.yaml", "reference.mcap"
_ORIGIN = Origin("regress", "0" * 32, "reference")  # what differs between two replays is left out


class RegressCase(ConfigModel):
    """DIR/regress.yaml."""

    drive: LocalPath | None = Field(default=None, description="A drive folder")
    recording: LocalPath | None = Field(default=None, description="Or a recording")
    cameras: tuple[str, ...] = Field(default=(), description="All if left out")
    max_frames: int | None = Field(default=None, ge=1, description="Of each camera")
    encoder: EncoderConfig = EncoderConfig(dtype="fp32")
    tiling: TilingConfig = TilingConfig()
    detector: DetectorConfig = DetectorConfig()
    tracker: TrackerConfig = TrackerConfig()
    tolerance: Tolerance = Tolerance()

    @model_validator(mode="after")
    def _check_source(self) -> RegressCase:
        if (self.drive is None) == (self.recording is None):
            raise ValueError("give a drive or a recording, one of them")
        return self

    @property
    def source(self) -> Path:
        path = self.drive or self.recording
        assert path is not None, "checked above"
        return path

    def pipeline(self) -> PipelineConfig:
        """Lossless, in one process: what it gives depends on nothing but itself."""
        options = ReplayOptions(cameras=self.cameras, max_frames=self.max_frames, runtime="local")
        stages = {
            name: getattr(self, name) for name in ("encoder", "tiling", "detector", "tracker")
        }
        return replay_config(self.source, options).model_copy(update={"name": "regress", **stages})


@dataclass(frozen=True)
class Outcome:
    """What a comparison found."""

    num_frames: int  # of all cameras, in the reference or in the replay
    num_differences: int
    num_frames_differ: int
    first: Difference | None


class Regression:
    """One case: a folder with regress.yaml and reference.mcap."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError."""
        self.reference = folder / REFERENCE
        self._case = load_config(folder / CASE, RegressCase)
        self._config = self._case.pipeline()
        self._got = [_normal(message) for message in collect(self._config, KINDS)]

    def compare(self) -> Outcome:
        """The replay against the reference; SourceError if there is none that can be read."""
        if not self.reference.is_file():
            raise SourceError(
                f"{self.reference}: there is no reference yet; make it with --update-refs",
                "not_found",
            )
        reference, got = as_log(_read(self.reference)), as_log(self._got)
        found = list(
            differences(
                reference,
                got,
                list(self._config.sources),
                self._case.tolerance,
                self._case.detector.score,
            )
        )
        frames = {(difference.camera, difference.frame_index) for difference in found}
        num_frames = len(reference.keys() | got.keys())
        return Outcome(num_frames, len(found), len(frames), found[0] if found else None)

    def update(self) -> None:
        """Make the replay's results the reference; raises OutputError and leaves the old one."""
        try:
            segment = Segment(self.reference)
            segment.add([_entry(message) for message in self._got], now_ns=0)
            segment.finish()
        except OSError as error:
            raise output_error(self.reference, error) from error


def _normal(message: AnyMessage) -> Logged:
    """Without what two replays need not have in common: so a file changes only if results do."""
    if isinstance(message, PlanMessage):
        return replace(message, origin=_ORIGIN)
    assert isinstance(message, Logged), message.kind
    return replace(message, origin=_ORIGIN, stamps_ns={"ingest": 0})


def _entry(message: Logged) -> Entry:
    t_ns = message.capture.t_ns
    data = wire.join(wire.encode(message))
    return Entry(message.topic, wire_channel(message.kind), t_ns, t_ns, message.seq, data)


def _read(path: Path) -> Iterator[AnyMessage]:
    recording = Recording.open(path)
    messages: Iterable[list[bytes]] = (m.parts for m in recording.messages(KINDS))
    yield from map(wire.decode, messages)
    if recording.damage:
        raise SourceError(f"{recording.damage}; get the file back from version control", "corrupt")
