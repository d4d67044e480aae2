"""One run of a pipeline, whatever it runs on: the outputs, the engine, and the way to the end."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import zmq

from streamvis.client.curve import RunKeys
from streamvis.errors import RuntimeStartError, SourceError, StreamvisError
from streamvis.publish.proxy import Proxy
from streamvis.record.recorder import Recorder, RecordSummary
from streamvis.runtime.control import Control
from streamvis.runtime.engine import BeginLife, Engine, Hops, ShouldStop, Stopped
from streamvis.runtime.film import Film
from streamvis.runtime.ledger import CameraStatus
from streamvis.runtime.quiet_memory import settle_memory, unsettle_memory
from streamvis.runtime.quiet_threads import wait_quietly
from streamvis.runtime.roster import Roster
from streamvis.topology import PipelineConfig

OnStatus = Callable[[str, str], None]  # phase, address

_POLL_S = 0.25
_STOP_PATIENCE_S = 10.0


@dataclass(frozen=True)
class RunSummary:
    """What `--summary` writes."""

    name: str
    address: str
    clock: str
    runtime: str
    cameras: list[CameraStatus]
    duration_s: float  # from the first frame's release to the end
    start_to_first_result_s: float | None
    film: Path | None
    recording: RecordSummary | None
    problems: list[StreamvisError]  # what went wrong without ending the run
    num_worker_deaths: int  # encoder workers that were replaced

    @property
    def exit_code(self) -> int:
        return max((problem.exit_code for problem in self.problems), default=0)

    def to_dict(self) -> dict[str, object]:
        first = self.start_to_first_result_s
        return {
            "name": self.name,
            "address": self.address,
            "clock": self.clock,
            "runtime": self.runtime,
            "duration_s": round(self.duration_s, 3),
            "start_to_first_result_s": None if first is None else round(first, 3),
            "film": str(self.film.resolve()) if self.film else None,
            "recording": self.recording.to_dict() if self.recording else None,
            "worker_deaths": self.num_worker_deaths,
            "problems": [str(problem) for problem in self.problems],
            "cameras": {status.camera: status.to_dict() for status in self.cameras},
        }


class Session:
    """Owns everything of one run except the signals. `run` may be called once."""

    def __init__(self, config: PipelineConfig, wait_subscribers: int | None = None) -> None:
        """`wait_subscribers`, if given, beats the pipeline file's."""
        self._config = config = _share_cores(config)  # as it began
        self._began_ns = time.monotonic_ns()
        self._start_ns: int | None = None  # of the first frame's release
        self._film: Film | None = None
        self._recorder: Recorder | None = None
        self._problems: list[StreamvisError] = []
        self.phase = "loading"  # waiting, running, stopping
        self.address = ""  # where it publishes, once that is bound
        self.turned_s = time.monotonic()  # when it last looked around
        self._num_worker_deaths = 0
        publish = config.publish
        wanted = publish.wait_subscribers if wait_subscribers is None else wait_subscribers
        own = (config.mosaic is not None) + (config.record is not None)  # they subscribe too
        self._num_wanted = wanted + own
        self._roster = Roster(config)
        self.ledger = self._roster.ledger
        self.control = Control(config, self._roster)
        self._run_keys = RunKeys.fresh() if config.runtime.spread else None

    def run(
        self,
        on_status: OnStatus | None = None,
        should_stop: ShouldStop = lambda: False,
    ) -> RunSummary:
        """Until every camera has ended or `should_stop`.

        `on_status(phase, address)` is called a few times a second, with phase loading, waiting,
        running or stopping. Raises StreamvisError if the run as a whole is not possible.
        """
        self._on_status = on_status or _say_nothing
        with ExitStack() as stack:  # undone from the last line to the first, whatever happens
            folder = stack.enter_context(_run_folder())
            stack.callback(unsettle_memory)
            stack.callback(self._join_outputs)
            proxy = stack.enter_context(self._proxy(folder))
            self._start_film(proxy.own_address)
            self._start_recorder(proxy.own_address)
            hops = Hops(proxy.backend, folder, self._run_keys)
            engine = _make_engine(self._config, hops, self.ledger.begin_life)
            stack.callback(engine.close)
            stack.callback(self._note_cameras, engine)
            self.control.attach(engine)
            stack.callback(self.control.close)
            stack.callback(self._tell, "stopping", proxy.address)
            with suppress(Stopped):
                self._drive(engine, proxy, should_stop)
        return self._summary(proxy.address)

    def _tell(self, phase: str, address: str) -> None:
        self.turned_s = time.monotonic()  # first: who sees the phase must not see an old one
        self.phase, self.address = phase, address
        self._on_status(phase, address)

    @property
    def num_worker_deaths(self) -> int:
        """Encoder workers that were replaced so far."""
        return self._num_worker_deaths

    def _drive(self, engine: Engine, proxy: Proxy, should_stop: ShouldStop) -> None:
        self._tell("loading", proxy.address)
        engine.open(should_stop)
        settle_memory()
        self._note_cameras(engine)
        self._wait_for_subscribers(proxy, should_stop)
        self._start_ns = time.monotonic_ns()
        engine.start()
        self.control.open()
        try:
            self._watch(engine, proxy, should_stop)
        except RuntimeStartError as error:  # it ran: what it did is still worth telling
            self._problems.append(error)

    def _start_film(self, address: str) -> None:
        if self._config.mosaic:
            self._film = Film(self._config, address)
            self._film.start()

    def _start_recorder(self, address: str) -> None:
        config = self._config
        if config.record:
            self._recorder = Recorder(
                config.record, address, config.name, is_lossless=config.clock == "replay"
            )
            self._recorder.start()

    def _join_outputs(self) -> None:
        if self._film:
            self._film.join()
        if self._recorder:
            self._recorder.join()

    def _proxy(self, folder: Path) -> Proxy:
        return Proxy(
            self._config.publish,
            f"tcp://{_own_address()}:0" if self._run_keys else f"ipc://{folder}/results",
            zmq.Context.instance(),
            run_keys=self._run_keys,
            heart=self._roster.heart,
            observers=self._roster.observers,
            is_lossless=self._config.clock == "replay",
        )

    def _watch(self, engine: Engine, proxy: Proxy, should_stop: ShouldStop) -> None:
        deadline: float | None = None
        while not engine.wait(_POLL_S):
            _check_alive(proxy)
            proxy.bury(engine.dead_epochs)
            self.control.obey()
            self._note_cameras(engine)
            self._tell("stopping" if deadline else "running", proxy.address)
            if deadline is None and should_stop():
                self.control.close()
                engine.stop()
                deadline = time.monotonic() + _STOP_PATIENCE_S
            if deadline is not None and time.monotonic() > deadline:
                return

    def _note_cameras(self, engine: Engine) -> None:
        self._num_worker_deaths = engine.num_worker_deaths
        self._roster.note(engine.reports())
        self.control.see_gone()

    def _wait_for_subscribers(self, proxy: Proxy, should_stop: ShouldStop) -> None:
        while not proxy.wait_for_subscribers(self._num_wanted, _POLL_S):
            _check_alive(proxy)
            self._tell("waiting", proxy.address)
            if should_stop():
                raise Stopped

    def _summary(self, address: str) -> RunSummary:
        config, film, recorder = self._config, self._film, self._recorder
        first_ns, began_ns = self.ledger.first_result_ns, self._began_ns
        cameras = self.ledger.status()
        self._problems.extend(
            SourceError(f"camera {status.camera}: {status.error}", status.state)
            for status in cameras
            if status.is_failed
        )
        if film and film.error:
            self._problems.append(film.error)
        if recorder and recorder.error:
            self._problems.append(recorder.error)
        return RunSummary(
            name=config.name,
            address=address,
            clock=config.clock,
            runtime=config.runtime.kind,
            cameras=cameras,
            duration_s=(time.monotonic_ns() - (self._start_ns or time.monotonic_ns())) / 1e9,
            start_to_first_result_s=(first_ns - began_ns) / 1e9 if first_ns else None,
            film=config.mosaic.path if config.mosaic and film and film.num_frames else None,
            recording=recorder.summary if recorder else None,
            problems=self._problems,
            num_worker_deaths=self._num_worker_deaths,
        )


