"""Processes that die or hang in mid-run are replaced, and every frame stays accounted for."""

from __future__ import annotations

import signal
from dataclasses import replace
from time import monotonic

import numpy as np
from matrix import contract
from running import actor_process, check_books, running
from supervised import config
from wire_samples import make_packet

from streamvis.back import build_back
from streamvis.front import build_front
from streamvis.runtime.backoff import Backoff
from streamvis.runtime.engine import Hops
from streamvis.runtime.rounds import Rounds
from streamvis.runtime.worker_loop import WorkerLoop
from streamvis.source.open import open_source
from streamvis.tiling.config import TilingConfig
from streamvis.topology import PipelineConfig
from streamvis.types import Feedback, TilePacket


def dense_embeddings(made: PipelineConfig, camera: str) -> list[np.ndarray]:
    """Of the camera's clip, every frame by itself: what no fault and no reuse can spoil."""
    source = open_source(camera, made.sources[camera], made.encoder.input_size)
    back = build_back(made.encoder, made.detector, made.tracker, epoch="dense")
    front = build_front(made.encoder, TilingConfig())
    found = []
    while len(found) < 30 and source.grab() is not None:
        frame = source.retrieve(0)
        assert frame is not None
        results, _ = back.step([front.step(frame, Feedback(acked_seq=len(found) - 1))])
        found.append(results[0].embedding)
    source.close()
    return found


@contract("worker", "ce")
@contract("decode_process", "c")
def test_a_worker_and_a_camera_that_are_killed_come_back_and_no_frame_is_unaccounted(
    tmp_path, note, caplog
):
    made = config(tmp_path)
    with running(made) as run:
        run.more_results("a")
        run.more_results("b")
        first_epoch = run.results("a")[0].epoch
        killed_s = monotonic()
        actor_process("EncoderActor").kill()
        run.until(
            lambda: all(run.results(c)[-1].epoch != first_epoch for c in "ab"),
            "a new worker's results",
        )
        recovery_s = monotonic() - killed_s
        run.more_results("a", 5)
        anew = [m for m in run.results("a") if m.epoch != first_epoch]
        vectors = [m for m in run.embeddings("a") if m.epoch != first_epoch]
        actor_process("CameraLoop").kill()
        run.more_results("a", 15)
        run.more_results("b", 15)
        summary = run.stop()
    assert summary.exit_code == 0
    assert summary.num_worker_deaths == 1
    for camera in "ab":
        check_books(run, summary, camera)
    note("new results after SIGKILL", recovery_s, "s")
    assert recovery_s < 15
    assert anew[0].packet_kind == "I", "a new worker has nothing to build on"
    assert anew[0].ledger.lost["infer"] <= 1, "of a batch each camera has one frame"
    dense = dense_embeddings(made, "a")
    for message in vectors:
        cosine = float(message.embedding @ dense[message.frame_index % len(dense)])
        assert cosine > (0.999 if message.packet_kind == "I" else 0.98)
    lost = [status.ledger.lost["infer"] for status in summary.cameras]
    assert "without a goodbye" not in caplog.text, "its end waited for a worker that is dead"
    assert max(lost) <= 3, "at most what was on its way to the worker, or in the camera's hands"


@contract("worker", "ce")
def test_a_worker_that_hangs_is_replaced_by_the_warm_spare(tmp_path, caplog, note):
    with running(config(tmp_path, "a", worker_timeout="8s", spares=1)) as run:
        run.more_results("a")
        workers = run.session.control._engine._workers
        run.until(lambda: workers._spares and workers._spares[0].facts, "the spare, warm")
        first_epoch = run.results("a")[0].epoch
        stopped_s = monotonic()
        actor_process("EncoderActor").send_signal(signal.SIGSTOP)  # the oldest one: it serves
        run.until(lambda: run.results("a")[-1].epoch != first_epoch, "a new worker's results")
        recovery_s = monotonic() - stopped_s
        new = next(m for m in run.results("a") if m.epoch != first_epoch)
        summary = run.stop()
    note("new results after a hang, 8 s of it patience", recovery_s, "s")
    assert recovery_s < 8 + 5
    assert new.packet_kind == "I"
    assert new.ledger.lost["infer"] <= 1
    check_books(run, summary, "a")
    assert "worker 0: it did not answer for 8 s; it is replaced" in caplog.text
    assert "worker 0: a warm spare takes over" in caplog.text


def test_a_spare_is_not_stuck_however_long_it_waits(tmp_path):
    spare = WorkerLoop(config(tmp_path), f"ipc://{tmp_path}/tiles", Hops("", tmp_path))
    assert spare.stuck_ns == 0, "else it is killed when it takes over after worker_timeout"


def test_nothing_is_kept_of_a_camera_that_was_given_up_until_it_begins_again(tmp_path):
    made = config(tmp_path)
    loop = WorkerLoop(made, f"ipc://{tmp_path}/tiles", Hops("", tmp_path))
    loop._back = build_back(made.encoder, made.detector, made.tracker, "e" * 32)
    loop._rounds = Rounds([], "live")

    def send(ingest_ns: int) -> list[TilePacket]:
        loop._take_in(replace(make_packet(), stamps_ns={"ingest": ingest_ns}))
        taken = loop._rounds.take()
        for packet in taken:
            loop._back._state(packet)
        return taken

    assert send(5)
    loop._take_in(replace(make_packet(), stamps_ns={"ingest": 6}))  # waits
    loop.give_up("front", now_ns=10)
    loop._follow_orders()
    assert not loop._rounds.take(), "it was of the life that is over"
    assert not send(9), "late"
    assert not loop._rounds.is_open("front")
    assert loop._back._cameras == {}
    assert send(11), "a new life"
    for i in range(300):
        loop.give_up(f"camera-{i}", now_ns=12)
    loop._follow_orders()
    assert len(loop._given_up_ns) == 256


def test_waits_double_until_a_process_has_lived_for_a_minute():
    backoff = Backoff(first_s=0.0)
    backoff.began(0.0)
    assert [backoff.died(0.0) for _ in range(4)] == [0.0, 1.0, 2.0, 4.0]
    assert max(backoff.died(0.0) for _ in range(9)) == 30.0
    backoff.began(100.0)
    assert backoff.died(161.0) == 161.0
