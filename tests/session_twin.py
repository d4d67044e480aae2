"""A session's twin in memory: what the serve room needs of one."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from streamvis.errors import ControlError
from streamvis.runtime.changes import Changes, find_changes
from streamvis.runtime.ledger import CameraStatus
from streamvis.topology import PipelineConfig
from streamvis.types import Ledger

CONFIG = PipelineConfig.model_validate(
    {"version": 1, "name": "twin", "sources": {"a": {"uri": "rtsp://user:planted@cam/1"}}}
)
LOST = {"source": 0, "decode": 1, "policy": 2, "infer": 0, "publish": 0}


class TwinSession:
    """One live camera `a`; orders are only noted down."""

    def __init__(self) -> None:
        self.phase, self.address, self.num_worker_deaths = "running", "ipc:///out", 3
        self.turned_s = time.monotonic()
        self.orders: list[tuple[Any, ...]] = []
        self.state = "live"
        self.control = SimpleNamespace(
            config=CONFIG,
            add=self._note("add"),
            remove=self._remove,
            restart=self._note("restart"),
            change_to=self._change_to,
        )
        self.ledger = SimpleNamespace(status=lambda **_: [self._status()])

    def _note(self, verb: str):
        return lambda *arguments: self.orders.append((verb, *arguments))

    def _remove(self, name: str) -> None:
        if name != "a":
            raise ControlError(f"there is no camera {name}; there are: a")
        self.orders.append(("remove", name))

    def _change_to(self, wanted: PipelineConfig, is_dry: bool) -> Changes:
        self.orders.append(("dry run" if is_dry else "reload",))
        return find_changes(CONFIG, wanted)

    def _status(self) -> CameraStatus:
        return CameraStatus(
            camera="a",
            state=self.state,
            error="",
            ledger=Ledger(10, 7, 0, LOST),
            fps=12.5,
            latency_p50_ms=20.0,
            latency_p99_ms=50.0,
            age_ms=30.0,
            stage_ms={},
            num_detections=0,
            is_failed=False,
        )
