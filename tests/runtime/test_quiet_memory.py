"""The collector leaves alone what was loaded, and free memory goes back to the system."""

from __future__ import annotations

import ctypes
import gc

import psutil
import pytest

from streamvis.runtime import quiet_memory
from streamvis.runtime.quiet_memory import Trim, settle_memory, unsettle_memory

MB = 1_000_000


def test_what_was_loaded_is_not_looked_at_again():
    settle_memory()
    try:
        assert gc.get_freeze_count() > 10_000
        assert len(gc.get_objects()) < 10_000
    finally:
        unsettle_memory()
    assert gc.get_freeze_count() == 0


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
def test_free_pages_go_back_once_a_minute(monkeypatch):
    large, between = [], []
    for _ in range(1000):
        large.append(bytearray(b"x") * 60_000)
        between.append(bytes(1000))  # stays, so that what lies before it cannot shrink
    del large
    held = psutil.Process().memory_info().rss
    Trim().tick()
    assert psutil.Process().memory_info().rss > held - 5 * MB  # the minute is not over
    monkeypatch.setattr(quiet_memory, "_TRIM_EVERY_S", 0.0)
    Trim().tick()
    assert psutil.Process().memory_info().rss < held - 40 * MB
    assert len(between) == 1000
