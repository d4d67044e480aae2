"""Streams to record: real H.264 of the committed drive, results made up, times fixed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from conftest import STREET
from wire_samples import ORIGIN, T0_NS, make_messages, make_packet, make_result

from streamvis import wire
from streamvis.record.archive import Archive
from streamvis.record.config import RecordConfig
from streamvis.source.bitstream import UnitWriter
from streamvis.types import AccessUnit, CameraInfo, CaptureTime, Intrinsics, ModelId, SourceCounts
from streamvis.wire import (
    ALL_CAMERAS,
    AnyMessage,
    DetMessage,
    EmbMessage,
    InfoMessage,
    PlanMessage,
    VidMessage,
)

NOW_NS = 1_763_700_000_000_000_000  # of receipt: long after the frames were captured
FPS = 15  # of the committed drive
NONE = CaptureTime(0, "none", 0)


def t_of(index: int) -> int:
    """A frame's capture time, Unix ns."""
    return T0_NS + round(Fraction(index, FPS) * 1_000_000_000)


def street_units(camera: str = "front", count: int = 20) -> list[AccessUnit]:
    return file_units(STREET / f"{camera}.mp4")[:count]


def file_units(path: Path) -> list[AccessUnit]:
    """The file's own access units, as a source hands them out, with capture times."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        writer = UnitWriter(stream)
        packets = [packet for packet in container.demux(stream) if packet.size]
        return [_unit(writer, stream, packet, index) for index, packet in enumerate(packets)]


def _unit(writer: UnitWriter, stream: av.VideoStream, packet: av.Packet, index: int) -> AccessUnit:
    return AccessUnit(
        index=index,
        codec=writer.codec,
        is_key=packet.is_keyframe,
        data=writer.data(packet),
        extradata=writer.extradata,
        is_reordered=False,
        pts=packet.pts,
        dts=packet.dts,
        time_base=Fraction(stream.time_base),
        size=(stream.width, stream.height),
        capture=CaptureTime(t_of(index), "device", 1000),
    )


def make_info(cameras: tuple[str, ...] = ("front",)) -> InfoMessage:
    lens = Intrinsics(400.0, 400.0, 320.0, 180.0)
    config = {"version": 1, "name": "av_4cam", "sources": {name: {} for name in cameras}}
    return InfoMessage(
        origin=ORIGIN,
        camera=ALL_CAMERAS,
        seq=0,
        config=json.dumps(config),
        model=ModelId("sv_tiny", "ab" * 32),
        cameras={name: CameraInfo(640, 360, 10.0, "h264", 20, lens) for name in cameras},
    )


def make_stream(
    cameras: tuple[str, ...] = ("front",),
    count: int = 20,
    lost: tuple[int, ...] = (),
    units: list[AccessUnit] | None = None,
) -> Iterator[AnyMessage]:
    """What a pipeline publishes; `lost` frames of the first camera never reached the gate.
    `units` stand in for the drive's."""
    yield make_info(cameras)
    streams = {camera: units or street_units(camera, count) for camera in cameras}
    seq = 0
    for index in range(len(streams[cameras[0]])):
        for camera in cameras:
            unit = streams[camera][index]
            vid = VidMessage(origin=ORIGIN, camera=camera, seq=index, unit=unit)
            yield vid
            if camera == cameras[0] and index in lost:
                continue
            yield from _of_frame(camera, unit, seq if camera == cameras[0] else index)
        seq += index not in lost


def _of_frame(camera: str, unit: AccessUnit, seq: int) -> Iterator[AnyMessage]:
    about = {"pts": unit.pts, "time_base": unit.time_base, "capture": unit.capture}
    packet = replace(
        make_packet(2, 3), camera=camera, frame_index=unit.index, **about, counts=SourceCounts()
    )
    yield PlanMessage.of(packet, unit.index, ORIGIN, seq)
    result = replace(make_result(unit.index, camera), **about, source_size=(640, 360))
    yield DetMessage.of(result, ORIGIN, seq)
    yield EmbMessage.of(result, ORIGIN, seq)


def write_archive(folder: Path, messages: Iterator[AnyMessage], **options: object) -> Archive:
    """Recorded, as if 10 ms passed between two messages; not closed."""
    config = RecordConfig.model_validate({"dir": folder, "min_free": 0, **options})
    archive = Archive(config, "av_4cam", NOW_NS)
    for number, message in enumerate(messages):
        parts = [bytes(part) for part in wire.encode(message)]
        archive.write(wire.peek(parts), parts, NOW_NS + number * 10_000_000)
    return archive


def record(folder: Path, messages: Iterator[AnyMessage], **options: object) -> Path:
    """The folder of a finished recording."""
    archive = write_archive(folder, messages, **options)
    archive.close()
    return archive.path


def others() -> Iterator[AnyMessage]:
    """One of each kind that `make_stream` has none of."""
    samples = make_messages()
    for kind in ("sem", "stat", "sync", "hb"):
        yield samples[kind]


@contextmanager
def small_disk(folder: Path, num_bytes: int) -> Iterator[Path]:
    """A file system of this size; the test is skipped where none may be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={num_bytes}", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a file system is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
