"""A source's own access units as a recording, without a pipeline: for the tests of source."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from streamvis import wire
from streamvis.record.channels import Entry, wire_channel
from streamvis.record.segment import Segment
from streamvis.source.base import Source
from streamvis.types import AccessUnit, Frame
from streamvis.wire import ALL_CAMERAS, AnyMessage, InfoMessage, Origin, VidMessage

ORIGIN = Origin("test", "0" * 32, "clock")


def read_source(source: Source) -> tuple[list[Frame], list[AccessUnit]]:
    """All frames of a source, and the units they came from."""
    frames: list[Frame] = []
    units: list[AccessUnit] = []
    source.on_unit = units.append
    while source.grab() is not None:
        frame = source.retrieve(t_ingest_ns=0)
        if frame is not None:
            frames.append(frame)
    source.close()
    return frames, units


def record_units(
    path: Path, units: Iterable[AccessUnit], camera: str = "front", **config: object
) -> Path:
    """One file with `vid` messages and the pipeline's config."""
    about = {"version": 1, "name": "test", "sources": {camera: {"uri": "gone.mp4"}}, **config}
    info = InfoMessage(
        origin=ORIGIN,
        camera=ALL_CAMERAS,
        seq=0,
        config=json.dumps(about),
        model=None,
        cameras={},
    )
    video = [
        VidMessage(origin=ORIGIN, camera=camera, seq=i, unit=unit) for i, unit in enumerate(units)
    ]
    return write_messages(path, [info, *video])


def write_messages(path: Path, messages: Iterable[AnyMessage]) -> Path:
    segment = Segment(path)
    for message in messages:
        data = wire.join(wire.encode(message))
        channel = wire_channel(message.kind)
        segment.add([Entry(message.topic, channel, 0, 0, message.seq, data)], now_ns=0)
    segment.finish()
    return path
