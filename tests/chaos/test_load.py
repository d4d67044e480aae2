"""One camera that fails among others, and more streams than can be served."""

from __future__ import annotations

import threading
from pathlib import Path
from time import sleep

import av
import numpy as np
import pytest
from isolation_scene import CONTROLS, FAULTY, scene
from matrix import contract
from running import Running, check_books, running

from streamvis.client import Subscriber
from streamvis.encode.sv_tiny_encoder import SvTinyEncoder
from streamvis.runtime.session import RunSummary
from streamvis.topology import PipelineConfig

SMALL = {"encoder": {"input_size": (128, 64), "threads": 1}, "tiling": {"policy": "threshold"}}


@contract("isolation", "a1c")
@contract("add_remove", "a1c")
def test_a_camera_comes_fails_in_every_way_and_goes_and_the_others_notice_nothing(
    tmp_path, note, times
):
    """Nothing of the controls is lost. Their p99 is noted, not asserted: on a machine that does
    other things, too, it says more about those; benchmarks/isolation.py measures it."""
    with scene(tmp_path, fps=5, runtime={"kind": "ray"}, **SMALL) as four:
        quiet, turns = [four.turn("", 2)], []
        four.add()
        for _ in range(times(1, 5)):
            for fault in four.faults:
                turns.append(four.turn(fault, 1.2))
                quiet.append(four.turn("", 0.6))
        four.remove()
        last = four.turn("", 1)
        summary = four.run.stop()
    assert sum(turn.num_missing for turn in (*quiet, *turns, last)) == 0
    for camera in CONTROLS:
        check_books(four.run, summary, camera)
        results = four.run.results(camera)
        assert [m.seq for m in results] == list(range(len(results)))
        assert len({m.epoch for m in results}) == 1
    check_books(four.run, summary, FAULTY)
    note("p99 quiet", max(turn.latency_p99_ms for turn in quiet), "ms")
    note("p99 with faults", max(turn.latency_p99_ms for turn in turns), "ms")
    note("between results p99 with faults", max(turn.between_p99_ms for turn in turns), "ms")


STREAMS = ("a", "b", "c", "d")
FPS = 10
TILES = 15  # of 320x192
TILE_S = 1 / (len(STREAMS) * FPS * TILES) * 2  # so slow that half of all tiles can be served
MAX_AGE_MS = 1000.0


def busy_clip(path: Path) -> Path:
    """Every tile of every frame is new."""
    texture = np.random.default_rng(0).integers(0, 255, (48, 80, 3), np.uint8)
    image = texture.repeat(4, 0).repeat(4, 1)  # [192, 320, 3]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 320, 192, "yuv420p"
        stream.codec_context.options = {"bf": "0", "g": "5", "preset": "ultrafast"}
        for index in range(60):
            moved = np.roll(image, 37 * index, axis=1)
            for packet in stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.fixture
def slow_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Computes as long as tiles times TILE_S, whatever this machine is."""
    encode = SvTinyEncoder.encode_changed

    def slow(self, updates):
        sleep(TILE_S * sum(len(update.plan.index) for update in updates))
        return encode(self, updates)

    monkeypatch.setattr(SvTinyEncoder, "encode_changed", slow)


def overloaded(folder: Path, tiling: dict[str, object], count: int) -> tuple[Running, RunSummary]:
    """So many results of each stream, and a subscriber beside it that takes nothing old."""
    clip = folder / "busy.mp4"
    config = PipelineConfig.model_validate(
        {
            "version": 1,
            "name": "overload",
            "runtime": {"kind": "local"},
            "sources": {name: {"uri": str(clip), "loop": True} for name in STREAMS},
            "encoder": {"input_size": (320, 192), "threads": 1},
            "tiling": tiling,
            "outputs": [{"publish": f"pub+bind:ipc://{folder}/out"}],
        }
    )
    strict = Subscriber(config.publish.address, kinds=("det",), max_age_ms=MAX_AGE_MS)
    errors: list[BaseException] = []

    def read() -> None:
        try:
            with strict as messages:
                for _ in messages:
                    pass
        except BaseException as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    with running(config) as run:
        for name in STREAMS:
            run.more_results(name, count)
        summary = run.stop()
    reader.join()
    assert errors == [], "it would be Lagging"
    return run, summary


def share_published(summary: RunSummary) -> list[float]:
    return [s.ledger.published / s.ledger.source_frames for s in summary.cameras]


@contract("overload", "cd")
@pytest.mark.usefixtures("slow_encoder")
def test_twice_the_streams_are_served_by_halves_each_alike_and_none_is_old(tmp_path, note, times):
    busy_clip(tmp_path / "busy.mp4")
    run, summary = overloaded(tmp_path, {"policy": "off"}, times(15, 300))
    ages_ms = [
        came_s * 1e3 - message.stamps_ns["ingest"] / 1e6
        for came_s, message in zip(run.arrived_s, run.messages, strict=True)
        if message.kind == "det"
    ]
    note("share of frames published", min(share_published(summary)), "")
    note("age p99", float(np.percentile(ages_ms, 99)), "ms")
    assert max(ages_ms) < MAX_AGE_MS
    for name in STREAMS:
        check_books(run, summary, name)
    published = [status.ledger.published for status in summary.cameras]
    assert max(published) - min(published) <= 2, "fair: rounds take one frame of each"
    for status in summary.cameras:
        assert status.ledger.lost["policy"] >= 0.3 * status.ledger.source_frames, "overloaded"
        assert sum(status.ledger.lost.values()) == status.ledger.lost["policy"]


@contract("overload", "cd")
@pytest.mark.usefixtures("slow_encoder")
def test_with_a_deadline_quality_gives_way_before_frames_do(tmp_path, note, times):
    """The same load: fewer tiles of each frame, and nearly all of the frames."""
    busy_clip(tmp_path / "busy.mp4")
    tiling = {"policy": "deadline", "deadline_ms": 1000 / FPS, "refresh": False}
    run, summary = overloaded(tmp_path, tiling, times(40, 600))
    for name in STREAMS:
        check_books(run, summary, name)
    late = [m for name in STREAMS for m in run.results(name)[-20:]]
    tiles = float(np.mean([message.tiles.encoded for message in late]))
    note("tiles of 15 with a deadline", tiles, "")
    note("share of frames published with a deadline", min(share_published(summary)), "")
    assert tiles < 0.7 * TILES
    for name in STREAMS:
        first, last = run.results(name)[-20], run.results(name)[-1]
        assert 19 / (last.frame_index - first.frame_index) > 0.8
