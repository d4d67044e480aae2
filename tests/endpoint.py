"""A public endpoint on real sockets, for the tests of publish and client."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq

from streamvis.client import Subscriber
from streamvis.publish.config import PublishConfig
from streamvis.publish.heartbeat import Heart
from streamvis.publish.observer import Observer
from streamvis.publish.proxy import Proxy
from streamvis.publish.publisher import Publisher
from streamvis.wire import AnyMessage, Origin

PIPELINE = "av_4cam"
WAIT_S = 20.0  # a deadline for what takes milliseconds: only a failure waits for it


class Endpoint:
    """A proxy with its heart; `publisher()` and `subscriber()` connect to it."""

    def __init__(self, folder: Path, context: Any, options: dict[str, Any]) -> None:
        self.context = context
        self.heart = Heart(Origin.here(PIPELINE), period_ns=options.pop("period_ns", 50_000_000))
        observers: Sequence[Observer] = options.pop("observers", ())
        is_lossless = options.pop("is_lossless", False)
        self.is_lossless = is_lossless
        self.proxy = Proxy(
            PublishConfig(**options),
            f"ipc://{folder}/workers",
            context,
            heart=self.heart,
            observers=observers,
            is_lossless=is_lossless,
        )

    def publisher(self, **options: Any) -> Publisher:
        return Publisher(
            PIPELINE, self.proxy.backend, self.context, is_lossless=self.is_lossless, **options
        )

    def subscriber(self, *kinds: str, **options: Any) -> Subscriber:
        """Connected: what is published from now on arrives."""
        before = self.proxy.num_subscribers
        options = {"timeout_ms": WAIT_S * 1000, **options}
        subscriber = Subscriber(self.proxy.address, kinds=kinds or ("det",), **options)
        assert self.proxy.wait_for_subscribers(before + 1, WAIT_S)
        return subscriber

    def stop_and_read(self, *subscribers: Subscriber) -> list[list[AnyMessage]]:
        """What each of them still gets when the pipeline stops, which waits for them."""
        thread = threading.Thread(target=self.proxy.stop)
        thread.start()
        received = [list(subscriber) for subscriber in subscribers]
        thread.join()
        return received


@contextmanager
def endpoint(folder: Path, **options: Any) -> Iterator[Endpoint]:
    """Options: those of PublishConfig, and period_ns, observers, is_lossless."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    opened = Endpoint(folder, context, options)
    try:
        with opened.proxy:
            yield opened
    finally:
        context.destroy(linger=0)
