"""An encoder worker's process: the back, its link to the cameras, and the way out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

import zmq

from streamvis.back import PerceptionBack, build_back
from streamvis.pipeline import publish
from streamvis.publish.publisher import Publisher
from streamvis.runtime.as_recorded import read_decisions
from streamvis.runtime.engine import Hops
from streamvis.runtime.quiet_memory import settle_memory
from streamvis.runtime.report import Process, WorkerFacts
from streamvis.runtime.rounds import Rounds
from streamvis.runtime.tile_link import BackLink
from streamvis.topology import PipelineConfig
from streamvis.types import TilePacket
from streamvis.wire import End

_POLL_MS = 100
_MAX_GIVEN_UP = 256  # the newest of them


class WorkerLoop:
    """Serves the cameras that send to it; live ones come and go as they like."""

    def __init__(self, config: PipelineConfig, tiles_endpoint: str, hops: Hops) -> None:
        self._config = config
        self._is_replay = config.clock == "replay"
        self._tiles_endpoint = tiles_endpoint
        self._hops = hops
        self._orders: SimpleQueue[Callable[[], None]] = SimpleQueue()  # from other threads
        self._finishing = threading.Event()
        self._given_up_ns: dict[str, int] = {}  # monotonic, of the cameras' host
        self._turn_ns: int | None = None  # when the newest turn began; a spare has none

    def open(self) -> WorkerFacts:
        """Load the models and bind the tile stream; raises WeightsError."""
        config = self._config
        self._publisher = Publisher(
            config.name,
            self._hops.results,
            zmq.Context.instance(),
            is_lossless=self._is_replay,
            run_keys=self._hops.keys,
        )
        self._back: PerceptionBack = build_back(
            config.encoder,
            config.detector,
            config.tracker,
            self._publisher.epoch,
            config.opt_in,
        )
        self._back.warm_up(-(-len(config.sources) // config.runtime.workers))
        self._link = BackLink(self._tiles_endpoint, self._hops.keys)
        settle_memory()
        return WorkerFacts(Process.this(), self._publisher.epoch, self._link.endpoint)

    def run(self, cameras: Sequence[str]) -> None:
        """In a replay until the last of these cameras has ended; live until `finish`."""
        config = self._config
        batches = read_decisions(config, cameras).batches if config.as_recorded else ()
        self._rounds: Rounds[TilePacket] = Rounds(
            cameras, config.clock, config.runtime.batch_window, batches
        )
        self._turn_ns = time.monotonic_ns()
        try:
            while self._turn() or not self._is_over:
                self._turn_ns = time.monotonic_ns()
        finally:
            self._link.close()
            self._publisher.close()

    def give_up(self, camera: str, now_ns: int) -> None:
        """Thread-safe: this camera died or went elsewhere, and will never send its end. `now_ns` is
        monotonic, of the cameras' host: frames that came in before are of no use any more, even
        if they arrive later."""
        self._orders.put(lambda: self._forget(camera, now_ns))

    def finish(self) -> None:
        """Thread-safe: all cameras have ended; what they sent is still served."""
        self._finishing.set()

    @property
    def stuck_ns(self) -> int:
        """How long the newest turn has been going on, 0 before the first; thread-safe."""
        began_ns = self._turn_ns
        return 0 if began_ns is None else time.monotonic_ns() - began_ns

    @property
    def _is_over(self) -> bool:
        return self._rounds.is_over if self._is_replay else self._finishing.is_set()

    def _turn(self) -> bool:
        """Whether there was something to do."""
        self._follow_orders()
        now_ns = time.monotonic_ns()
        due_ns = self._rounds.due_in_ns(now_ns)
        if due_ns == 0:
            self._step(self._rounds.take())
            return True
        has_come = self._receive(_POLL_MS if due_ns is None else -(-due_ns // 1_000_000))
        return has_come or due_ns is not None

    def _step(self, packets: list[TilePacket]) -> None:
        """Feedback goes out before the results: the cameras prepare the next round meanwhile."""
        results, feedback = self._back.step(packets)
        for camera, answer in feedback.items():
            self._link.reply(camera, answer)
        publish(packets, results, self._back, self._publisher, self._config.opt_in)

    def _receive(self, timeout_ms: int) -> bool:
        message = self._link.receive(timeout_ms)
        if isinstance(message, TilePacket):
            self._take_in(message)
        elif isinstance(message, End) and self._is_replay:
            self._rounds.close(message.camera)
        return message is not None

    def _take_in(self, packet: TilePacket) -> None:
        if packet.stamps_ns["ingest"] <= self._given_up_ns.get(packet.camera, -1):
            return  # of a life that is over: nobody would forget its state again
        if not self._is_replay:
            self._rounds.open(packet.camera)
        if self._rounds.takes(packet.camera):  # not the last words of one given up
            self._rounds.put(packet.camera, packet, time.monotonic_ns())

    def _forget(self, camera: str, now_ns: int) -> None:
        self._rounds.close(camera)
        if self._is_replay:
            return
        self._back.forget(camera)
        self._rounds.drop(camera)
        self._given_up_ns.pop(camera, None)
        self._given_up_ns[camera] = now_ns
        if len(self._given_up_ns) > _MAX_GIVEN_UP:
            del self._given_up_ns[next(iter(self._given_up_ns))]

    def _follow_orders(self) -> None:
        while True:
            try:
                self._orders.get_nowait()()
            except Empty:
                return
