"""What a recording says about each decision that the clock took, so that it can be repeated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamvis.errors import SourceError
from streamvis.record.reader import Recording
from streamvis.source.config import SYNTH_SCHEME
from streamvis.source.recorded import is_recording
from streamvis.topology import PipelineConfig
from streamvis.types import TilePlan
from streamvis.wire import PlanMessage


@dataclass(frozen=True)
class Decisions:
    """Which frames went to the back, with which tiles, and beside which others."""

    plans: dict[str, dict[int, TilePlan]]  # by camera and frame index
    batches: list[tuple[str, ...]]  # the cameras of each batch; one frame of each


def read_decisions(config: PipelineConfig, cameras: Sequence[str]) -> Decisions:
    """Of these cameras; those of other workers are in batches of their own.

    Raises SourceError when the recording does not say it all.
    """
    path = recording_of(config)
    recording = Recording.open(path)
    names = {config.sources[name].camera or name: name for name in cameras}
    plans: dict[str, dict[int, TilePlan]] = {name: {} for name in cameras}
    batches: defaultdict[tuple[str, int], list[str]] = defaultdict(list)  # by worker and number
    for message in recording.plans() if "plan" in recording.kinds else ():
        name = names.get(message.camera)
        if name is None:
            continue
        _check_follows(message, len(plans[name]), path)
        plans[name][message.frame_index] = message.plan
        batches[message.epoch, message.batch].append(name)
    if not batches:
        raise SourceError(
            f"{path}: no decisions were recorded for {', '.join(cameras)}; "
            "replay it without --as-recorded",
        )
    return Decisions(plans, [tuple(batch) for batch in batches.values()])


def recording_of(config: PipelineConfig) -> Path:
    """The one recording that the sources come from."""
    uris = {source.uri for source in config.sources.values()}
    found = sorted(u for u in uris if not u.startswith(SYNTH_SCHEME) and is_recording(Path(u)))
    if len(found) != 1:
        raise SourceError(
            f"as_recorded needs the cameras of one recording, these sources are of {len(found)}; "
            "give the folder of one recorded run, or, if all its cameras are rendered, "
            "replay it without --as-recorded",
        )
    return Path(found[0])


def _check_follows(message: PlanMessage, num_before: int, path: Path) -> None:
    if message.packet_seq != num_before:
        raise SourceError(
            f"{path}: {message.camera}: the decisions of {message.packet_seq - num_before} frames "
            f"before frame {message.frame_index} are missing, so this run cannot be repeated as "
            "it was; replay it without --as-recorded",
        )
