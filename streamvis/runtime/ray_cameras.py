"""The cameras on Ray: an actor each, opened, watched, restarted when its process dies."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import ray

from streamvis.runtime.backoff import Backoff
from streamvis.runtime.camera_loop import CameraLoop
from streamvis.runtime.engine import BeginLife, Hops, TilesAt
from streamvis.runtime.ray_calls import Calls, Outcome
from streamvis.runtime.report import CameraReport, Process
from streamvis.topology import PipelineConfig

log = logging.getLogger(__name__)

_REPORT_S = 0.2
_SILENT_S = 10.0  # a process that does not answer for so long is replaced
_STOP_S = 5.0
_OPEN_S = 60.0


@dataclass(eq=False)
class _Camera:
    """One camera, from its addition to its removal; processes may come and go meanwhile."""

    name: str
    place: int  # of the worker that holds its canvas
    report: CameraReport
    actor: Any = None  # while it has a process
    process: Process | None = None  # once it is open
    began_s: float = 0.0
    told: str = ""  # how it was asked to end
    is_open: bool = False
    is_running: bool = False
    is_over: bool = False
    is_leaving: bool = False
    restart_s: float | None = None  # when to start it again
    kill_s: float | None = None  # when patience with its stop ends
    asked_s: float | None = None  # when it was asked for its report and has not answered
    report_due_s: float = 0.0
    backoff: Backoff = field(default_factory=Backoff)


class Cameras:
    """Used by one thread."""

    def __init__(
        self,
        config: PipelineConfig,
        hops: Hops,
        calls: Calls,
        begin_life: BeginLife,
        tiles_at: Callable[[int], TilesAt],
        on_gone: Callable[[int, str], None],
    ) -> None:
        """`begin_life(camera)` says where the frames of its earlier lives went, `tiles_at(place)`
        is its worker's, and `on_gone(place, camera)` is called when no more comes of it."""
        self._config = config
        self._is_live = config.clock == "live"
        self._hops = hops
        self._calls = calls
        self._begin_life = begin_life
        self._tiles_at = tiles_at
        self._on_gone = on_gone
        self._cameras: dict[str, _Camera] = {}
        self._gone: list[CameraReport] = []
        self._start_ns: int | None = None

    def open(self, options: dict[str, Any]) -> None:
        """`options` say where Ray places their actors."""
        self._actor_class = ray.remote(CameraLoop).options(**options)

    def add(self, config: PipelineConfig, name: str) -> None:
        """Begin to open one of the sources of `config`; its reports tell how it goes."""
        self._config = config
        camera = _Camera(name, self._emptiest_place(), CameraReport(name, "connecting"))
        self._cameras[name] = camera
        self._begin(camera)

    def remove(self, name: str) -> None:
        """Stop it; when that is done its last report is in `take_gone`."""
        camera = self._cameras[name]
        camera.is_leaving = True
        self._stop(camera)

    def start(self, start_ns: int) -> None:
        """Release the first frames; what opens later runs at once."""
        self._start_ns = start_ns
        for camera in self._cameras.values():
            if camera.is_open:
                self._run(camera)

    def stop(self, is_served: Callable[[int], bool]) -> None:
        """Let all of them end; those that nobody serves cannot wait for an answer."""
        for camera in list(self._cameras.values()):
            self._stop(camera, abort=not is_served(camera.place))

    def abort(self) -> None:
        """Nobody will answer any of them again."""
        for camera in list(self._cameras.values()):
            self._stop(camera, abort=True)

    def pin(self, place: int, tiles_at: TilesAt) -> None:
        """Another worker fills this place."""
        for camera in self._at(place):
            if camera.actor:
                camera.actor.pin.remote(tiles_at)

    def names_at(self, place: int) -> list[str]:
        return [camera.name for camera in self._at(place) if not camera.is_over]

    @property
    def are_opening(self) -> bool:
        return any(not (c.is_open or c.is_over) for c in self._cameras.values())

    @property
    def are_over(self) -> bool:
        return all(camera.is_over for camera in self._cameras.values())

    def reports(self, is_served: Callable[[int], bool]) -> list[CameraReport]:
        """The newest of every camera, at most a fraction of a second old."""
        return [_seen(camera, is_served(camera.place)) for camera in self._cameras.values()]

    @property
    def may_return(self) -> bool:
        """One is gone that may be about to be added again."""
        return bool(self._gone)

    def take_gone(self) -> list[CameraReport]:
        """The last reports of cameras that were removed."""
        gone, self._gone = self._gone, []
        return gone

    def tick(self, now_s: float) -> None:
        """Restart what is due, and ask for reports."""
        for camera in list(self._cameras.values()):
            if camera.restart_s is not None and now_s >= camera.restart_s:
                self._begin(camera)
            if camera.kill_s is not None and now_s >= camera.kill_s:
                self._end(camera, "cut_off")
            elif camera.is_running:
                self._ask(camera, now_s)
            elif camera.actor and not camera.is_open and now_s - camera.began_s > _OPEN_S:
                self._lose(camera, f"it was not open after {_OPEN_S:.0f} s")

    def close(self) -> None:
        for camera in self._cameras.values():
            if camera.actor:
                ray.kill(camera.actor)

    def _begin(self, camera: _Camera) -> None:
        camera.restart_s = camera.asked_s = None
        camera.began_s = time.monotonic()
        camera.backoff.began(camera.began_s)
        camera.told = ""
        camera.actor = self._actor_class.remote(
            self._config,
            camera.name,
            self._hops,
            self._begin_life(camera.name),
        )
        opening = camera.actor.open.remote()
        self._calls.start(opening, partial(self._opened, camera, camera.actor))

    def _opened(self, camera: _Camera, actor: Any, outcome: Outcome) -> None:
        if camera.actor is not actor:
            return
        if outcome.has_died:
            self._lose(camera, str(outcome.error))
        elif outcome.error is not None:
            state = getattr(outcome.error, "state", "crashed")
            camera.report = CameraReport(camera.name, state, error=str(outcome.error))
            self._end(camera)
        else:
            camera.is_open = True
            camera.process, camera.report = outcome.value
            if self._start_ns is not None:
                self._run(camera)

    def _run(self, camera: _Camera) -> None:
        camera.is_running = True
        call = camera.actor.run.remote(self._start_ns, self._tiles_at(camera.place))
        self._calls.start(call, partial(self._ended, camera, camera.actor))

    def _ended(self, camera: _Camera, actor: Any, outcome: Outcome) -> None:
        if camera.actor is not actor:
            return
        camera.is_running = False
        if outcome.error is not None:
            self._lose(camera, str(outcome.error))
            return
        self._calls.start(actor.report.remote(), partial(self._settle, camera, actor))

    def _settle(self, camera: _Camera, actor: Any, outcome: Outcome) -> None:
        """The last report: of a camera that has ended."""
        if camera.actor is actor:
            camera.report = outcome.value or camera.report
            self._end(camera)

    def _lose(self, camera: _Camera, reason: str) -> None:
        """Its process is gone. Live it is restarted; a replay could not be the same again."""
        counts = camera.report.counts
        if not self._is_live or camera.is_leaving or camera.kill_s is not None:
            error = f"{reason}; the other cameras went on"
            log.warning("camera %s: %s", camera.name, error)
            camera.report = CameraReport(camera.name, "crashed", counts, error)
            self._end(camera)
            return
        log.warning("camera %s: %s; it is restarted", camera.name, reason)
        camera.report = replace(camera.report, state="reconnecting", error=reason)
        self._drop_process(camera)
        camera.restart_s = camera.backoff.died(time.monotonic())

    def _stop(self, camera: _Camera, abort: bool = False) -> None:
        if not camera.is_running or camera.actor is None:
            self._end(camera)
            return
        how = "abort" if abort else "stop"
        if camera.told not in (how, "abort"):
            camera.told = how
            camera.actor.stop.remote(abort=abort)
        if camera.kill_s is None:
            camera.kill_s = time.monotonic() + _STOP_S

    def _end(self, camera: _Camera, state: str | None = None) -> None:
        """Nothing more will come of it."""
        if self._cameras.get(camera.name) is not camera or (
            camera.is_over and not camera.is_leaving
        ):
            return
        if state or not camera.report.is_over:
            camera.report = replace(camera.report, state=state or "ended")
        camera.is_over, camera.kill_s, camera.restart_s = True, None, None
        self._drop_process(camera)
        if camera.is_leaving:
            self._gone.append(camera.report)
            del self._cameras[camera.name]

    def _drop_process(self, camera: _Camera) -> None:
        if camera.actor is None:
            return
        ray.kill(camera.actor)
        camera.actor, camera.process, camera.is_open, camera.is_running = None, None, False, False
        self._on_gone(camera.place, camera.name)

    def _ask(self, camera: _Camera, now_s: float) -> None:
        if camera.asked_s is not None:
            if now_s - camera.asked_s > _SILENT_S:
                if camera.process:
                    camera.process.kill()
                self._lose(camera, f"its process did not answer for {_SILENT_S:g} s")
        elif now_s >= camera.report_due_s:
            camera.asked_s = now_s
            call = camera.actor.report.remote(self._tiles_at(camera.place))
            self._calls.start(call, partial(self._reported, camera, camera.actor))

    def _reported(self, camera: _Camera, actor: Any, outcome: Outcome) -> None:
        camera.asked_s = None
        camera.report_due_s = time.monotonic() + _REPORT_S
        if camera.is_running and camera.actor is actor and outcome.error is None:
            camera.report = outcome.value

    def _at(self, place: int) -> Iterable[_Camera]:
        return [camera for camera in self._cameras.values() if camera.place == place]

    def _emptiest_place(self) -> int:
        places = range(self._config.runtime.workers)
        return min(places, key=lambda place: len(list(self._at(place))))


def _seen(camera: _Camera, is_served: bool) -> CameraReport:
    """A camera is not live for anybody while nothing comes of it."""
    if not camera.is_running or is_served or camera.report.state != "live":
        return camera.report
    return replace(camera.report, state="stale", error="its worker is being replaced")
