"""How soon a camera that was gone gives pictures again, and what many reconnections leave behind.

    python benchmarks/live_recovery.py --cycles 100

A camera's RTSP server dies, stays away for a while and returns, again and again. Measured is from
the first key frame that the returned server could send until its picture, or the first after it, is
decoded; the machine should be idle. One JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from rtsp_server import RtspCamera, clip

from streamvis.source.config import SourceConfig
from streamvis.source.live import LiveSource

SIZE = (640, 384)
PATIENCE_S = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--fps", type=float, default=15.0)
    parser.add_argument("--away-s", type=float, default=1.0, help="longest absence")
    options = parser.parse_args()
    clip(gop=5)
    with RtspCamera(fps=options.fps, gop=5) as camera:
        source = LiveSource("gate", SourceConfig(uri=camera.url), SIZE, random.Random(0))
        arrivals = Arrivals(source)
        arrivals.wait_after(time.monotonic_ns())
        before = footprint(source)
        delays_ms = list(cycles(camera, arrivals, options.cycles, options.away_s))
        after = footprint(source)
        arrivals.stop()
    figures = {
        "benchmark": "live_recovery",
        "cycles": options.cycles,
        "recovery_ms": dict(
            zip(
                ("p50", "p99", "max"),
                np.percentile(delays_ms, [50, 99, 100]).round().tolist(),
                strict=True,
            )
        ),
        "before": before,
        "after": after,
        "fps": options.fps,
        "cores": len(os.sched_getaffinity(0)),
    }
    print(json.dumps(figures))


def cycles(camera: RtspCamera, arrivals: Arrivals, count: int, away_s: float):
    """Milliseconds from the first key frame that could be sent to a picture, of each cycle."""
    rng = np.random.default_rng(0)
    for number in range(count):
        camera.down()
        arrivals.source.live.sleep(float(rng.uniform(0.1, away_s)))
        camera.up()
        key = -(-camera.frame_now() // camera.gop) * camera.gop
        key_ns = round((camera.began_s + key / camera.fps) * 1e9)
        delay_ms = (arrivals.wait_after(time.monotonic_ns()) - key_ns) / 1e6
        print(f"{number + 1:5d}  {delay_ms:6.0f} ms", flush=True)
        yield delay_ms


class Arrivals:
    """Reads a source on a thread."""

    def __init__(self, source: LiveSource) -> None:
        self.source = source
        self._newest_ns = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def wait_after(self, since_ns: int) -> int:
        """When the first frame that came in after this moment was there; monotonic ns."""
        with self._changed:
            came = self._changed.wait_for(lambda: self._newest_ns > since_ns, PATIENCE_S)
        assert came, f"no picture for {PATIENCE_S:g} s: {self.source.live.condition}"
        return time.monotonic_ns()

    def stop(self) -> None:
        self.source.live.stop()
        self._thread.join()
        self.source.close()

    def _run(self) -> None:
        while self.source.grab() is not None:
            frame = self.source.retrieve(0)
            assert frame is not None
            with self._changed:
                self._newest_ns = frame.t_ingest_ns
                self._changed.notify_all()


def footprint(source: LiveSource) -> dict[str, float]:
    """Of this process and of the decode process."""
    own, other = psutil.Process(), psutil.Process(source.decoder_pid)
    return {
        "files": own.num_fds(),
        "decoder_files": other.num_fds(),
        "rss_mb": round(own.memory_info().rss / 1e6, 1),
        "decoder_rss_mb": round(other.memory_info().rss / 1e6, 1),
    }


if __name__ == "__main__":
    main()
