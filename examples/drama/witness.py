"""The subscriber to whom nothing is done: it sees what the system does, from outside."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from drama.record import Result

from streamvis.client import (
    AnyMessage,
    DetMessage,
    EmbMessage,
    Heartbeat,
    StatMessage,
    Subscriber,
)


class Witness:
    """Listens on a thread. Its lists only grow; read them from any thread."""

    def __init__(self, address: str) -> None:
        self.results: list[Result] = []
        self.num_messages = 0  # det and emb
        self.states: dict[str, str] = {}
        self.lost: dict[str, int] = {}
        self._changed = threading.Condition()
        self._subscriber = Subscriber(address, kinds=("det", "emb", "stat", "hb"), timeout_ms=100)
        self._is_over = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def wait(self, is_there: Callable[[], bool], patience_s: float) -> bool:
        """Whether it came in time; asked again at every message."""
        with self._changed:
            return self._changed.wait_for(is_there, patience_s)

    def first_after(self, moment_s: float, camera: str, but_of: str = "") -> Result | None:
        """The camera's first result after this moment, of another epoch than that."""
        later = (r for r in reversed(self.results) if r.camera == camera)
        found = None
        for result in later:
            if result.arrived_s <= moment_s:
                break
            if result.epoch != but_of:
                found = result
        return found

    def lately(self, camera: str, window_s: float) -> list[Result]:
        """Its results of the last seconds."""
        since_s = time.monotonic() - window_s
        newest = self.results[-1000:]
        return [r for r in newest if r.camera == camera and r.arrived_s > since_s]

    @property
    def num_missed(self) -> int:
        return sum(self._subscriber.gaps.values())

    def close(self) -> None:
        """Everything that came is booked then."""
        self._is_over = True
        self._thread.join()
        self._subscriber.close()

    def _listen(self) -> None:
        while not self._subscriber.is_stopped:
            try:
                message = next(self._subscriber)
            except StopIteration:
                return
            except TimeoutError:
                if self._is_over:
                    return
                continue
            with self._changed:
                self._see(message)
                self._changed.notify_all()

    def _see(self, message: AnyMessage) -> None:
        self.num_messages += isinstance(message, DetMessage | EmbMessage)
        if isinstance(message, DetMessage):
            self.results.append(self._result(message))
        elif isinstance(message, StatMessage):
            self.lost[message.camera] = sum(message.ledger.lost.values())
        elif isinstance(message, Heartbeat):
            self.states = {name: camera.state for name, camera in message.cameras.items()}

    def _result(self, message: DetMessage) -> Result:
        age_ms = message.age_ms()
        assert age_ms is not None, "it comes from this host"
        return Result(message.camera, message.frame_index, message.epoch, time.monotonic(), age_ms)
