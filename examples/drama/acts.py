"""What is done to the system, and how long it takes to come back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from drama.processes import workers
from drama.record import Act
from drama.scene import Scene

RETURN_S = 2.0  # promised: after the first key frame of a server that returned
NEW_WORKER_S = 5.0  # promised: with a warm spare
GUEST = "guest"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Comeback:
    """What an act found out. A recovery of None with a limit: it never came back."""

    touched: frozenset[str]
    is_fault: bool = True
    recovery_s: float | None = None
    recovery_limit_s: float | None = None


def play(scene: Scene, say: Say) -> None:
    """All acts, with calm between them."""
    scene.until_all_live()
    say("all cameras are live, a warm spare is there")
    scene.record.began_s = time.monotonic()
    scene.pause(scene.plan.first_calm_s)
    for name, act in ACTS.items():
        began_s = time.monotonic()
        found = act(scene, say)
        scene.pause(scene.plan.settle_s)
        scene.record.acts.append(Act(name, began_s, time.monotonic(), **vars(found)))
        scene.pause(scene.plan.calm_s)
    say("the end")


def server_dies(scene: Scene, say: Say) -> Comeback:
    name = scene.plan.cameras[-1]
    camera, witness, touched = scene.cameras[name], scene.witness, frozenset({name})
    camera.down()
    say(f"{name}: its server dies")
    scene.until(lambda: witness.states.get(name) == "reconnecting", f"{name} reconnecting")
    say(f"{name}: reconnecting")
    scene.pause(scene.plan.away_s)
    num_sent, up_s = len(camera.frames_sent), time.monotonic()
    camera.up()
    say(f"{name}: its server is back")
    if not scene.wait(lambda: witness.first_after(up_s, name) is not None):
        return Comeback(touched, recovery_limit_s=RETURN_S)
    first = witness.first_after(up_s, name)
    assert first is not None, "just seen"
    key_s = camera.began_s + camera.frames_sent[num_sent] / camera.fps  # it begins with one
    say(
        f"{name}: results again, {first.arrived_s - key_s:.2f} s after its first key frame, "
        f"{first.arrived_s - up_s:.2f} s after its server"
    )
    return Comeback(touched, True, first.arrived_s - key_s, RETURN_S)


def worker_is_killed(scene: Scene, say: Say) -> Comeback:
    """It serves all cameras: none of them goes on before the spare does."""
    witness, touched = scene.witness, frozenset(scene.plan.cameras)
    old, pid = witness.results[-1].epoch, workers(scene.session.pid)[0].pid
    os.kill(pid, signal.SIGKILL)
    killed_s = time.monotonic()
    say("the encoder worker is killed (SIGKILL)")
    found_s = []
    for name in scene.plan.cameras:
        if not scene.wait(lambda name=name: witness.first_after(killed_s, name, old) is not None):
            return Comeback(touched, recovery_limit_s=NEW_WORKER_S)
        first = witness.first_after(killed_s, name, old)
        assert first is not None, "just seen"
        found_s.append(first.arrived_s - killed_s)
    say(f"the warm spare serves: results of all cameras after {max(found_s):.2f} s")
    scene.until_spare_is_warm()
    say("a new spare is warm")
    return Comeback(touched, True, max(found_s), NEW_WORKER_S)


def subscriber_stalls(scene: Scene, say: Say) -> Comeback:
    scene.stalled.send_signal(signal.SIGSTOP)
    say("one of two subscribers is stopped (SIGSTOP)")
    scene.pause(scene.plan.stopped_s)
    scene.stalled.send_signal(signal.SIGCONT)
    say("it goes on (SIGCONT)")
    return Comeback(frozenset())


def camera_comes_and_goes(scene: Scene, say: Say) -> Comeback:
    witness, ordered_s = scene.witness, time.monotonic()
    scene.add_camera(GUEST)
    say(f"{GUEST}: a camera is added")
    scene.until(lambda: witness.first_after(ordered_s, GUEST) is not None, f"results of {GUEST}")
    say(f"{GUEST}: first result {time.monotonic() - ordered_s:.2f} s after the order")
    scene.pause(scene.plan.guest_s)
    scene.order("remove", name=GUEST)
    say(f"{GUEST}: is removed")
    scene.until(lambda: GUEST not in witness.states, f"a heartbeat without {GUEST}")
    return Comeback(frozenset({GUEST}), is_fault=False)


ACTS: dict[str, Callable[[Scene, Say], Comeback]] = {
    "server gone": server_dies,
    "worker killed": worker_is_killed,
    "subscriber stopped": subscriber_stalls,
    "camera added": camera_comes_and_goes,
}
