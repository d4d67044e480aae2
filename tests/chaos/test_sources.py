"""Live cameras that fail in every way: what a subscriber sees, and what the ledger says."""

from __future__ import annotations

import signal
import threading
import time

import numpy as np
import pytest
from live_session import (
    KINDS,
    check_no_gap,
    check_pixels,
    decode_process,
    first_result_after,
    ledger_of,
    live_config,
    seconds_to_result,
    wait_for_state,
)
from matrix import contract
from rtsp_server import RtspCamera
from running import running

RECOVERY_S = 2.0  # promise (b)
FAULTS = ("down", "cut", "silent", "frozen")


def suffer(run, camera: RtspCamera, fault: str, away_s: float) -> None:
    """One fault from its beginning to its end."""
    if fault == "cut":
        camera.hang_up()
        wait_for_state(run, "gate", "reconnecting")
        return
    if fault == "down":
        camera.down()
    else:
        camera.mode = "mute" if fault == "silent" else "freeze"
    wait_for_state(run, "gate", "stale", "reconnecting", "timeout")
    threading.Event().wait(away_s)
    if fault == "down":
        camera.up()
    camera.mode = "serve"


@contract("rtsp_server", "bc")
def test_a_server_that_fails_and_returns_is_served_again_in_two_seconds(tmp_path, times, note):
    rng, rounds = np.random.default_rng(7), times(1, 10)
    seconds = {fault: [] for fault in FAULTS}
    with (
        RtspCamera(fps=15, clip_frames=600 + 600 * rounds) as camera,
        running(live_config(tmp_path, {"gate": camera.url}, {"timeout": "1s"}), kinds=KINDS) as run,
    ):
        run.more_results("gate", 5)
        for fault in FAULTS * rounds:
            suffer(run, camera, fault, away_s=float(rng.uniform(0, 1.5)))
            seconds[fault].append(seconds_to_result(run, "gate", camera))
            run.more_results("gate", 5)
        summary = run.stop()
    unread = check_pixels(run, summary, "gate", camera)
    for fault, found in seconds.items():
        note(f"{fault}: p50", float(np.median(found)), "s")
        note(f"{fault}: max", max(found), "s")
    note("sent and never read", unread / len(camera.plays), "frames a connection")
    # A server that answers nothing is given up after `timeout`, and until then not tried again.
    assert max(seconds.pop("silent")) < RECOVERY_S + 1
    assert max(max(found) for found in seconds.values()) < RECOVERY_S


@contract("decode_process", "ae")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_a_decode_process_that_dies_or_hangs_is_only_its_own_cameras_loss(
    number, tmp_path, times, note
):
    seconds, rounds = [], times(1, 10)
    clip_frames = 300 + 300 * rounds
    with (
        RtspCamera(fps=15, clip_frames=clip_frames) as gate,
        RtspCamera(fps=15, clip_frames=clip_frames) as yard,
    ):
        uris = {"gate": gate.url, "yard": yard.url}
        with running(live_config(tmp_path, uris, {"timeout": "1s"}), kinds=KINDS) as run:
            run.more_results("gate", 5)
            run.more_results("yard", 5)
            fault_ns = time.monotonic_ns()
            for _ in range(rounds):
                victim = decode_process(gate)
                began_ns = time.monotonic_ns()
                victim.send_signal(number)
                wait_for_state(run, "gate", "stale", "reconnecting")
                first_result_after(run, "gate", began_ns + 200_000_000)
                seconds.append((time.monotonic_ns() - began_ns) / 1e9)
                run.more_results("gate", 5)
            summary = run.stop()
    unread = check_pixels(run, summary, "gate", gate)
    check_pixels(run, summary, "yard", yard)
    check_no_gap(run, "yard", fault_ns)
    lost = ledger_of(summary, "gate").lost
    assert lost["decode"] <= 4 * len(seconds), "what the process had in hand"
    assert max(seconds) < 15
    note("results again", max(seconds), "s")
    note("lost in decode", lost["decode"] / len(seconds), "frames")
    note("sent and never read", unread / len(seconds), "frames")


@contract("none_at_start", "ag")
def test_no_camera_comes_and_the_pipeline_is_up_with_a_typed_state_for_each(tmp_path, note):
    with (
        RtspCamera(credentials="root:secret") as locked,
        RtspCamera(mode="mute") as mute,
        RtspCamera(mode="freeze") as frozen,
        RtspCamera(codec="VVVV") as strange,
        RtspCamera(path="/door") as elsewhere,
        RtspCamera() as gone,
    ):
        gone.down()
        states = {
            "locked": (locked.url_as("root:wrong"), "auth_failed"),
            "mute": (mute.url, "timeout"),
            "frozen": (frozen.url, "timeout"),
            "strange": (strange.url, "codec_unsupported"),
            "elsewhere": (elsewhere.url.replace("door", "gate"), "not_found"),
            "gone": (gone.url, "not_found"),
            "nothing": ("udp://127.0.0.1:9", "timeout"),
            "device": ("/dev/video-none", "not_found"),
        }
        uris = {name: uri for name, (uri, _) in states.items()}
        with running(live_config(tmp_path, uris, {"timeout": "1s"})) as run:
            wanted = {name: state for name, (_, state) in states.items()}
            run.until(lambda: run.states() == wanted, "every camera's state")
            began_s = time.monotonic()
            summary = run.stop()
            took_s = time.monotonic() - began_s
    note("stop", took_s, "s")
    assert took_s < 5
    assert summary.exit_code == 3
    assert {status.camera: status.state for status in summary.cameras} == wanted
    assert all(status.error for status in summary.cameras)
    assert "wrong" not in repr(summary)
