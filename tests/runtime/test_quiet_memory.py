"""The collector leaves alone what was loaded, and looks at it again afterwards."""

from __future__ import annotations

import gc

from streamvis.runtime.quiet_memory import settle_memory, unsettle_memory


def test_what_was_loaded_is_not_looked_at_again():
    settle_memory()
    try:
        assert gc.get_freeze_count() > 10_000
        assert len(gc.get_objects()) < 10_000
    finally:
        unsettle_memory()
    assert gc.get_freeze_count() == 0
