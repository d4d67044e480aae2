"""Resident memory of this process."""

from __future__ import annotations

import ctypes
import gc
import os
from contextlib import suppress
from pathlib import Path

_STATM = Path("/proc/self/statm")


def resident_mb() -> float | None:
    """What the process holds, once what is free has gone back to the system; None where the
    system does not say."""
    if not _STATM.exists():
        return None
    gc.collect()
    with suppress(OSError, AttributeError):  # glibc's: free lists would hide what grows into them
        ctypes.CDLL(None).malloc_trim(0)
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def grown_mb(before: float | None) -> float | None:
    """What resident memory gained since; 0 when it shrank."""
    now = resident_mb()
    return None if before is None or now is None else max(0.0, now - before)
