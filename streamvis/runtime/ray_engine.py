"""The runtime on Ray: an actor a camera, an actor an encoder worker.

Ray places, supervises and stops them; it never carries a frame. Actor methods are control, and
the data goes from actor to actor over ZeroMQ.
"""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from streamvis.errors import ControlError
from streamvis.runtime.engine import BeginLife, Hops, ShouldStop, Stopped, TilesAt
from streamvis.runtime.ray_calls import Calls
from streamvis.runtime.ray_cameras import Cameras
from streamvis.runtime.ray_cluster import Cluster
from streamvis.runtime.ray_workers import Workers
from streamvis.runtime.report import CameraReport
from streamvis.topology import PipelineConfig

_START_LEAD_NS = 100_000_000  # so that every camera has its start time before it comes
_OPEN_PATIENCE_S = 10.0  # live: a camera that takes longer to open starts after the others
_POLL_S = 0.1


class RayEngine:
    """Starts or joins a Ray cluster and runs the loops of this package as actors in it."""

    def __init__(self, config: PipelineConfig, hops: Hops, begin_life: BeginLife) -> None:
        self._config = config
        self._cluster = Cluster(hops.folder)
        self._calls = Calls()
        self._is_stopping = False
        self._workers = Workers(config, hops, self._calls, self._pin)
        self._cameras = Cameras(
            config,
            hops,
            self._calls,
            begin_life,
            self._workers.tiles_at,
            self._workers.give_up,
        )

    def open(self, should_stop: ShouldStop) -> None:
        self._cluster.open()
        if should_stop():
            raise Stopped
        here = _placement()
        self._workers.open(here)
        self._cameras.open(here)
        for name in self._config.sources:
            self._cameras.add(self._config, name)
        began_s = time.monotonic()
        while not self._is_open(time.monotonic() - began_s):
            self._calls.wait(_POLL_S)
            if should_stop():
                raise Stopped
            if self._workers.error:
                raise self._workers.error

    def start(self) -> None:
        self._workers.start(self._cameras.names_at)
        self._cameras.start(time.monotonic_ns() + _START_LEAD_NS)

    def wait(self, timeout_s: float) -> bool:
        self._calls.wait(min(timeout_s, _POLL_S))
        now_s = time.monotonic()
        self._workers.tick(now_s)
        self._cameras.tick(now_s)
        if self._workers.error:  # a replay cannot go on without it
            self._cameras.abort()
        elif self._is_stopping:  # what waits for the answer of a worker that died now can end
            self._cameras.stop(self._workers.is_serving)
        if self._cameras.are_over and self._may_end and not self._cameras.may_return:
            self._workers.finish()
        is_over = self._cameras.are_over and self._workers.are_over
        if is_over and self._workers.error is not None:
            raise self._workers.error
        return is_over

    def stop(self) -> None:
        self._is_stopping = True
        self._cameras.stop(self._workers.is_serving)

    def add(self, config: PipelineConfig, camera: str) -> None:
        if self._workers.are_finishing:
            raise ControlError("all cameras have ended; start the run again")
        self._config = config
        self._cameras.add(config, camera)

    def remove(self, camera: str) -> None:
        self._cameras.remove(camera)

    def gone(self) -> list[CameraReport]:
        return self._cameras.take_gone()

    def reports(self) -> list[CameraReport]:
        return self._cameras.reports(self._workers.is_serving)

    @property
    def num_worker_deaths(self) -> int:
        return self._workers.num_deaths

    @property
    def dead_epochs(self) -> frozenset[str]:
        return frozenset(self._workers.dead_epochs)

    def close(self) -> None:
        if ray.is_initialized():
            self._cameras.close()
            self._workers.close()
        self._cluster.close()

    def _is_open(self, waited_s: float) -> bool:
        is_late = self._config.clock == "live" and waited_s > _OPEN_PATIENCE_S
        return self._workers.are_open and (is_late or not self._cameras.are_opening)

    @property
    def _may_end(self) -> bool:
        return self._is_stopping or self._config.runtime.run_until == "cameras_end"

    def _pin(self, place: int, tiles_at: TilesAt) -> None:
        self._cameras.pin(place, tiles_at)


def _placement() -> dict[str, Any]:
    """On this host: cameras may be files of it, and the tile stream is sockets of it, unless
    the workers are spread over the cluster."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    # Threads beside `run`: control calls must get through while it runs.
    return {"num_cpus": 0, "max_concurrency": 4, "scheduling_strategy": here}
