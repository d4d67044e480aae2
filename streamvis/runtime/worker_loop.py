"""An encoder worker's process: the back, its link to the cameras, and the way out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue

import zmq

from streamvis.back import PerceptionBack, build_back
from streamvis.pipeline import publish
from streamvis.publish.publisher import Publisher
from streamvis.runtime.as_recorded import read_decisions
from streamvis.runtime.rounds import Rounds
from streamvis.runtime.tile_link import BackLink
from streamvis.topology import PipelineConfig
from streamvis.types import TilePacket
from streamvis.wire import End

_POLL_MS = 100


class WorkerLoop:
    """Runs the cameras pinned to one worker until the last of them has ended."""

    def __init__(self, config: PipelineConfig, tiles_endpoint: str, results_endpoint: str) -> None:
        self._config = config
        self._tiles_endpoint = tiles_endpoint
        self._results_endpoint = results_endpoint
        self._given_up: SimpleQueue[str] = SimpleQueue()

    def open(self) -> None:
        """Load the models and bind the tile stream; raises WeightsError."""
        config = self._config
        self._publisher = Publisher(
            config.name,
            self._results_endpoint,
            zmq.Context.instance(),
            is_lossless=config.clock == "replay",
        )
        self._back: PerceptionBack = build_back(
            config.encoder, config.detector, config.tracker, self._publisher.epoch
        )
        self._back.warm_up(-(-len(config.sources) // config.runtime.workers))
        self._link = BackLink(self._tiles_endpoint)

    def run(self, cameras: Sequence[str]) -> None:
        """Serve these cameras until the last of them has ended."""
        config = self._config
        batches = read_decisions(config, cameras).batches if config.as_recorded else ()
        self._rounds: Rounds[TilePacket] = Rounds(
            cameras, config.clock, config.runtime.batch_window, batches
        )
        try:
            while not self._rounds.is_over:
                self._turn()
        finally:
            self._link.close()
            self._publisher.close()

    def give_up(self, camera: str) -> None:
        """Thread-safe: this camera died and will never send its end."""
        self._given_up.put(camera)

    def _turn(self) -> None:
        self._close_given_up()
        due_ns = self._rounds.due_in_ns(time.monotonic_ns())
        if due_ns == 0:
            self._step(self._rounds.take())
        else:
            self._receive(_POLL_MS if due_ns is None else -(-due_ns // 1_000_000))

    def _step(self, packets: list[TilePacket]) -> None:
        """Feedback goes out before the results: the cameras prepare the next round meanwhile."""
        results, feedback = self._back.step(packets)
        for camera, answer in feedback.items():
            self._link.reply(camera, answer)
        publish(packets, results, self._back, self._publisher, self._config.opt_in)

    def _receive(self, timeout_ms: int) -> None:
        message = self._link.receive(timeout_ms)
        if isinstance(message, TilePacket):
            if self._rounds.takes(message.camera):  # not the last words of one given up
                self._rounds.put(message.camera, message, time.monotonic_ns())
        elif isinstance(message, End):
            self._rounds.close(message.camera)

    def _close_given_up(self) -> None:
        while True:
            try:
                self._rounds.close(self._given_up.get_nowait())
            except Empty:
                return
