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
from av.bitstream import BitStreamFilterContext
from conftest import STREET
from wire_samples import ORIGIN, T0_NS, make_messages, make_packet, make_result

from streamvis import wire
from streamvis.record.archive import Archive
from streamvis.record.config import RecordConfig
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


def street_units(camera: str = "front", count: int = 20) -> Iterator[AccessUnit]:
    """The drive's own access units, Annex-B, with capture times."""
    with av.open(str(STREET / f"{camera}.mp4")) as container:
        stream = container.streams.video[0]
        to_annex_b = BitStreamFilterContext("h264_mp4toannexb", stream)
        index = 0
        for demuxed in container.demux(stream):
            for packet in to_annex_b.filter(demuxed if demuxed.size else None):
                if index == count:
                    return
                yield AccessUnit(
                    index=index,
                    codec="h264",
                    data=bytes(packet),
                    extradata=b"",
                    is_key=packet.is_keyframe,
                    is_reordered=False,
                    pts=packet.pts,
                    dts=packet.dts,
                    time_base=Fraction(stream.time_base),
                    size=(stream.width, stream.height),
                    capture=CaptureTime(t_of(index), "device", 1000),
                )
                index += 1


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
    cameras: tuple[str, ...] = ("front",), count: int = 20, lost: tuple[int, ...] = ()
) -> Iterator[AnyMessage]:
    """What a pipeline publishes; `lost` frames of the first camera never reached the gate."""
    yield make_info(cameras)
    units = {camera: list(street_units(camera, count)) for camera in cameras}
    seq = 0
    for index in range(count):
        for camera in cameras:
            unit = units[camera][index]
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
    """One of each kind that is about no frame."""
    samples = make_messages()
    for kind in ("stat", "sync", "hb"):
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
