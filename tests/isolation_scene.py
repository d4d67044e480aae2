"""Four live cameras, of which one fails in every way, in turns with quiet times. What the other
three did in each time is what isolation is about."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import psutil
from live_samples import QUICK
from rtsp_server import RtspCamera
from running import Running, running

from streamvis.topology import PipelineConfig
from streamvis.wire import DetMessage

CONTROLS = ("a", "b", "c")
FAULTY = "x"


@dataclass(frozen=True)
class Turn:
    """What the controls' subscriber saw in one stretch of time."""

    fault: str  # "" is quiet
    num_results: int
    num_missing: int  # frames whose number never came
    latency_p99_ms: float  # ingest to the subscriber
    between_p99_ms: float  # two results of one camera


class Scene:
    """The session runs, and its faulty camera obeys."""

    def __init__(self, run: Running, faulty: RtspCamera) -> None:
        self.run = run
        self._server = faulty
        self._source = {"uri": faulty.url, "live": QUICK}

    @property
    def faults(self) -> dict[str, Callable[[float], None]]:
        """By name; each takes how long it lasts, s, and returns when it began to heal."""
        return {
            "server down": self._go_down,
            "server mute": self._go_mute,
            "stream damaged": self._spoil,
            "decoder killed": lambda _: self._signal(signal.SIGKILL),
            "decoder hangs": lambda _: self._signal(signal.SIGSTOP),
            "removed, added": self._come_and_go,
        }

    def turn(self, fault: str, lasts_s: float) -> Turn:
        """One fault from its beginning until the camera is there again, or as long a quiet."""
        begin_s = monotonic()
        if fault:
            self.faults[fault](lasts_s)
            self.run.more_results(FAULTY, 2)
        self.pause(begin_s + lasts_s - monotonic())
        return self._seen(fault, begin_s, monotonic())

    def add(self) -> None:
        self.run.session.control.add(FAULTY, self._source)
        self.run.more_results(FAULTY, 5)

    def remove(self) -> None:
        self.run.session.control.remove(FAULTY)
        self.run.until(lambda: FAULTY not in self.run.states(), "a heartbeat without it")

    def pause(self, duration_s: float) -> None:
        until_s = monotonic() + duration_s
        self.run.until(lambda: monotonic() >= until_s, "the end of a pause")

    def _go_down(self, lasts_s: float) -> None:
        self._server.down()
        self.pause(lasts_s / 2)
        self._server.up()

    def _go_mute(self, lasts_s: float) -> None:
        self._server.mode = "mute"
        self._server.hang_up()
        self.pause(lasts_s / 2)
        self._server.mode = "serve"
        self._server.hang_up()

    def _spoil(self, lasts_s: float) -> None:
        rng = np.random.default_rng(0)
        self._server.spoil = lambda payload: _flip_bits(payload, rng)
        self.pause(lasts_s / 2)
        self._server.spoil = None

    def _signal(self, number: signal.Signals) -> None:
        self._decoder().send_signal(number)

    def _come_and_go(self, lasts_s: float) -> None:
        self.remove()
        self.pause(lasts_s / 2)
        self.add()

    def _decoder(self) -> psutil.Process:
        """Whoever is connected to the camera, wherever the session started it."""
        port = int(self._server.url.rpartition(":")[2].partition("/")[0])
        children = psutil.Process(os.getpid()).children(recursive=True)
        return next(child for child in children if port in _remote_ports(child))

    def _seen(self, fault: str, begin_s: float, end_s: float) -> Turn:
        latencies_ms: list[float] = []
        between_ms: list[float] = []
        num_missing = 0
        for camera in CONTROLS:
            came_s, seen = self._arrivals(camera, begin_s, end_s)
            ingest_ns = [message.stamps_ns["ingest"] for message in seen]
            latencies_ms += [t * 1e3 - ns / 1e6 for t, ns in zip(came_s, ingest_ns, strict=True)]
            between_ms += (np.diff(came_s) * 1e3).tolist()
            num_missing += int(np.sum(np.diff([message.frame_index for message in seen]) - 1))
        latency, between = (
            float(np.percentile(values, 99)) for values in (latencies_ms, between_ms)
        )
        return Turn(fault, len(latencies_ms), num_missing, latency, between)

    def _arrivals(
        self, camera: str, begin_s: float, end_s: float
    ) -> tuple[list[float], list[DetMessage]]:
        """When which results came; with the last one before, so that no gap hides between turns."""
        came = [
            (t, message)
            for t, message in zip(list(self.run.arrived_s), list(self.run.messages), strict=False)
            if isinstance(message, DetMessage) and message.camera == camera
        ]
        first = max(0, sum(t < begin_s for t, _ in came) - 1)
        inside = [(t, message) for t, message in came[first:] if t <= end_s]
        return [t for t, _ in inside], [message for _, message in inside]


@contextmanager
def scene(folder: Path, fps: float, **config: Any) -> Iterator[Scene]:
    """The three controls run; the faulty one is not there yet."""
    with ExitStack() as stack:
        servers = {name: stack.enter_context(RtspCamera(fps=fps)) for name in (*CONTROLS, FAULTY)}
        made = PipelineConfig.model_validate(
            {
                "version": 1,
                "name": "isolation",
                "sources": {name: {"uri": servers[name].url} for name in CONTROLS},
                "outputs": [{"publish": f"pub+bind:ipc://{folder}/out"}],
                **config,
            }
        )
        run = stack.enter_context(running(made, kinds=("det", "hb")))
        for name in CONTROLS:
            run.more_results(name, 10)
        yield Scene(run, servers[FAULTY])


def _flip_bits(payload: bytes, rng: np.random.Generator) -> bytes:
    """A few in the payload's body; its head still says what it is."""
    data = bytearray(payload)
    for at in rng.integers(2, max(3, len(data)), 3):
        if at < len(data):
            data[at] ^= 1 << int(rng.integers(8))
    return bytes(data)


def _remote_ports(process: psutil.Process) -> set[int]:
    try:
        return {c.raddr.port for c in process.net_connections("tcp") if c.raddr}
    except psutil.Error:
        return set()
