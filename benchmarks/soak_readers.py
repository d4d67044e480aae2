"""The subscribers of a soak: one that watches everything, and some that behave badly."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from soak_log import Log

from streamvis import wire
from streamvis.client import Lagging, Subscriber
from streamvis.errors import StreamvisError
from streamvis.wire import DetMessage, StatMessage

PATIENCE_S = 120.0
NAP_S = 8.0  # of the lossless reader, after as many messages as follow
NAP_EVERY = 200
SILENT_MS = 60_000


class Watcher:
    """Decodes every message of every kind, on a thread; keeps what the end is judged by."""

    def __init__(self, address: str, log: Log) -> None:
        self.results: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()  # by kind
        self.out_of_order: list[str] = []
        self.stats: dict[str, StatMessage] = {}  # the newest of each camera
        self.skipped: list[dict[str, Any]] = []  # frames without a result
        self._newest: dict[str, DetMessage] = {}
        self._log = log
        self._changed = threading.Condition()
        self.subscriber = Subscriber(address, wire.KINDS, timeout_ms=PATIENCE_S * 1000)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait_result(self, camera: str, more_than: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.results[camera] > more_than, PATIENCE_S)

    def join(self) -> None:
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        try:
            with self.subscriber as messages:
                for message in messages:
                    self._see(message)
        except (StreamvisError, TimeoutError) as error:
            self._log.problem(f"the watcher: {error!r}")

    def _see(self, message: wire.AnyMessage) -> None:
        self.messages[message.kind] += 1
        if isinstance(message, StatMessage):
            self.stats[message.camera] = message
        if isinstance(message, DetMessage):
            with self._changed:
                self._see_result(message)
                self._changed.notify_all()

    def _see_result(self, message: DetMessage) -> None:
        before = self._newest.get(message.camera)
        if before is not None and message.frame_index <= before.frame_index:
            self.out_of_order.append(f"{message.camera} {message.frame_index}")
        if before is not None and message.frame_index > before.frame_index + 1:
            self._log.write(
                "skipped",
                camera=message.camera,
                frames=message.frame_index - before.frame_index - 1,
                lost={k: n - before.ledger.lost[k] for k, n in message.ledger.lost.items()},
                is_new_worker=message.epoch != before.epoch,
            )
        self._newest[message.camera] = message
        self.results[message.camera] += 1


def join_and_leave(address: str, count: int, log: Log) -> None:
    """A late joiner: the state first, then what follows."""
    try:
        with Subscriber(address, ("det", "emb"), snapshot=True, timeout_ms=60_000) as messages:
            for _, message in zip(range(count), messages, strict=False):
                del message
            if messages.gaps.total():
                log.problem(f"a late joiner missed {messages.gaps.total()} messages")
    except (StreamvisError, TimeoutError) as error:
        log.problem(f"a late joiner: {error!r}")


def read(address: str, into: Path, is_lossless: bool) -> None:
    """The process of one reader, until the pipeline stops; the lossless one takes naps."""
    found = {"messages": 0, "gaps": 0, "lagging": 0}
    with Subscriber(address, ("det",), lossless=is_lossless, timeout_ms=SILENT_MS) as messages:
        while not messages.is_stopped:
            try:
                for _ in messages:
                    found["messages"] += 1
                    if is_lossless and found["messages"] % NAP_EVERY == 0:
                        time.sleep(NAP_S)
            except Lagging:
                found["lagging"] += 1
            except TimeoutError:  # the pipeline ended while it slept
                break
        found["gaps"] = messages.gaps.total()
    into.write_text(json.dumps(found))
