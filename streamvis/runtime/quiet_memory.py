"""Memory of processes that run for weeks: no pauses to look at it, and no creep."""

from __future__ import annotations

import ctypes
import gc
import time

_TRIM_EVERY_S = 60.0
_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others need none


def settle_memory() -> None:
    """What was loaded so far stays. Python's collector would look at all of it now and then while
    every thread stands still: torch alone makes some 300,000 objects, which took 0.2 s each time,
    and Ray's take 0.05 s."""
    gc.collect()
    gc.freeze()


def unsettle_memory() -> None:
    gc.unfreeze()


class Trim:
    """Gives free pages back to the system, once a minute at most. Between frames that come and go
    glibc keeps more and more of them: 3 MB an hour in a camera's process."""

    def __init__(self) -> None:
        self._due_s = time.monotonic() + _TRIM_EVERY_S

    def tick(self) -> None:
        if _malloc_trim and time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + _TRIM_EVERY_S
            _malloc_trim(0)
