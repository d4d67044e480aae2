"""The encoder worker's actor. Cameras need none: Ray hosts their CameraLoop as it is."""

from __future__ import annotations

from collections.abc import Sequence

import ray

from streamvis.runtime.engine import Hops
from streamvis.runtime.quiet_threads import wait_quietly
from streamvis.runtime.report import WorkerFacts
from streamvis.topology import PipelineConfig


class EncoderActor:
    """Hosts a WorkerLoop, and keeps torch out of the process that only drives Ray."""

    def __init__(self, config: PipelineConfig, tiles_endpoint: str, hops: Hops) -> None:
        """`@` in the endpoint stands for the address of the node that this runs on."""
        wait_quietly()
        if "@" in tiles_endpoint:
            here: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
            tiles_endpoint = tiles_endpoint.replace("@", here)
        from streamvis.runtime.worker_loop import WorkerLoop

        self._loop = WorkerLoop(config, tiles_endpoint, hops)

    def open(self) -> WorkerFacts:
        return self._loop.open()

    def run(self, cameras: Sequence[str]) -> None:
        self._loop.run(cameras)

    def give_up(self, camera: str, now_ns: int) -> None:
        self._loop.give_up(camera, now_ns)

    def finish(self) -> None:
        self._loop.finish()

    def stuck_ns(self) -> int:
        """How long its newest turn has been going on."""
        return self._loop.stuck_ns
