"""Live cameras in a whole run: states on the wire, exact books, a recording, no password."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack

import zmq
from live_samples import QUICK
from matrix import contract
from rtsp_server import RtspCamera
from running import check_books, running

from streamvis.source.config import SourceConfig
from streamvis.source.open import open_source
from streamvis.topology import PipelineConfig

SECRET = "pl4nted"


class Eavesdropper:
    """Keeps the bytes of everything that is published."""

    def __init__(self, endpoint: str) -> None:
        self.heard = b""
        self._is_over = threading.Event()
        self._socket = zmq.Context.instance().socket(zmq.SUB)
        self._socket.subscribe(b"")
        self._socket.connect(endpoint)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> bytes:
        self._is_over.set()
        self._thread.join()
        self._socket.close()
        return self.heard

    def _run(self) -> None:
        while not self._is_over.is_set() or self._socket.poll(0):
            if self._socket.poll(50):
                self.heard += b"".join(self._socket.recv_multipart())


@contract("rtsp_server", "c")
def test_a_live_run_from_loss_to_return(tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with RtspCamera(fps=20, credentials=f"root:{SECRET}") as camera, ExitStack() as stack:
        config = PipelineConfig.model_validate(
            {
                "version": 1,
                "name": "live",
                "runtime": {"kind": "local"},
                "defaults": {"live": QUICK},
                "sources": {
                    "gate": {"uri": camera.url},
                    "yard": {"uri": camera.url_as(f"root:{SECRET}-wrong")},
                },
                "encoder": {"input_size": (320, 192)},
                "outputs": [
                    {"publish": {"address": f"pub+bind:ipc://{tmp_path}/out", "heartbeat": "50ms"}},
                    {"record": str(tmp_path / "rec")},
                ],
            }
        )
        ear = Eavesdropper(f"ipc://{tmp_path}/out")
        run = stack.enter_context(running(config))
        run.until(lambda: run.states() == {"gate": "live", "yard": "auth_failed"}, "both states")
        run.more_results("gate", 10)
        camera.down()
        run.until(lambda: run.states()["gate"] == "reconnecting", "the loss")
        num_before = len(run.results("gate"))
        camera.up()
        run.until(lambda: run.states()["gate"] == "live", "the return")
        run.more_results("gate", 10)
        summary = run.stop()
        heard = ear.stop()
    gate, yard = summary.cameras
    assert (gate.state, gate.error) == ("ended", "")
    assert yard.state == "auth_failed"
    assert "refuses the login" in yard.error
    assert summary.exit_code == 3
    check_books(run, summary, "gate")
    assert gate.ledger.published > num_before
    assert gate.ledger.lost["infer"] == gate.ledger.lost["publish"] == 0
    assert yard.ledger.source_frames == 0
    newest = run.results("gate")[-1].frame_index
    assert newest < gate.ledger.source_frames <= newest + 4, "what was decoded, and no more"
    assert check_recording(tmp_path / "rec", gate.ledger.source_frames) == 1
    recorded = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"127.0.0.1" in heard, "the eavesdropper heard the config"
    for text in (heard, recorded, repr(summary).encode(), caplog.text.encode()):
        assert SECRET.encode() not in text
    assert SECRET not in "".join(capfd.readouterr())


def check_recording(folder, num_frames: int) -> int:
    """How many discontinuities are in it; its frames are those of the run."""
    (path,) = folder.iterdir()
    source = open_source("gate", SourceConfig(uri=str(path)), (320, 192))
    frames = []
    while source.grab() is not None:
        frame = source.retrieve(0)
        frames += [frame] if frame else []
    source.close()
    assert 0.8 * num_frames < len(frames) <= num_frames + 4
    assert source.lost_source == 0
    return sum(frame.is_discont for frame in frames)
