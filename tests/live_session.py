"""Whole live runs in the tests, and the proof from their pixels that no frame went astray."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil
from rtsp_server import RtspCamera
from running import Running, check_books

from streamvis.render.jpeg import decode_jpeg
from streamvis.runtime.session import RunSummary
from streamvis.source import framecode
from streamvis.topology import PipelineConfig
from streamvis.types import Ledger
from streamvis.wire import DetMessage, Heartbeat, ImgMessage

KINDS = ("det", "img", "info", "stat", "hb")
SIZE = (320, 192)


def live_config(
    folder: Path, uris: dict[str, str], live: dict[str, Any] | None = None, **extra: Any
) -> PipelineConfig:
    """A local run of these cameras; `live` as in the pipeline file, its defaults if not given."""
    publish = {"address": f"pub+bind:ipc://{folder}/out", "heartbeat": "50ms", "opt_in": ["img"]}
    return PipelineConfig.model_validate(
        {
            "version": 1,
            "name": "live",
            "runtime": {"kind": "local"},
            "defaults": {"live": live or {}},
            "sources": {name: {"uri": uri} for name, uri in uris.items()},
            "encoder": {"input_size": SIZE, "threads": 1},
            "tiling": {"policy": "threshold"},
            "outputs": [{"publish": publish}],
            **extra,
        }
    )


def wait_for_state(run: Running, camera: str, *states: str) -> None:
    run.until(lambda: run.states().get(camera) in states, f"{camera}: {' or '.join(states)}")


def first_result_after(run: Running, camera: str, since_ns: int) -> DetMessage:
    """Wait for a result of a frame that came in after this moment, monotonic ns."""

    def newest() -> DetMessage | None:
        results = run.results(camera)
        return results[-1] if results and results[-1].stamps_ns["ingest"] > since_ns else None

    run.until(newest, f"a result of {camera}")
    return next(m for m in run.results(camera) if m.stamps_ns["ingest"] > since_ns)


def next_key_ns(camera: RtspCamera) -> int:
    """When the next key frame is due, monotonic ns."""
    key = -(-camera.frame_now() // camera.gop) * camera.gop
    return round((camera.began_s + key / camera.fps) * 1e9)


def seconds_to_result(run: Running, name: str, camera: RtspCamera) -> float:
    """From the first key frame that the camera, well again, could send to its result."""
    since_ns, key_ns = time.monotonic_ns(), next_key_ns(camera)
    first_result_after(run, name, since_ns)
    return (time.monotonic_ns() - key_ns) / 1e9


def decode_process(camera: RtspCamera) -> psutil.Process:
    """The one that reads this camera."""
    for child in psutil.Process().children(recursive=True):
        links = child.net_connections("tcp")
        if any(link.raddr and link.raddr.port == camera.port for link in links):
            return child
    raise AssertionError(f"nobody reads the camera at port {camera.port}")


def ledger_of(summary: RunSummary, camera: str) -> Ledger:
    return next(status.ledger for status in summary.cameras if status.camera == camera)


def check_pixels(run: Running, summary: RunSummary, name: str, camera: RtspCamera) -> int:
    """Each picture is the one that its number says, none comes twice or late, and the books count
    every frame of each connection up to its newest. Returns how many frames the camera sent that
    nobody read: they were on their way when a connection ended."""
    check_books(run, summary, name)
    place = {
        frame: (play, at)
        for play, frames in enumerate(camera.plays)
        for at, frame in enumerate(frames)
    }
    damaged = {m.frame_index for m in run.results(name) if m.is_corrupt}
    pictures = [m for m in run.messages if isinstance(m, ImgMessage) and m.camera == name]
    assert [m.frame_index for m in pictures] == [m.frame_index for m in run.results(name)]
    first_index: dict[int, int] = {}  # of each connection, by the ledger
    before = (-1, -1)
    for message in pictures:
        if message.frame_index in damaged:
            continue
        code = framecode.read(decode_jpeg(message.jpeg))
        assert code is not None, f"frame {message.frame_index} shows no number"
        play, at = place[code.index]
        assert (play, at) > before, f"frame {message.frame_index} shows number {code.index}"
        before, begins = (play, at), message.frame_index - at
        assert first_index.setdefault(play, begins) == begins, "a frame too many or too few"
    assert first_index[min(first_index)] == 0
    unread = len(camera.frames_sent) - ledger_of(summary, name).source_frames
    assert unread >= 0
    return unread


def check_no_gap(run: Running, camera: str, since_ns: int) -> None:
    """Its subscriber saw nothing of what happened to others after this moment, monotonic ns."""
    results = [m for m in run.results(camera) if m.stamps_ns["ingest"] > since_ns]
    numbers = [m.frame_index for m in results]
    assert numbers == list(range(numbers[0], numbers[-1] + 1)), "a frame was lost"
    assert not any(m.is_discont or m.is_corrupt for m in results)
    beats = [m for m in run.messages if isinstance(m, Heartbeat) and (m.sent_ns or 0) > since_ns]
    assert {beat.cameras[camera].state for beat in beats} <= {"live", "ended"}