def _check_alive(proxy: Proxy) -> None:
    if not proxy.is_running:
        raise RuntimeStartError("the proxy ended; see the log above, and report it")


def _own_address() -> str:
    """Under which the nodes of the cluster that RAY_ADDRESS names reach this host."""
    host, _, port = os.environ.get("RAY_ADDRESS", "127.0.0.1:1").rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, int(port)))  # sends nothing
        except (OSError, ValueError) as error:
            raise RuntimeStartError(
                f"RAY_ADDRESS is no HOST:PORT that can be reached from here ({error}); check it"
            ) from None
        return str(probe.getsockname()[0])


def _say_nothing(phase: str, address: str) -> None:
    del phase, address


def _make_engine(config: PipelineConfig, hops: Hops, begin_life: BeginLife) -> Engine:
    if config.runtime.kind == "local":
        wait_quietly()
        from streamvis.runtime.local_engine import LocalEngine  # torch

        return LocalEngine(config, hops, begin_life)
    from streamvis.runtime.ray_engine import RayEngine  # Ray

    return RayEngine(config, hops, begin_life)


def _share_cores(config: PipelineConfig) -> PipelineConfig:
    """The workers share this host's cores, unless the config says how many threads each. Said in
    the config, because a replay on other cores must use as many: sums depend on it."""
    cores = len(os.sched_getaffinity(0))
    workers = config.runtime.workers if config.runtime.kind == "ray" else 1
    threads = config.encoder.threads or max(1, cores // workers)
    encoder = config.encoder.model_copy(update={"threads": threads})
    return config.model_copy(update={"encoder": encoder})


@contextmanager
def _run_folder() -> Iterator[Path]:
    """Where this run's sockets lie: private, short enough for a socket's path, gone afterwards.
    Its name tells whose it is, should a `kill -9` leave it behind."""
    folder = Path(tempfile.mkdtemp(prefix=f"sv-{os.getpid()}-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
