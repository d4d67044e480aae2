"""Reading live sources in tests, with an end whatever happens."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from streamvis.source.config import SourceConfig
from streamvis.source.live import LiveSource
from streamvis.types import Frame

SIZE = (320, 192)
PATIENCE_S = 25.0  # only a failure waits for it
QUICK = {"timeout": "600ms", "stale_after": "300ms", "retry_after": "20ms", "retry_at_most": "80ms"}


@contextmanager
def live_source(
    uri: str,
    live: dict[str, Any] | None = None,
    with_motion: bool = False,
    patience_s: float = PATIENCE_S,
    **extra: Any,
) -> Iterator[LiveSource]:
    """Quick to despair, and closed at the end; after the patience it gives no more frames."""
    config = SourceConfig(uri=uri, live={**QUICK, **(live or {})}, **extra)
    source = LiveSource("gate", config, SIZE, random.Random(0), with_motion)
    patience = threading.Timer(patience_s, source.live.stop)
    patience.start()
    try:
        yield source
    finally:
        patience.cancel()
        source.close()


def take(source: LiveSource, count: int) -> list[Frame]:
    """So many frames, or fewer if the patience ends."""
    frames: list[Frame] = []
    while len(frames) < count and source.grab() is not None:
        frame = source.retrieve(0)
        assert frame is not None
        frames.append(frame)
    return frames


@contextmanager
def reader(source: LiveSource) -> Iterator[list[Frame]]:
    """Frames as they come, on a thread; it is stopped at the end."""
    frames: list[Frame] = []

    def run() -> None:
        while source.grab() is not None:
            frame = source.retrieve(0)
            assert frame is not None
            frames.append(frame)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield frames
    finally:
        source.live.stop()
        thread.join()


def wait_for(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Until it holds; fails after a patience that only a defect exhausts."""
    tick, waited_s = threading.Event(), 0.0
    while not condition():
        assert waited_s < patience_s, "it did not come"
        tick.wait(0.01)
        waited_s += 0.01
