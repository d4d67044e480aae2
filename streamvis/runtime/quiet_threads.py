"""OpenMP threads that sleep while they wait, instead of spinning on a core."""

from __future__ import annotations

import os


def wait_quietly() -> None:
    """Call it before torch is first imported: OpenMP reads this once, when it is loaded.

    Spinning threads starve whatever shares their cores, the cameras' decoders first. Measured
    on two cores, four cameras in a replay: 34 frames/s spinning, 51 sleeping.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
