"""Whole runs, on both runtimes: everything published once, in order, the ledger exact."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import av
import numpy as np
import pytest
import zmq
from conftest import PANDASET, REPO, STREET, needs_real_data, write_clip
from matrix import contract

from streamvis import wire
from streamvis.render.jpeg import decode_jpeg
from streamvis.runtime.session import OnStatus, Session
from streamvis.source import framecode
from streamvis.source.drive import Drive
from streamvis.source.synth.camera import RIG
from streamvis.topology import PipelineConfig

RUNTIMES = ["local", "ray"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "a.mp4", num_frames=12)
    write_clip(folder / "b.mp4", num_frames=7)
    return folder


def config(sources: dict[str, str], tmp_path: Path, **extra) -> PipelineConfig:
    address = f"pub+bind:ipc://{tmp_path}/out"
    return PipelineConfig.model_validate(
        {
            "version": 1,
            "name": "test",
            "clock": "replay",
            "runtime": {"kind": "local"},
            "sources": {name: {"uri": uri} for name, uri in sources.items()},
            "encoder": {"input_size": (256, 192)},
            "outputs": [{"publish": {"address": address, "wait_subscribers": 1}}],
            **extra,
        }
    )


class Listener:
    """A raw subscriber: keeps every message's bytes until the pipeline says it stopped."""

    def __init__(self, endpoint: str, kinds: tuple[str, ...] = ("det", "emb")) -> None:
        self.parts: list[list[bytes]] = []
        self._kinds = kinds
        self._socket = zmq.Context.instance().socket(zmq.SUB)
        self._socket.connect(endpoint)
        for kind in (*kinds, "hb"):
            self._socket.subscribe(wire.topic_prefix(kind))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while self._socket.poll(60_000):
            parts = self._socket.recv_multipart()
            message = wire.decode(parts)
            if isinstance(message, wire.Heartbeat):
                if message.is_stopped:
                    break
            else:
                self.parts.append(parts)
        self._socket.close()

    def join(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive(), "the pipeline never said that it stopped"

    def messages(self, camera: str, kind: str = "det"):
        decoded = map(wire.decode, self.parts)
        return [m for m in decoded if m.camera == camera and m.kind == kind]


def run(made: PipelineConfig, on_status: OnStatus | None = None):
    listener = Listener(made.publish.endpoint.endpoint)
    summary = Session(made).run(on_status)
    listener.join()
    return summary, listener


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_replay_publishes_every_frame_once_and_in_order(runtime, clips, tmp_path):
    made = config(
        {"a": str(clips / "a.mp4"), "b": str(clips / "b.mp4")},
        tmp_path,
        runtime={"kind": runtime},
    )
    summary, listener = run(made)
    assert summary.exit_code == 0
    for camera, count in (("a", 12), ("b", 7)):
        for kind in ("det", "emb"):
            messages = listener.messages(camera, kind)
            assert [m.frame_index for m in messages] == list(range(count))
            assert [m.seq for m in messages] == list(range(count))
    for status, count in zip(summary.cameras, (12, 7), strict=True):
        ledger = status.ledger
        assert (ledger.source_frames, ledger.published, ledger.in_flight) == (count, count, 0)
        assert sum(ledger.lost.values()) == 0
        assert status.state == "ended"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_broken_camera_leaves_the_others_alone(runtime, clips, tmp_path):
    sources = {"gone": str(clips / "no.mp4"), "b": str(clips / "b.mp4")}
    summary, listener = run(config(sources, tmp_path, runtime={"kind": runtime}))
    assert summary.exit_code == 3
    assert "no such file" in str(summary.problems[0])
    gone, b = summary.cameras
    assert gone.state == "not_found"
    assert (b.state, b.ledger.published) == ("ended", 7)
    assert len(listener.messages("b")) == 7


@contract("none_at_start")
def test_all_cameras_broken_is_an_end_not_a_hang(tmp_path):
    made = config({"a": "/nowhere/a.mp4"}, tmp_path)
    phases: list[str] = []
    summary, _ = run(made, lambda phase, _: phases.append(phase))
    assert summary.exit_code == 3
    assert summary.cameras[0].ledger.published == 0
    assert phases[-1] == "stopping", "films and recordings take their time, and it is alive"


def test_two_workers_share_the_cameras(clips, tmp_path):
    made = config(
        {"a": str(clips / "a.mp4"), "b": str(clips / "b.mp4")},
        tmp_path,
        clock="live",
        runtime={"kind": "ray", "workers": 2},
    )
    summary, listener = run(made)
    epochs = [{m.epoch for m in listener.messages(camera)} for camera in ("a", "b")]
    assert [len(epoch) for epoch in epochs] == [1, 1]
    assert epochs[0] != epochs[1], "a camera is pinned to one worker"
    for status in summary.cameras:
        ledger = status.ledger
        assert ledger.published + sum(ledger.lost.values()) == ledger.source_frames


def test_live_drops_are_counted_to_the_frame(tmp_path):
    """200 frames a second are more than any of this can keep up with."""
    fast = write_clip(tmp_path / "fast.mp4", num_frames=200, fps=200)
    made = config({"a": str(fast)}, tmp_path, clock="live", encoder={"input_size": (640, 384)})
    summary, listener = run(made)
    ledger = summary.cameras[0].ledger
    assert ledger.source_frames == 200
    assert ledger.lost["policy"] > 0
    assert ledger.published + ledger.lost["policy"] == 200
    indices = [m.frame_index for m in listener.messages("a")]
    assert indices == sorted(set(indices)), "late frames must not overtake"
    assert len(indices) == ledger.published
    for message in listener.messages("a"):
        assert message.ledger.source_frames == message.frame_index + 1


def test_a_stop_is_clean_and_every_frame_accounted_for(tmp_path):
    long = write_clip(tmp_path / "long.mp4", num_frames=300, fps=10)
    made = config({"a": str(long)}, tmp_path, clock="live")
    session = Session(made)
    listener = Listener(made.publish.endpoint.endpoint)

    def enough() -> bool:
        return session.ledger.status()[0].ledger.published >= 5

    summary = session.run(should_stop=enough)
    listener.join()
    ledger = summary.cameras[0].ledger
    assert 5 <= ledger.published < 300
    assert ledger.published + sum(ledger.lost.values()) == ledger.source_frames


def test_a_stop_while_waiting_for_subscribers_publishes_nothing(clips, tmp_path):
    made = config({"a": str(clips / "a.mp4")}, tmp_path)
    summary = Session(made).run(should_stop=lambda: True)
    assert summary.cameras[0].ledger.published == 0


def canonical(listener: Listener) -> list[bytes]:
    return sorted(map(wire.canonical, listener.parts))


def test_two_replays_are_equal(clips, tmp_path):
    sources = {"a": str(clips / "a.mp4"), "b": str(clips / "b.mp4")}
    runs = [canonical(run(config(sources, tmp_path))[1]) for _ in range(2)]
    assert len(runs[0]) == 2 * (12 + 7)
    assert runs[0] == runs[1]


def test_the_synthetic_drive_is_synchronised(tmp_path):
    made = config(dict.fromkeys(RIG, str(STREET)), tmp_path, defaults={"max_frames": 6})
    listener = Listener(made.publish.endpoint.endpoint, kinds=("det", "sync"))
    Session(made).run()
    listener.join()
    moments = listener.messages(wire.ALL_CAMERAS, "sync")
    assert [m.members["front"].frame_index for m in moments] == list(range(6))
    assert all(m.is_complete and m.skew_ns < 50_000_000 for m in moments)


@pytest.mark.parametrize(("runtime", "clock"), [("ray", "replay"), ("local", "live")])
def test_the_pixels_prove_which_frame_a_result_is_for(runtime, clock, tmp_path):
    """Each picture the encoder saw carries its camera's number and its frame's in its corner."""
    made = config(
        dict.fromkeys(RIG, str(STREET)),
        tmp_path,
        clock=clock,
        runtime={"kind": runtime},
        defaults={"max_frames": 10},
        encoder={"input_size": (640, 384)},
        outputs=[
            {"publish": {"address": f"pub+bind:ipc://{tmp_path}/out", "wait_subscribers": 1}},
            {"mosaic": str(tmp_path / "film.mp4")},
        ],
    )
    listener = Listener(made.publish.endpoint.endpoint, kinds=("det", "img"))
    summary = Session(made).run()
    listener.join()
    for status in summary.cameras:
        results = {m.frame_index: m for m in listener.messages(status.camera, "det")}
        pictures = {m.frame_index: m.jpeg for m in listener.messages(status.camera, "img")}
        assert results.keys() == pictures.keys()
        assert len(results) == status.ledger.published > 0
        if clock == "replay":
            assert sorted(results) == list(range(10))
        for index, jpeg in pictures.items():
            code = framecode.read(decode_jpeg(jpeg))
            assert code == framecode.FrameCode(index, list(RIG).index(status.camera))
            assert (
                results[index].capture.t_ns == Drive(STREET).camera(status.camera).capture_ns[index]
            )
    assert summary.film.stat().st_size > 0


def test_a_film_shows_cameras_together_whose_clocks_disagree(clips, tmp_path):
    """A drive of 2025 beside a file without a clock: both begin with the film."""
    made = config(
        {"front": str(STREET), "b": str(clips / "b.mp4")},
        tmp_path,
        defaults={"max_frames": 7},
        outputs=[{"mosaic": {"path": str(tmp_path / "film.mp4"), "fps": 10}}],
    )
    Session(made).run()
    with av.open(str(tmp_path / "film.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) <= 8, "one after the other they would need twice as many"
    left, right = np.split(frames[2], 2, axis=1)
    assert left.std() > 20
    assert right.std() > 20, "no signal"


def test_a_film_shows_which_tiles_were_encoded(clips, tmp_path):
    """The clip's square stands on still ground: after the first frame most tiles are reused."""
    made = config(
        {"a": str(clips / "a.mp4")},
        tmp_path,
        runtime={"kind": "local"},
        encoder={"input_size": (640, 384)},
        tiling={"policy": "threshold", "max_age": 100},
        outputs=[{"mosaic": str(tmp_path / "film.mp4")}],
    )
    assert Session(made).run().problems == []
    with av.open(str(tmp_path / "film.mp4")) as film:
        first, *_, last = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert first.shape == (368 + 28, 648, 3), "one cell and the legend"
    assert np.median(last[200:300, 20:600]) < 0.7 * np.median(first[200:300, 20:600])


def test_the_subscriber_of_the_docs_sees_everything_from_another_process(clips, tmp_path):
    made = config({"a": str(clips / "a.mp4"), "b": str(clips / "b.mp4")}, tmp_path)
    script, endpoint = REPO / "docs/subscriber.py", made.publish.endpoint.endpoint
    subscriber = subprocess.Popen(
        [sys.executable, str(script), endpoint], stdout=subprocess.PIPE, text=True
    )
    Session(made).run()
    output = subscriber.communicate(timeout=30)[0]
    for camera, count in (("a", 12), ("b", 7)):
        frames = re.findall(rf"^{camera} frame (\d+) embedding", output, re.MULTILINE)
        assert [int(frame) for frame in frames] == list(range(count))
    assert "stopped; 0 messages missed" in output


@needs_real_data
def test_the_real_drive_publishes_four_times_eighty_frames_twice_the_same(tmp_path):
    runs = []
    for runtime in ("ray", "local"):
        made = config(
            dict.fromkeys(RIG, str(PANDASET)),
            tmp_path,
            runtime={"kind": runtime},
            encoder={"input_size": (640, 384)},
        )
        summary, listener = run(made)
        assert [status.ledger.published for status in summary.cameras] == [80] * 4
        assert all(sum(s.ledger.lost.values()) == s.ledger.in_flight == 0 for s in summary.cameras)
        for camera in RIG:
            assert [m.frame_index for m in listener.messages(camera)] == list(range(80))
        runs.append(canonical(listener))
    assert runs[0] == runs[1], "two runs, even on two runtimes, give the same bytes"
