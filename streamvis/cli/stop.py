"""Ctrl-C and SIGTERM: the first ends a run cleanly, the second at once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

_HARD_QUIT = 130


class StopFlag:
    """Set by the first SIGINT or SIGTERM; the second quits at once."""

    def __init__(self) -> None:
        self._count = 0

    def handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._count += 1
        if self._count > 1:
            raise KeyboardInterrupt

    def is_requested(self) -> bool:
        return self._count > 0


@contextmanager
def stop_signals() -> Iterator[StopFlag]:
    """SIGINT and SIGTERM set the flag while this lasts."""
    flag = StopFlag()
    numbers = (signal.SIGINT, signal.SIGTERM)
    old = {number: signal.signal(number, flag.handle) for number in numbers}
    try:
        yield flag
    except KeyboardInterrupt:
        print("quit before it was clean", file=sys.stderr)
        raise typer.Exit(_HARD_QUIT) from None
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
