"""Cameras come and go all the time: nothing is left behind, and the others go on."""

from __future__ import annotations

import gc
import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic

import numpy as np
import psutil
import pytest
from live_samples import QUICK, wait_for
from matrix import contract
from rtsp_server import RtspCamera
from running import Running, check_books, running

from streamvis.topology import PipelineConfig
from streamvis.wire import DetMessage

CAMERA_MB = 0.7  # two canvases of 0.2 MB, and the encoder's cache

Footprint = dict[str, int]


def footprint() -> Footprint:
    """What a camera that is gone must not leave. Of the threads those of the RTSP server, which
    the test needs for each of its clients, do not count."""
    own = psutil.Process()
    gc.collect()
    threads = [t for t in threading.enumerate() if not t.name.endswith(("(_accept)", "(_serve)"))]
    return {
        "files": own.num_fds(),
        "threads": len(threads),
        "processes": len(own.children(recursive=True)),
        "shared memory": len(os.listdir("/dev/shm")),
        "folders": sum(
            f.name.startswith(f"sv-{own.pid}-") for f in Path(tempfile.gettempdir()).iterdir()
        ),
    }


def settled(wanted: Footprint) -> Footprint:
    """What is left, once it is what is wanted, or after a patience: sockets close on a thread."""
    with suppress(AssertionError):
        wait_for(lambda: footprint() == wanted)
    return footprint()


def keep_results_only(run: Running) -> None:
    """What the test itself keeps should not look like a leak."""
    with run._changed:
        run.messages[:] = [m for m in run.messages if isinstance(m, DetMessage)]
        run.arrived_s.clear()


def slope_mb(rss: list[int]) -> float:
    """Of a line through these, per step."""
    return float(np.polyfit(np.arange(len(rss)), np.array(rss) / 1e6, 1)[0])


@contract("add_remove", "cf")
@pytest.mark.timeout(400)
def test_a_live_camera_that_comes_and_goes_leaves_nothing_and_the_other_one_goes_on(tmp_path, note):
    """The first time may leave something: libraries load then. Cameras, pipeline, RTSP servers and
    the test are one process here, so the other camera may drop a frame where that stands still
    (noted); that it drops none on Ray is asserted in test_load.py."""
    with RtspCamera(fps=5) as steady, RtspCamera(fps=10) as guest:
        config = PipelineConfig.model_validate(
            {
                "version": 1,
                "name": "guests",
                "runtime": {"kind": "local"},
                "sources": {"steady": {"uri": steady.url}},
                "encoder": {"input_size": (320, 192), "threads": 1},
                "outputs": [{"publish": f"pub+bind:ipc://{tmp_path}/out"}],
            }
        )
        with running(config) as run:
            run.more_results("steady", 5)
            before: Footprint = {}
            rss: list[int] = []
            for _ in range(1 + 50):
                begin_s = monotonic()
                run.session.control.add("guest", {"uri": guest.url, "live": QUICK})
                run.more_results("guest", 3)
                run.session.control.remove("guest")
                run.until(lambda: run.states() and "guest" not in run.states(), "it gone")
                if not before:
                    before = footprint()
                    run.more_results("steady", 3)
                    first = run.results("steady")[-1]
                keep_results_only(run)
                rss.append(psutil.Process().memory_info().rss)
            took_s = monotonic() - begin_s
            run.more_results("steady", 3)
            last = run.results("steady")[-1]
            after = settled(before)  # collects garbage: everything in this process stands still
            summary = run.stop()
    note("added and removed", len(rss), "times")
    note("the last one took", took_s, "s")
    note("RSS", slope_mb(rss[1:]), "MB a time")
    assert after == before
    # Results are kept here, and by the publisher up to a limit.
    assert slope_mb(rss[len(rss) // 2 :]) < CAMERA_MB / 2
    for camera in ("steady", "guest"):
        check_books(run, summary, camera)
    results = [m for m in run.results("steady") if first.seq <= m.seq <= last.seq]
    assert np.all(np.diff([m.seq for m in results]) == 1)
    lost = {k: n - first.ledger.lost[k] for k, n in last.ledger.lost.items()}
    note("dropped by the other camera", lost.pop("policy"), "frames")
    assert not any(lost.values()), lost
