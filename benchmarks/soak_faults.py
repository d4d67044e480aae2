"""The faults of a soak. Each is a method that makes one, ends it, and waits until it is healed."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import numpy as np
import psutil
from live_samples import QUICK
from rtsp_server import RtspCamera
from soak_log import Log, role_of
from soak_readers import PATIENCE_S, Watcher, join_and_leave

from streamvis.errors import ControlError
from streamvis.serve.control_socket import ask

DECK = {  # how often each of them comes before the cards are shuffled anew
    "server_down": 10,
    "mute": 6,
    "freeze": 6,
    "damage": 6,
    "decoder_kill": 6,
    "decoder_stop": 3,
    "camera_kill": 2,
    "worker_kill": 1,
    "subscriber_stop": 4,
}
LENGTH_S = (1.0, 8.0)
PAUSE_S = (3.0, 15.0)
STOPPED_S = 30.0  # a subscriber


class Faults:
    """One thread for the faults of the victims, one for the camera that is always reconnecting,
    one for the camera that comes and goes, one for the subscribers."""

    def __init__(
        self,
        session: psutil.Process,
        addresses: tuple[str, str],
        watcher: Watcher,
        log: Log,
        seed: int,
    ) -> None:
        """`addresses` are where it publishes and where it takes orders."""
        self.counts: Counter[str] = Counter()
        self._session = session
        self._public, self._control = addresses
        self._watcher = watcher
        self._log = log
        self._rngs = [np.random.default_rng([seed, number]) for number in range(4)]
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(
        self,
        victims: dict[str, RtspCamera],
        restless: tuple[str, RtspCamera],
        guest: RtspCamera,
        stalled: psutil.Process,
        every_s: dict[str, float],
    ) -> None:
        """`every_s`: how long a cycle of `reconnect`, `add_remove` and `join` takes at least."""
        self._victims, self._stalled = victims, stalled
        self._run(self._play_cards, self._rngs[0])
        self._cycle("reconnect", every_s, lambda: self._reconnect(*restless, self._rngs[1]))
        self._cycle("add_remove", every_s, lambda: self._add_and_remove("guest", guest))
        self._cycle("join", every_s, lambda: self._join(self._rngs[3]))

    def stop(self) -> None:
        """What was begun is ended first."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_S)

    # ------------------------------------------------------------ threads

    def _run(self, target: Callable[..., None], *options: object) -> None:
        thread = threading.Thread(target=target, args=options, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _cycle(self, name: str, every_s: dict[str, float], act: Callable[[], None]) -> None:
        def run() -> None:
            while not self._stopping.is_set():
                began_s = self._log.now_s
                self._guarded(name, act)
                self._stopping.wait(max(0.0, every_s[name] - (self._log.now_s - began_s)))

        self._run(run)

    def _guarded(self, name: str, act: Callable[[], None]) -> None:
        try:
            act()
            self.counts[name] += 1
        except (psutil.NoSuchProcess, ControlError, AssertionError) as error:
            self._log.problem(f"{name}: {error}")

    def _play_cards(self, rng: np.random.Generator) -> None:
        while True:
            for name in rng.permutation([name for name, n in DECK.items() for _ in range(n)]):
                if self._stopping.wait(rng.uniform(*PAUSE_S)):
                    return
                camera = str(rng.choice(list(self._victims)))
                self._guarded(name, lambda: self._make(name, camera, rng))  # noqa: B023

    def _make(self, name: str, camera: str, rng: np.random.Generator) -> None:
        for_s = rng.uniform(*LENGTH_S)
        of_camera = {
            "server_down": lambda: self._server_down(self._victims[camera], for_s),
            "mute": lambda: self._mode(self._victims[camera], "mute", for_s),
            "freeze": lambda: self._mode(self._victims[camera], "freeze", for_s),
            "damage": lambda: self._damage(self._victims[camera], for_s, rng),
            "decoder_kill": lambda: self._decoder(camera).kill(),
            "decoder_stop": lambda: self._decoder(camera).suspend(),
            "camera_kill": lambda: psutil.Process(self._decoder(camera).ppid()).kill(),
        }
        if name in of_camera:
            with self._log.fault(name, camera):
                of_camera[name]()
                self._wait_healed(camera)
        elif name == "worker_kill":
            with self._log.fault(name):
                self._oldest_worker().kill()
                self._wait_healed(camera)
        else:
            with self._log.fault(name):
                self._stop_subscriber()

    def _wait_healed(self, camera: str) -> None:
        """Two results: the first may have been on its way."""
        seen = self._watcher.results[camera]
        assert self._watcher.wait_result(camera, seen + 1), f"no result of {camera} afterwards"

    # ------------------------------------------------------------ cameras

    def _server_down(self, camera: RtspCamera, for_s: float) -> None:
        camera.down()
        self._stopping.wait(for_s)
        camera.up()

    def _mode(self, camera: RtspCamera, mode: str, for_s: float) -> None:
        camera.mode = mode  # type: ignore[assignment]
        self._stopping.wait(for_s)
        camera.mode = "serve"

    def _damage(self, camera: RtspCamera, for_s: float, rng: np.random.Generator) -> None:
        def spoil(payload: bytes) -> bytes | None:
            if rng.random() < 0.2:
                return None
            flipped = bytearray(payload)
            flipped[int(rng.integers(len(flipped)))] ^= 1 << int(rng.integers(8))
            return bytes(flipped)

        camera.spoil = spoil
        self._stopping.wait(for_s)
        camera.spoil = None

    def _reconnect(self, name: str, camera: RtspCamera, rng: np.random.Generator) -> None:
        seen = self._watcher.results[name]
        self._server_down(camera, rng.uniform(0.05, 0.3))
        assert self._watcher.wait_result(name, seen + 1), f"{name} did not come back"

    def _add_and_remove(self, name: str, camera: RtspCamera) -> None:
        seen = self._watcher.results[name]
        source = {"uri": camera.url, "live": QUICK}
        self._order({"verb": "add", "name": name, "source": source})
        assert self._watcher.wait_result(name, seen), f"no result of {name}, which was added"
        self._order({"verb": "remove", "name": name})

    def _order(self, request: dict[str, object]) -> None:
        """A camera that is about to go cannot be added again at once."""
        for _ in range(round(PATIENCE_S / 0.25)):
            try:
                ask(self._control, request)
                return
            except ControlError as error:
                refusal = error
                self._stopping.wait(0.25)
        raise refusal

    # ------------------------------------------------------------ processes

    def _decoder(self, camera: str) -> psutil.Process:
        """It is the one that is connected to this camera's port."""
        port = urlsplit(self._victims[camera].url).port
        for process in self._processes("decoder"):
            with suppress(psutil.NoSuchProcess):
                ports = [c.raddr.port for c in process.net_connections("tcp") if c.raddr]
                if port in ports:
                    return process
        raise AssertionError(f"no decode process is connected to {camera}")

    def _oldest_worker(self) -> psutil.Process:
        """It serves; a younger one is the spare."""
        return min(self._processes("worker"), key=psutil.Process.create_time)

    def _processes(self, role: str) -> Sequence[psutil.Process]:
        found = []
        for child in self._session.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if role_of(child) == role:
                    found.append(child)
        return found

    # ------------------------------------------------------------ subscribers

    def _stop_subscriber(self) -> None:
        self._stalled.send_signal(signal.SIGSTOP)
        self._stopping.wait(STOPPED_S)
        self._stalled.send_signal(signal.SIGCONT)

    def _join(self, rng: np.random.Generator) -> None:
        join_and_leave(self._public, int(rng.integers(1, 40)), self._log)
