"""What may listen to a pipeline's messages in the proxy, and add its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from streamvis.wire import AnyMessage, Observed


class Observer(Protocol):
    """Called on the proxy's thread only; what it returns is published, and seen in turn."""

    def see(self, seen: Observed) -> Iterable[AnyMessage]:
        """A message was forwarded."""

    def tick(self, now_ns: int) -> Iterable[AnyMessage]:
        """Some time passed: called at least ten times a second, `now_ns` monotonic."""

    def finish(self) -> Iterable[AnyMessage]:
        """Everything was forwarded; say the last words."""
