"""Processes that die or hang in mid-run are replaced, and every frame stays accounted for."""

from __future__ import annotations

import signal

from running import actor_process, check_books, running
from supervised import config

from streamvis.runtime.backoff import Backoff
from streamvis.runtime.engine import Hops
from streamvis.runtime.worker_loop import WorkerLoop


def test_a_worker_and_a_camera_that_are_killed_come_back_and_no_frame_is_unaccounted(
    tmp_path, caplog
):
    with running(config(tmp_path)) as run:
        run.more_results("a")
        run.more_results("b")
        first_epoch = run.results("a")[0].epoch
        actor_process("EncoderActor").kill()
        run.until(lambda: run.results("a")[-1].epoch != first_epoch, "a new worker's results")
        run.more_results("b")
        new = next(m for m in run.results("a") if m.epoch != first_epoch)
        assert new.packet_kind == "I", "a new worker has nothing to build on"

        actor_process("CameraLoop").kill()
        run.more_results("a", 15)
        run.more_results("b", 15)
        summary = run.stop()
    assert summary.exit_code == 0
    assert summary.num_worker_deaths == 1
    for camera in "ab":
        check_books(run, summary, camera)
    lost = [status.ledger.lost["infer"] for status in summary.cameras]
    assert "without a goodbye" not in caplog.text, "its end waited for a worker that is dead"
    assert max(lost) <= 3, "at most what was on its way to the worker, or in the camera's hands"


def test_a_worker_that_hangs_is_replaced_by_the_warm_spare(tmp_path, caplog):
    with running(config(tmp_path, "a", worker_timeout="8s", spares=1)) as run:
        run.more_results("a")
        first_epoch = run.results("a")[0].epoch
        actor_process("EncoderActor").send_signal(signal.SIGSTOP)  # the oldest one: it serves
        run.until(lambda: run.results("a")[-1].epoch != first_epoch, "a new worker's results")
        summary = run.stop()
    check_books(run, summary, "a")
    assert "worker 0: it did not answer for 8 s; it is replaced" in caplog.text
    assert "worker 0: a warm spare takes over" in caplog.text


def test_a_spare_is_not_stuck_however_long_it_waits(tmp_path):
    spare = WorkerLoop(config(tmp_path), f"ipc://{tmp_path}/tiles", Hops("", tmp_path))
    assert spare.stuck_ns == 0, "else it is killed when it takes over after worker_timeout"


def test_waits_double_until_a_process_has_lived_for_a_minute():
    backoff = Backoff(first_s=0.0)
    backoff.began(0.0)
    assert [backoff.died(0.0) for _ in range(4)] == [0.0, 1.0, 2.0, 4.0]
    assert max(backoff.died(0.0) for _ in range(9)) == 30.0
    backoff.began(100.0)
    assert backoff.died(161.0) == 161.0
