"""The encoder workers on Ray: started, watched, replaced when they die or hang."""

from __future__ import annotations

import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from streamvis.errors import RuntimeStartError, StreamvisError
from streamvis.runtime.backoff import Backoff
from streamvis.runtime.engine import Hops, TilesAt
from streamvis.runtime.ray_actor import EncoderActor
from streamvis.runtime.ray_calls import Calls, Outcome
from streamvis.runtime.report import WorkerFacts
from streamvis.topology import PipelineConfig

log = logging.getLogger(__name__)

_PULSE_S = 1.0
_OPEN_S = 300.0  # the largest models load in less
_OPEN_AGAIN_S, _OPEN_AGAIN_FACTOR = 30.0, 4.0  # at least, and of the slowest so far
_NODE_S = 0.2  # for a node to take a connection: the session's thread waits


@dataclass(eq=False)
class _Worker:
    """One process, from its start to its end."""

    actor: Any
    began_s: float
    node: str | None = None  # of the cluster, when it may be any
    facts: WorkerFacts | None = None  # once it is open
    is_serving: bool = False
    asked_s: float | None = None  # when it was asked for its pulse and has not answered
    pulse_due_s: float = 0.0


@dataclass(eq=False)
class _Place:
    """One of `runtime.workers`, whoever fills it at the moment."""

    number: int
    worker: _Worker | None = None
    tiles_at: TilesAt = field(default_factory=TilesAt)  # the newest worker that served
    due_s: float = 0.0  # when to fill it again
    backoff: Backoff = field(default_factory=lambda: Backoff(first_s=0.0))
    num_deaths: int = 0
    is_over: bool = False


