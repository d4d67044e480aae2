"""The stage: cameras, the session as users start it, and two subscribers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from drama.processes import workers
from drama.record import Books, Record, Stalled
from drama.witness import Witness
from rtsp_server import RtspCamera

from streamvis.serve.control_socket import ask

REPO = Path(__file__).resolve().parents[2]
STREET = REPO / "pipelines/drives/street"
GOP = 10  # frames
PATIENCE_S = 60.0
_GRACE_S = 30.0  # for a process that was asked to end
_IDLE = 0.2  # of a core: less is at rest
_POLL_S = 0.25


@dataclass(frozen=True)
class Plan:
    """How large the scene is, and how long its pauses are."""

    cameras: tuple[str, ...] = ("front", "front_left", "left", "back")
    fps: float = 8.0  # of each camera: two cores have some reserve
    input_size: tuple[int, int] = (640, 384)
    first_calm_s: float = 8.0
    calm_s: float = 4.0  # between two acts
    away_s: float = 5.0  # the server
    stopped_s: float = 8.0  # the subscriber
    guest_s: float = 5.0  # the camera that is added
    settle_s: float = 1.0  # after an act


class BrokenOff(Exception):
    """What the scene waits for never came."""


class Scene:
    """Everything that runs. While it waits it calls `tick`, a few times a second."""

    def __init__(self, plan: Plan, folder: Path, log: Path) -> None:
        """Starts everything. `folder` is for sockets; the session's log goes to `log`."""
        self.plan = plan
        self.record = Record()
        self.tick: Callable[[], None] = lambda: None
        self._folder = folder
        self._control = f"ipc://{folder}/control"
        self._stack = ExitStack()
        with ExitStack() as stack:
            self.cameras = {name: self._camera(stack, name) for name in plan.cameras}
            self._spread_phases()
            address = f"ipc://{folder}/out"
            self.witness = Witness(address)
            stack.callback(self.witness.close)
            self.stalled = _python(stack, Path(__file__).with_name("stalled.py"), address)
            self.session = self._start_session(stack, log)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """End it cleanly; what is left after a while is killed."""
        self._stack.close()

    def wait(self, is_there: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
        """Whether it came in time."""
        deadline_s = time.monotonic() + patience_s
        while not self.witness.wait(is_there, _POLL_S):
            self.tick()
            if self.session.poll() is not None:
                raise BrokenOff("the session ended by itself")
            if time.monotonic() > deadline_s:
                return False
        return True

    def until(self, is_there: Callable[[], bool], what: str) -> None:
        """Raises BrokenOff when it does not come."""
        if not self.wait(is_there):
            raise BrokenOff(f"never seen: {what}")

    def pause(self, seconds: float) -> None:
        """Let it run."""
        self.wait(lambda: False, seconds)

    def order(self, verb: str, **words: Any) -> None:
        """To the session, over its control socket, as `streamvis source` does."""
        ask(self._control, {"verb": verb, **words})

    def add_camera(self, name: str) -> None:
        """One camera more: it plays what the first one plays."""
        first = self.plan.cameras[0]
        self.cameras[name] = self._camera(self._stack, name, film=first)
        self.order("add", name=name, source={"uri": self.cameras[name].url})

    def until_all_live(self) -> None:
        """Results of each camera, and a warm spare that is at rest."""
        for name in self.plan.cameras:
            self.until(lambda name=name: bool(self.witness.lately(name, 1.0)), f"{name}")
        self.until_spare_is_warm()

    def until_spare_is_warm(self) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not self._is_spare_warm():
            if time.monotonic() > deadline_s:
                raise BrokenOff("never seen: a warm spare")

    def _is_spare_warm(self) -> bool:
        """It has loaded what it needs: for a second it computes nothing."""
        before = {spare.pid: spare.cpu_s for spare in workers(self.session.pid)[1:]}
        self.pause(1.0)
        after = {spare.pid: spare.cpu_s for spare in workers(self.session.pid)[1:]}
        return any(pid in before and cpu_s - before[pid] < _IDLE for pid, cpu_s in after.items())

    def finish(self) -> Record:
        """Stop the session and collect what everybody counted."""
        self.session.send_signal(signal.SIGTERM)
        self.until_ended()
        summary = json.loads((self._folder / "summary.json").read_text())
        counted = self._what_stalled_counted()
        self.witness.close()
        record = self.record
        record.books = {
            name: self._books(name, about) for name, about in summary["cameras"].items()
        }
        record.results = self.witness.results
        record.witness_got = self.witness.num_messages
        record.witness_missed = self.witness.num_missed
        record.stalled = Stalled(**counted)
        record.num_worker_deaths = summary["worker_deaths"]
        record.problems += summary["problems"]
        return record

    def _what_stalled_counted(self) -> dict[str, int]:
        try:
            counted: dict[str, int] = json.loads(self.stalled.communicate(timeout=_GRACE_S)[0])
        except subprocess.TimeoutExpired:
            raise BrokenOff("the stopped subscriber never saw the end") from None
        return counted

    def until_ended(self) -> None:
        deadline_s = time.monotonic() + _GRACE_S
        while self.session.poll() is None:
            self.witness.wait(lambda: False, _POLL_S)
            self.tick()
            if time.monotonic() > deadline_s:
                raise BrokenOff("the session did not stop")

    def _books(self, name: str, about: dict[str, Any]) -> Books:
        camera = self.cameras[name]
        keys = ("source_frames", "published", "in_flight", "lost")
        return Books(
            *(about[key] for key in keys),
            sent=len(camera.frames_sent),
            connections=camera.num_plays,
        )

    def _camera(self, stack: ExitStack, name: str, film: str = "") -> RtspCamera:
        path = STREET / f"{film or name}.mp4"
        camera = RtspCamera(fps=self.plan.fps, gop=GOP, film=path, path=f"/{name}")
        assert camera.units, "read before anybody waits for it"
        return stack.enter_context(camera)

    def _spread_phases(self) -> None:
        """Cameras that take their pictures in one moment would wait for each other."""
        interval_s = 1 / self.plan.fps / len(self.cameras)
        for number, camera in enumerate(self.cameras.values()):
            camera.began_s += number * interval_s

    def _start_session(self, stack: ExitStack, log: Path) -> subprocess.Popen[str]:
        pipeline = self._folder / "drama.yaml"
        pipeline.write_text(yaml.safe_dump(self._pipeline()))
        output = stack.enter_context(log.open("w"))
        session = subprocess.Popen(
            [
                *(sys.executable, "-m", "streamvis.cli.main", "run", str(pipeline)),
                *("--summary", str(self._folder / "summary.json"), "--wait-subscribers", "2"),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is for the scene, which ends it
        )
        stack.callback(_end_session, session)
        return session

    def _pipeline(self) -> dict[str, Any]:
        """As pipelines/av_4cam.yaml, with live cameras and a warm spare."""
        configs = REPO / "configs"
        return {
            "version": 1,
            "name": "drama",
            "runtime": {"kind": "ray", "workers": 1, "spares": 1, "run_until": "stopped"},
            "sources": {name: {"uri": camera.url} for name, camera in self.cameras.items()},
            "encoder": {
                "use": str(configs / "encoders/sv_tiny.yaml"),
                "input_size": list(self.plan.input_size),
            },
            "tiling": {"use": str(configs / "tiling/changed.yaml")},
            "detector": {"use": str(configs / "detectors/bundled.yaml")},
            "control": {"socket": self._control},
            "outputs": [{"publish": f"pub+bind:ipc://{self._folder}/out"}],
        }


@contextmanager
def scene(plan: Plan, log: Path) -> Iterator[Scene]:
    """A scene that runs, and nothing left of it afterwards."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sv-drama-", dir="/tmp") as folder:
        made = Scene(plan, Path(folder), log)
        try:
            yield made
        finally:
            made.close()


def _python(stack: ExitStack, script: Path, *words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(script), *words],
        stdout=subprocess.PIPE,
        text=True,
        env=_environment(),
        start_new_session=True,
    )
    stack.callback(process.wait)
    stack.callback(process.kill)  # it may be stopped
    return process


def _environment() -> dict[str, str]:
    """Without somebody's Ray cluster: whom to kill must be a process of this scene."""
    own = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    paths = [str(REPO), own.get("PYTHONPATH", "")]
    return {**own, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _end_session(session: subprocess.Popen[str]) -> None:
    """Ends it cleanly; where that fails, everything that it started."""
    if session.poll() is None:
        session.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            session.wait(_GRACE_S)
    if session.returncode is None or session.returncode < 0:
        with suppress(ProcessLookupError):
            os.killpg(session.pid, signal.SIGKILL)
    session.wait()
