"""A session that runs on a thread beside the test, and a subscriber that keeps what it says."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import psutil

from streamvis.client import Subscriber
from streamvis.runtime.session import RunSummary, Session
from streamvis.topology import PipelineConfig
from streamvis.wire import AnyMessage, DetMessage, EmbMessage, Heartbeat

WAIT_S = 150.0


class Running:
    """`until` waits for what the test wants to see; a test never sleeps."""

    def __init__(
        self,
        config: PipelineConfig,
        kinds: tuple[str, ...] = ("det", "emb", "stat", "hb"),
        **options: Any,
    ) -> None:
        self.messages: list[AnyMessage] = []
        self.arrived_s: list[float] = []  # when each of them came, monotonic
        self.summary: RunSummary | None = None
        self.session = Session(config, wait_subscribers=1, **options)
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._subscriber = Subscriber(config.publish.address, kinds=kinds, timeout_ms=WAIT_S * 1000)
        self._threads = [threading.Thread(target=run) for run in (self._run, self._listen)]
        for thread in self._threads:
            thread.start()

    def until(self, is_there: Callable[[], Any], what: str) -> Any:
        """What `is_there` says, asked again at every message."""
        deadline = monotonic() + WAIT_S
        with self._changed:
            while not (found := is_there()):
                assert self._error is None, f"the session broke: {self._error!r}"
                assert monotonic() < deadline, f"never seen: {what}"
                self._changed.wait(0.2)
        return found

    def results(self, camera: str) -> list[DetMessage]:
        return [m for m in self.messages if isinstance(m, DetMessage) and m.camera == camera]

    def embeddings(self, camera: str) -> list[EmbMessage]:
        return [m for m in self.messages if isinstance(m, EmbMessage) and m.camera == camera]

    def states(self) -> dict[str, str]:
        """Of the cameras in the newest heartbeat."""
        beats = [m for m in self.messages if isinstance(m, Heartbeat)]
        return {name: camera.state for name, camera in beats[-1].cameras.items()} if beats else {}

    def forget(self, keep: int = 300) -> None:
        """All messages but the newest, so that a long run does not wait for its own test."""
        with self._changed:
            del self.messages[:-keep], self.arrived_s[:-keep]

    def more_results(self, camera: str, count: int = 3) -> None:
        """Wait for so many new ones."""
        wanted = len(self.results(camera)) + count
        self.until(lambda: len(self.results(camera)) >= wanted, f"{count} results of {camera}")

    def stop(self) -> RunSummary:
        self._stopping.set()
        for thread in self._threads:
            thread.join(WAIT_S)
        assert self._error is None, f"the session broke: {self._error!r}"
        assert self.summary is not None, "the session never ended"
        return self.summary

    def _run(self) -> None:
        try:
            self.summary = self.session.run(should_stop=self._stopping.is_set)
        except BaseException as error:
            self._error = error

    def _listen(self) -> None:
        with self._subscriber as messages:
            for message in messages:
                with self._changed:
                    self.arrived_s.append(monotonic())
                    self.messages.append(message)
                    self._changed.notify_all()


@contextmanager
def running(config: PipelineConfig, **options: Any) -> Iterator[Running]:
    run = Running(config, **options)
    try:
        yield run
    finally:
        run._stopping.set()
        for thread in run._threads:
            thread.join(WAIT_S)


def actor_process(name: str) -> psutil.Process:
    """The oldest process of this test that hosts such an actor."""
    children = psutil.Process(os.getpid()).children(recursive=True)
    found = [child for child in children if f"ray::{name}" in " ".join(child.cmdline())]
    return min(found, key=psutil.Process.create_time)


def check_books(run: Running, summary: RunSummary, camera: str) -> None:
    """Every frame is published once, or counted where it was lost."""
    ledger = next(status.ledger for status in summary.cameras if status.camera == camera)
    indices = [message.frame_index for message in run.results(camera)]
    assert indices == sorted(set(indices)), "twice, or out of order"
    assert ledger.published == len(indices) > 0
    assert ledger.in_flight == 0
    assert ledger.published + sum(ledger.lost.values()) == ledger.source_frames > max(indices)