class Workers:
    """Fills every place of the config with a worker. Used by one thread."""

    def __init__(
        self,
        config: PipelineConfig,
        hops: Hops,
        calls: Calls,
        on_serving: Callable[[int, TilesAt], None],
    ) -> None:
        """`on_serving(place, where)` is called when a replacement takes packets."""
        self.error: StreamvisError | None = None  # why the run cannot go on
        self.dead_epochs: set[str] = set()  # of workers that were lost
        self._config = config.without_credentials()  # workers may be on other hosts
        self._hops = hops
        self._calls = calls
        self._on_serving = on_serving
        self._places = [_Place(number) for number in range(config.runtime.workers)]
        self._spares: list[_Worker] = []
        self._spare_backoff = Backoff()
        self._spare_due_s = 0.0
        self._num_started = 0
        self._slowest_s = 0.0  # of those that opened
        self._has_begun = False
        self.are_finishing = False

    def open(self, options: dict[str, Any]) -> None:
        """Start them; `options` say where Ray places their actors."""
        self._options = {**options, "num_gpus": _gpu_share(self._config)}
        for place in self._places:
            self._fill(place)

    @property
    def are_open(self) -> bool:
        return all(place.worker and place.worker.facts for place in self._places)

    @property
    def are_over(self) -> bool:
        return all(place.is_over for place in self._places)

    @property
    def num_deaths(self) -> int:
        return sum(place.num_deaths for place in self._places)

    def is_serving(self, place: int) -> bool:
        worker = self._places[place].worker
        return worker is not None and worker.is_serving

    def tiles_at(self, place: int) -> TilesAt:
        """Of the tile stream; while nobody serves there, of the last that did."""
        return self._places[place].tiles_at

    def start(self, cameras: Callable[[int], Sequence[str]]) -> None:
        """Serve; `cameras(place)` are those of a place, for a replay."""
        self._has_begun = True
        self._cameras = cameras
        for place in self._places:
            self._serve(place)

    def tick(self, now_s: float) -> None:
        """Start what is due, and look whether those that serve still move."""
        for place in self._places:
            if place.worker is None and not place.is_over and now_s >= place.due_s:
                self._fill(place)
            if place.worker and place.worker.is_serving:
                self._watch(place, place.worker, now_s)
            elif place.worker and not place.worker.facts:
                self._watch_opening(place, place.worker, now_s)
        self._keep_spares(now_s)

    def give_up(self, place: int, camera: str) -> None:
        """The camera died, or was removed."""
        worker = self._places[place].worker
        if worker:
            worker.actor.give_up.remote(camera, time.monotonic_ns())

    def finish(self) -> None:
        """No camera will send any more. A place that nobody fills is over at once."""
        if self.are_finishing:
            return
        self.are_finishing = True
        for place in self._places:
            if place.worker and place.worker.is_serving:
                place.worker.actor.finish.remote()
            else:
                self._vacate(place)

    def close(self) -> None:
        for worker in [*(p.worker for p in self._places if p.worker), *self._spares]:
            ray.kill(worker.actor)

    def _fill(self, place: _Place) -> None:
        has_spare = bool(self._spares)
        place.worker = self._spares.pop(0) if has_spare else self._new_worker()
        if has_spare:
            log.warning("worker %d: a warm spare takes over", place.number)
        place.backoff.began(time.monotonic())
        if self._has_begun and place.worker.facts:
            self._serve(place)

    def _new_worker(self) -> _Worker:
        self._num_started += 1
        endpoint = f"ipc://{self._hops.folder}/tiles-{self._num_started}"
        if self._config.runtime.spread:
            endpoint = "tcp://@:0"
        node = self._emptiest_node() if self._config.runtime.spread else None
        actor_class: Any = ray.remote(EncoderActor).options(**self._options_on(node))
        actor = actor_class.remote(self._config, endpoint, self._hops)
        worker = _Worker(actor, time.monotonic(), node)
        self._calls.start(actor.open.remote(), partial(self._opened, worker))
        return worker

    def _options_on(self, node: str | None) -> dict[str, Any]:
        if node is None:
            return self._options
        # Not soft: that lands on another node even while this one lives. If it is gone by then,
        # the worker could not start, and is replaced elsewhere.
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        return {**self._options, "scheduling_strategy": there}

    def _emptiest_node(self) -> str:
        """Ray's own SPREAD puts actors that need no CPU all on one node."""
        own = ray.get_runtime_context().get_node_id()
        living = [*(place.worker for place in self._places), *self._spares]
        taken = Counter(worker.node for worker in living if worker)
        known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        nodes = [str(node["NodeID"]) for node in known if node["Alive"] and _answers(node)]
        return min(nodes, key=lambda node: (taken[node], node != own, node), default=own)

    def _opened(self, worker: _Worker, outcome: Outcome) -> None:
        place = self._place_of(worker)
        if outcome.error is not None:
            self._open_failed(place, worker, outcome.error)
            return
        worker.facts = outcome.value
        self._slowest_s = max(self._slowest_s, time.monotonic() - worker.began_s)
        if place and self._has_begun:
            self._serve(place)

    def _open_failed(self, place: _Place | None, worker: _Worker, error: StreamvisError) -> None:
        if not self._has_begun:
            self.error = _as_start_error(error)
        if place:
            self._lose(place, worker, f"it could not start again: {error}")
        elif worker in self._spares:
            self._lose_spare(worker)

    def _serve(self, place: _Place) -> None:
        worker = place.worker
        assert worker is not None, "it is open"
        assert worker.facts is not None, "it is open"
        worker.is_serving = True
        place.tiles_at = TilesAt(place.tiles_at.serial + 1, worker.facts.tiles_endpoint)
        cameras = list(self._cameras(place.number))
        self._calls.start(worker.actor.run.remote(cameras), partial(self._ended, place, worker))
        self._on_serving(place.number, place.tiles_at)

    def _ended(self, place: _Place, worker: _Worker, outcome: Outcome) -> None:
        if place.worker is not worker:
            return
        if outcome.error is None:
            place.is_over = True
        else:
            self._lose(place, worker, str(outcome.error))

    def _lose(self, place: _Place, worker: _Worker, reason: str) -> None:
        """Live it is replaced; a replay that went on without it would not be reproducible."""
        ray.kill(worker.actor)
        if worker.facts:
            self.dead_epochs.add(worker.facts.epoch)
        place.worker = None
        place.num_deaths += 1
        if self.are_finishing or self._config.clock == "replay":
            self._vacate(place)
            self.error = self.error or RuntimeStartError(
                f"worker {place.number}: {reason}; check free memory "
                "(`dmesg` tells of an out-of-memory kill)"
            )
            return
        place.due_s = place.backoff.died(time.monotonic())
        log.warning("worker %d: %s; it is replaced", place.number, reason)

    def _lose_stuck(self, place: _Place, worker: _Worker, reason: str) -> None:
        if worker.facts:
            worker.facts.process.kill()
        self._lose(place, worker, reason)

    def _vacate(self, place: _Place) -> None:
        place.is_over = True

    def _watch_opening(self, place: _Place, worker: _Worker, now_s: float) -> None:
        """A node that is being lost may take a worker and never start it."""
        again_s = max(_OPEN_AGAIN_S, _OPEN_AGAIN_FACTOR * self._slowest_s)
        patience_s = again_s if self._has_begun else _OPEN_S
        if now_s - worker.began_s > patience_s:
            self._lose(place, worker, f"it was not there after {patience_s:.0f} s")

    def _watch(self, place: _Place, worker: _Worker, now_s: float) -> None:
        timeout_s = self._config.runtime.worker_timeout / 1e9
        if worker.asked_s is not None:
            if now_s - worker.asked_s > timeout_s:
                self._lose_stuck(place, worker, f"it did not answer for {timeout_s:g} s")
        elif now_s >= worker.pulse_due_s:
            worker.asked_s = now_s
            call = worker.actor.stuck_ns.remote()
            self._calls.start(call, partial(self._took_pulse, place, worker))

    def _took_pulse(self, place: _Place, worker: _Worker, outcome: Outcome) -> None:
        worker.asked_s = None
        worker.pulse_due_s = time.monotonic() + _PULSE_S
        timeout_ns = self._config.runtime.worker_timeout
        if place.worker is worker and outcome.error is None and outcome.value > timeout_ns:
            self._lose_stuck(place, worker, f"it hung for {outcome.value / 1e9:.0f} s")

    def _keep_spares(self, now_s: float) -> None:
        is_wanted = len(self._spares) < self._config.runtime.spares
        if is_wanted and self._has_begun and not self.are_finishing and now_s >= self._spare_due_s:
            self._spare_backoff.began(now_s)
            self._spares.append(self._new_worker())

    def _lose_spare(self, worker: _Worker) -> None:
        self._spares.remove(worker)
        ray.kill(worker.actor)
        self._spare_due_s = self._spare_backoff.died(time.monotonic())

    def _place_of(self, worker: _Worker) -> _Place | None:
        return next((place for place in self._places if place.worker is worker), None)


def _answers(node: dict[str, Any]) -> bool:
    """Ray takes seconds to see that a node is lost; its closed port tells at once."""
    address = str(node["NodeManagerAddress"]), int(node["NodeManagerPort"])
    try:
        socket.create_connection(address, timeout=_NODE_S).close()
    except OSError:
        return False
    return True


def _as_start_error(error: StreamvisError) -> StreamvisError:
    if not isinstance(error, RuntimeStartError):
        return error
    return RuntimeStartError(
        f"a worker could not start ({error}); check free memory, or run with --runtime local"
    )


def _gpu_share(config: PipelineConfig) -> float:
    """GPUs of one worker: what the config says, else an even share of those that are free."""
    num = config.runtime.workers + config.runtime.spares
    free = float(ray.available_resources().get("GPU", 0.0))  # type: ignore[no-untyped-call]
    wanted = config.runtime.gpus_per_worker
    if wanted is None:
        return min(1.0, free / num)
    if wanted * num > free:
        raise RuntimeStartError(
            f"{num} x {wanted:g} GPUs are wanted and {free:g} are free here; "
            "lower runtime.gpus_per_worker, runtime.workers or runtime.spares"
        )
    return wanted
