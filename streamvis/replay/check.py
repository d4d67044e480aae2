"""Does a recording, replayed, give what it gave? Equal under wire.canonical(), or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamvis import wire
from streamvis.errors import ConfigError
from streamvis.record.reader import Recording
from streamvis.replay.collect import collect
from streamvis.replay.compare import FrameKey, Log, Tolerance, as_log, differences
from streamvis.replay.config import ReplayOptions, replay_config
from streamvis.source.recorded import is_recording

KINDS = ("det", "emb", "plan")
_EXACT = Tolerance(box_px=0, score=0, embedding_cosine=1)
_NO_THRESHOLD = -1.0  # every detection counts


@dataclass(frozen=True)
class Check:
    """What a comparison found."""

    num_messages: int  # recorded or replayed
    num_differ: int
    first: str  # difference; empty if there is none
    is_tolerable: bool  # nothing differs by more than `regress` allows


def check_repeat(source: Path, options: ReplayOptions) -> Check:
    """Replay the recording without outputs, and compare. Raises ConfigError or SourceError."""
    if not is_recording(source):
        raise ConfigError(f"{source} is no recording: --check has nothing to compare with")
    config = replay_config(source, options)
    stored = Recording.open(source).messages(KINDS)
    before = as_log(wire.decode(message.parts) for message in stored)
    after = as_log(collect(config, KINDS))
    keys = sorted(before.keys() | after.keys(), key=lambda key: (key[1], key[0]))
    names = [(key, kind) for key in keys for kind in KINDS]
    pairs = {
        (key, kind): (_bytes(before, key, kind), _bytes(after, key, kind)) for key, kind in names
    }
    differ = [name for name, (was, now) in pairs.items() if was != now]
    coarse = differences(before, after, list(config.sources), Tolerance(), config.detector.score)
    return Check(
        num_messages=sum(pair != (None, None) for pair in pairs.values()),
        num_differ=len(differ),
        first=_describe(before, after, *differ[0]) if differ else "",
        is_tolerable=not any(coarse),
    )


def _describe(before: Log, after: Log, key: FrameKey, kind: str) -> str:
    was, now = ({key: log.get(key, {})} for log in (before, after))
    of_kind = (
        str(found)
        for found in differences(was, now, [key[0]], _EXACT, _NO_THRESHOLD)
        if found.field.split(".")[0] == kind
    )
    camera, frame_index = key
    return next(of_kind, f"{camera} frame {frame_index} {kind}: rounding, or the order of objects")


def _bytes(log: Log, key: FrameKey, kind: str) -> bytes | None:
    message = log.get(key, {}).get(kind)
    return wire.canonical(wire.encode(message)) if message else None
