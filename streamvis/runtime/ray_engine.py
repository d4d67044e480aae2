"""The runtime on Ray: an actor a camera, an actor an encoder worker.

Ray places, supervises and stops them; it never carries a frame. Actor methods are control, and
the data goes from actor to actor over ZeroMQ.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from streamvis.errors import RuntimeStartError, SourceError, StreamvisError
from streamvis.runtime.camera_loop import CameraLoop
from streamvis.runtime.engine import ShouldStop, Stopped
from streamvis.runtime.ray_actor import EncoderActor
from streamvis.runtime.report import CameraReport
from streamvis.topology import PipelineConfig

log = logging.getLogger(__name__)

_OBJECT_STORE_BYTES = 100 * 1024 * 1024  # control calls only
_START_LEAD_NS = 100_000_000  # so that every camera has its start time before it comes
_CONTROL_TIMEOUT_S = 5.0
_POLL_S = 0.2


class RayEngine:
    """Starts or joins a Ray cluster and runs the loops of this package as actors in it."""

    def __init__(self, config: PipelineConfig, results_endpoint: str, folder: Path) -> None:
        self._config = config
        self._results_endpoint = results_endpoint
        self._folder = folder
        self._cameras: dict[str, Any] = {}
        self._workers: list[Any] = []
        self._runs: dict[Any, str] = {}  # the running `run` calls, by what they run
        self._reports = {name: CameraReport(name, "connecting") for name in config.sources}
        self._error: StreamvisError | None = None
        # On the main thread ray.init would replace the caller's SIGTERM handler; and Ray's
        # daemons die with the thread that started them, so this one lives until `close`.
        self._ray_thread = ThreadPoolExecutor(1, thread_name_prefix="ray")

    def open(self, should_stop: ShouldStop) -> None:
        _connect(self._folder, self._ray_thread)
        _reinstall_signal_handlers()
        if should_stop():
            raise Stopped
        self._place_actors()
        loading = [worker.open.remote() for worker in self._workers]
        opening = {name: actor.open.remote() for name, actor in self._cameras.items()}
        for name, call in opening.items():
            self._await_camera(name, call, should_stop)
        for call in loading:
            _await(call, should_stop)

    def start(self) -> None:
        start_ns = time.monotonic_ns() + _START_LEAD_NS
        for number, worker in enumerate(self._workers):
            cameras = [name for name in self._cameras if self._worker_of(name) == number]
            self._runs[worker.run.remote(cameras)] = f"worker {number}"
        for name, actor in self._cameras.items():
            self._runs[actor.run.remote(start_ns)] = name

    def wait(self, timeout_s: float) -> bool:
        done, _ = ray.wait(list(self._runs), timeout=timeout_s) if self._runs else ([], [])
        for call in done:
            self._finish(call, self._runs.pop(call))
        if not self._runs and self._error is not None:
            raise self._error
        return not self._runs

    def stop(self) -> None:
        for actor in self._cameras.values():
            actor.stop.remote()

    def reports(self) -> list[CameraReport]:
        calls = {
            actor.report.remote(): name
            for name, actor in self._cameras.items()
            if not self._reports[name].is_over
        }
        if not calls:
            return list(self._reports.values())
        done, late = ray.wait(list(calls), num_returns=len(calls), timeout=_CONTROL_TIMEOUT_S)
        for call in late:
            log.warning("%s: its process does not answer", calls[call])
        for call in done:
            try:
                self._reports[calls[call]] = ray.get(call)
            except RayError:
                self._lose_camera(calls[call], "its process died")
        return list(self._reports.values())

    def close(self) -> None:
        if ray.is_initialized():
            for actor in [*self._cameras.values(), *self._workers]:
                ray.kill(actor)
            ray.shutdown()
        self._ray_thread.shutdown()

    def _place_actors(self) -> None:
        runtime = self._config.runtime
        # The tile stream runs over sockets of this host, so its actors stay on it.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        # Threads beside `run`: control calls must get through while it runs.
        options = {"num_cpus": 0, "max_concurrency": 4, "scheduling_strategy": here}
        worker_class = ray.remote(EncoderActor).options(num_gpus=self._gpu_share(), **options)
        camera_class = ray.remote(CameraLoop).options(**options)
        for number in range(runtime.workers):
            worker = worker_class.remote(
                self._config, self._tiles_endpoint(number), self._results_endpoint
            )
            self._workers.append(worker)
        for name in self._config.sources:
            endpoint = self._tiles_endpoint(self._worker_of(name))
            self._cameras[name] = camera_class.remote(
                self._config, name, endpoint, self._results_endpoint
            )

    def _gpu_share(self) -> float:
        """GPUs of one worker: what the config says, else an even share of those that are free."""
        runtime = self._config.runtime
        free = float(ray.available_resources().get("GPU", 0.0))  # type: ignore[no-untyped-call]
        wanted = runtime.gpus_per_worker
        if wanted is None:
            return min(1.0, free / runtime.workers)
        if wanted * runtime.workers > free:
            raise RuntimeStartError(
                f"{runtime.workers} x {wanted:g} GPUs are wanted and {free:g} are free here; "
                "lower runtime.gpus_per_worker or runtime.workers"
            )
        return wanted

    def _worker_of(self, camera: str) -> int:
        return list(self._config.sources).index(camera) % self._config.runtime.workers

    def _tiles_endpoint(self, worker: int) -> str:
        return f"ipc://{self._folder}/tiles-{worker}"

    def _await_camera(self, name: str, call: Any, should_stop: ShouldStop) -> None:
        try:
            _await(call, should_stop)
        except (SourceError, RuntimeStartError) as error:
            state = getattr(error, "state", "crashed")
            self._reports[name] = CameraReport(name, state, error=str(error))
            ray.kill(self._cameras.pop(name))

    def _finish(self, call: Any, name: str) -> None:
        """A `run` call came back: by itself, with an error, or because its process died."""
        try:
            ray.get(call)
        except RayActorError:
            self._lose(name, "its process died")
        except RayTaskError as error:
            self._lose(name, f"{error.cause!r}")

    def _lose(self, name: str, reason: str) -> None:
        if name in self._cameras:
            self._lose_camera(name, reason)
        else:
            self._lose_worker(name, reason)

    def _lose_camera(self, name: str, reason: str) -> None:
        counts = self._reports[name].counts
        self._reports[name] = CameraReport(
            name, "crashed", counts, f"{reason}; the other cameras went on"
        )
        self._workers[self._worker_of(name)].give_up.remote(name)

    def _lose_worker(self, name: str, reason: str) -> None:
        self._error = RuntimeStartError(
            f"{name}: {reason}; check free memory (`dmesg` tells of an out-of-memory kill)"
        )
        for actor in self._cameras.values():
            actor.stop.remote(abort=True)


def _connect(folder: Path, thread: ThreadPoolExecutor) -> None:
    """Join the cluster that RAY_ADDRESS names, else start one of our own in `folder`."""
    address = os.environ.get("RAY_ADDRESS")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"address": address}
    if not address:
        options = {
            "address": "local",
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "_temp_dir": str(folder / "ray"),
        }
    try:
        if address:
            _check_reachable(address)
        logging.getLogger("ray").setLevel(logging.ERROR)
        init = partial(ray.init, log_to_driver=False, logging_level=logging.ERROR, **options)
        thread.submit(init).result()
    except (OSError, RuntimeError, ValueError) as error:
        what = f"join the Ray cluster at {address}" if address else "start Ray"
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise RuntimeStartError(
            f"cannot {what} ({reason}); check it, or run with --runtime local"
        ) from None


def _reinstall_signal_handlers() -> None:
    """Ray's own, beneath Python's, print a stack trace at every SIGTERM."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.getsignal(number))


def _check_reachable(address: str) -> None:
    """Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_CONTROL_TIMEOUT_S).close()


def _await(call: Any, should_stop: ShouldStop) -> Any:
    """The call's result, or its own error instead of Ray's wrapping."""
    while True:
        try:
            return ray.get(call, timeout=_POLL_S)
        except GetTimeoutError:
            if should_stop():
                raise Stopped from None
        except RayTaskError as error:
            raise _as_ours(error.cause) from None
        except RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise RuntimeStartError(
                f"a process died while starting ({reason}); check free memory, "
                "or run with --runtime local"
            ) from None


def _as_ours(cause: Exception) -> StreamvisError:
    """An error of a remote `open`: ours as it is, any other with its name."""
    if isinstance(cause, StreamvisError):
        return cause
    return RuntimeStartError(f"a process could not start: {cause!r}")
