"""Ctrl-C and SIGTERM in every state: a clean end, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from conftest import write_clip


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    write_clip(tmp_path / "a.mp4", num_frames=400, fps=10)
    path = tmp_path / "p.yaml"
    path.write_text(
        "version: 1\nname: test\nsources:\n  a: {uri: a.mp4}\n  b: {uri: a.mp4}\n"
        "encoder: {input_size: [128, 64]}\n"
        f"outputs:\n  - publish: pub+bind:ipc://{tmp_path}/out\n"
    )
    return path


def leftovers(process: subprocess.Popen[str]) -> list[Path]:
    """Run folders, with the sockets in them, and shared memory of this run."""
    folders = Path("/tmp").glob(f"sv-{process.pid}-*")
    return [*folders, *Path("/dev/shm").glob(f"*{process.pid}*")]


def of_session(leader_pid: int) -> list[psutil.Process]:
    """What lives of the session that `start` made, orphans included."""
    return [process for process in psutil.process_iter() if is_in_session(process, leader_pid)]


def is_in_session(process: psutil.Process, leader_pid: int) -> bool:
    try:
        return os.getsid(process.pid) == leader_pid
    except ProcessLookupError:
        return False


def start(pipeline: Path, runtime: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "streamvis.cli.main", "run", str(pipeline)),
            *("--runtime", runtime, "--summary", str(pipeline.with_suffix(".json"))),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def wait_for_phase(process: subprocess.Popen[str], phase: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if phase in line:
            return
    pytest.fail(f"it ended before it was {phase}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["sigint", "sigterm"])
@pytest.mark.parametrize("phase", ["loading", "running"])
@pytest.mark.parametrize("runtime", ["local", "ray"])
def test_a_signal_ends_it_cleanly(pipeline, runtime, phase, number):
    process = start(pipeline, runtime)
    wait_for_phase(process, phase)
    children = psutil.Process(process.pid).children(recursive=True)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does on Ctrl-C: every process gets it
    else:
        process.send_signal(number)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0, output
    assert "stopped" in output
    if phase == "running":
        assert "SIGTERM received" not in output, "Ray's stack trace"
    _, alive = psutil.wait_procs([*children, *of_session(process.pid)], timeout=10)
    assert not alive, f"left running: {alive}"
    assert not leftovers(process)
    assert not (pipeline.parent / "out").exists(), "its socket file is left"
    cameras = json.loads(pipeline.with_suffix(".json").read_text())["cameras"]
    for camera in cameras.values():
        lost = sum(camera["lost"].values())
        assert camera["source_frames"] == camera["published"] + camera["in_flight"] + lost


def test_a_second_signal_quits_at_once(pipeline):
    process = start(pipeline, "local")
    wait_for_phase(process, "running")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=20)[0]
    assert process.returncode in (0, 130), output  # 0 when the kernel merged the two
    assert not (pipeline.parent / "out").exists()


def kill_actor(process: subprocess.Popen[str], name: str) -> None:
    """SIGKILL the Ray worker process that hosts this actor."""
    children = psutil.Process(process.pid).children(recursive=True)
    (victim, *_) = [child for child in children if name in " ".join(child.cmdline())]
    victim.kill()


def as_endless_replay(pipeline: Path) -> None:
    """Live, what dies is started again: a replay goes on without it or ends."""
    text = pipeline.read_text().replace("{uri: a.mp4}", "{uri: a.mp4, loop: true}")
    pipeline.write_text(f"{text}clock: replay\n")


def test_a_killed_camera_process_leaves_the_other_camera_of_a_replay_alone(pipeline):
    as_endless_replay(pipeline)
    process = start(pipeline, "ray")
    wait_for_phase(process, "running")
    kill_actor(process, "ray::CameraLoop")
    wait_for_phase(process, "its process died")
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=90)[0]
    assert process.returncode == 3, output
    assert "its process died" in output
    cameras = json.loads(pipeline.with_suffix(".json").read_text())["cameras"]
    states = {camera["state"] for camera in cameras.values()}
    assert states == {"crashed", "ended"}
    for camera in cameras.values():
        assert camera["in_flight"] == 0
        total = camera["published"] + sum(camera["lost"].values())
        assert camera["source_frames"] == total
    assert not leftovers(process)


def test_a_killed_worker_ends_a_replay_with_one_sentence(pipeline):
    as_endless_replay(pipeline)
    process = start(pipeline, "ray")
    wait_for_phase(process, "running")
    kill_actor(process, "ray::EncoderActor")
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 7, output
    assert "worker 0: its process died" in output
    assert "Traceback" not in output
    for camera in json.loads(pipeline.with_suffix(".json").read_text())["cameras"].values():
        lost = sum(camera["lost"].values())
        assert camera["source_frames"] == camera["published"] + lost
    assert not leftovers(process)
