"""Everything a user can get wrong: one clear sentence, the documented exit code, nothing left."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import av
import pytest
from conftest import write_clip
from matrix import contract

from streamvis.encode.weights import BUNDLED

STREAMVIS = [sys.executable, "-m", "streamvis.cli.main"]


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    write_clip(tmp_path / "a.mp4", num_frames=6)
    path = tmp_path / "p.yaml"
    path.write_text(
        "version: 1\n"
        "name: test\n"
        "clock: replay\n"
        "runtime: {kind: local}\n"
        "sources:\n"
        "  a: {uri: a.mp4}\n"
        "encoder: {input_size: [128, 64]}\n"
        "outputs:\n"
        "  - publish: pub+bind:tcp://127.0.0.1:0\n"
    )
    return path


def streamvis(
    *args: object, env: dict[str, str] | None = None, **extra
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*STREAMVIS, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **(env or {})},
        check=False,
        **extra,
    )


def check(done: subprocess.CompletedProcess[str], code: int, *hints: str) -> None:
    """The exit code, and one sentence with these words; never a traceback."""
    text = done.stderr + done.stdout
    assert done.returncode == code, text
    assert "Traceback" not in text
    for hint in hints:
        assert hint in text


CONFIG_MISTAKES = {
    "no sources": (["sources={}"], ["sources", "at least 1"]),
    "unknown key": (["encoder.widht=1"], ["encoder.widht", "unknown key"]),
    "clock": (["clock=fast"], ["clock", "'live' or 'replay'"]),
    "not a tile multiple": (["encoder.input_size=[100,64]"], ["multiples of the 64 px tile"]),
    "two outputs in one": (
        ["outputs=[{publish: tcp://127.0.0.1:7700, mosaic: y.mp4}]"],
        ["exactly one key"],
    ),
    "address": (["outputs.0.publish=tcp:/x"], ["is not an address"]),
    "open to the network": (["outputs.0.publish=pub+bind:tcp://0.0.0.0:7700"], ["insecure: true"]),
    "camera name": (["sources={a/b: {uri: a.mp4}}"], ["cannot be a name"]),
    "unknown url": (["sources.a.uri=gopher://cam/1"], ["gopher:// is not read"]),
    "replay on two workers": (["runtime.workers=2"], ["set workers: 1"]),
    "film without .mp4": (["outputs=[{mosaic: film}]"], ["a film is an .mp4 file"]),
    "one and a half GPUs": (["runtime.gpus_per_worker=1.5"], ["must be a whole number"]),
    "no YAML value": (["name=2024-99-99"], ["quote it"]),
    "not key=value": (["clock"], ["key.path=value"]),
}


@pytest.mark.parametrize("mistake", CONFIG_MISTAKES)
def test_a_mistake_in_the_config_starts_nothing(pipeline, mistake):
    overrides, hints = CONFIG_MISTAKES[mistake]
    args = [arg for override in overrides for arg in ("--set", override)]
    for verb in ("validate", "run"):
        check(streamvis(verb, pipeline, *args), 2, *hints)


def test_two_cameras_with_one_name(pipeline):
    pipeline.write_text(pipeline.read_text().replace("  a:", "  a: {uri: b.mp4}\n  a:"))
    check(streamvis("run", pipeline), 2, f"{pipeline}:7", "given twice")


def test_no_such_pipeline_file(tmp_path):
    check(streamvis("run", tmp_path / "no.yaml"), 2, "cannot read this file")


def test_yaml_that_is_none(pipeline):
    text = pipeline.read_text()
    for value, hint in (("!secret x", "plain value"), ("&a [*a]", "refers to itself")):
        pipeline.write_text(text.replace("name: test", f"name: {value}"))
        check(streamvis("validate", pipeline), 2, str(pipeline), hint)


def bad_videos(folder: Path) -> dict[str, str]:
    """Files that are no video to us, and what must be said of each."""
    whole = (folder / "a.mp4").read_bytes()
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("not a video " * 100)
    (folder / "cut.mp4").write_bytes(whole[:100])
    with av.open(str(folder / "a.mp4")) as source, av.open(str(folder / "raw.h264"), "w") as raw:
        stream = raw.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                raw.mux(packet)
    return {
        "no.mp4": "no such file",
        "empty.mp4": "is empty",
        "text.mp4": "not a video",
        "cut.mp4": "cut.mp4",
        "raw.h264": "carry no time",
    }


@contract("none_at_start")
def test_every_bad_video_is_told_at_once_and_the_good_camera_goes_on(pipeline, tmp_path):
    hints = bad_videos(tmp_path)
    sources = [f"sources.bad{i}.uri={tmp_path / name}" for i, name in enumerate(hints)]
    summary = tmp_path / "s.json"
    args = [arg for source in sources for arg in ("--set", source)]
    done = streamvis("run", pipeline, *args, "--summary", summary)
    check(done, 3, *hints.values())
    cameras = json.loads(summary.read_text())["cameras"]
    assert cameras.pop("a")["published"] == 6
    assert {camera["published"] for camera in cameras.values()} == {0}


def test_a_port_in_use_is_named(pipeline):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = streamvis("run", pipeline, "--set", f"outputs.0.publish=tcp://127.0.0.1:{port}")
    check(done, 5, f":{port} is in use", "another port")


def test_damaged_weights(pipeline, tmp_path):
    for suffix in (".safetensors", ".json"):
        shutil.copy(BUNDLED.with_suffix(suffix), tmp_path / f"own{suffix}")
    own = tmp_path / "own.safetensors"
    data = bytearray(own.read_bytes())
    data[-1] ^= 255
    own.write_bytes(data)
    check(streamvis("run", pipeline, "--set", f"encoder.weights={own}"), 4, "hash", "copy")
    manifest = json.loads(own.with_suffix(".json").read_text())
    manifest["sha256"] = hashlib.sha256(data).hexdigest()
    manifest["arch"]["channels"] = [32, 64, 96]
    own.with_suffix(".json").write_text(json.dumps(manifest))
    check(streamvis("run", pipeline, "--set", f"encoder.weights={own}"), 4, "does not fit")
    own.unlink()
    check(streamvis("run", pipeline, "--set", f"encoder.weights={own}"), 4, "cannot read")


def test_ray_that_cannot_start(pipeline):
    done = streamvis("run", pipeline, "--runtime", "ray", env={"RAY_ADDRESS": "127.0.0.1:1"})
    check(done, 7, "cannot join the Ray cluster at 127.0.0.1:1", "--runtime local")


def test_a_gpu_that_is_not_there(pipeline):
    done = streamvis("run", pipeline, "--runtime", "ray", "--set", "runtime.gpus_per_worker=64")
    check(done, 7, "64 GPUs are wanted", "lower runtime.gpus_per_worker")


def test_an_output_folder_that_cannot_be_written(pipeline, tmp_path):
    (tmp_path / "file").touch()
    film = tmp_path / "file/film.mp4"
    check(streamvis("run", pipeline, "--set", f"outputs=[{{mosaic: {film}}}]"), 6, str(film))
    check(streamvis("run", pipeline, "--summary", tmp_path / "file/s.json"), 6, "summary")


def test_a_summary_on_a_full_disk(pipeline):
    """/dev/full refuses every byte, as a full disk does."""
    check(streamvis("run", pipeline, "--summary", "/dev/full"), 6, "No space left")


def test_a_film_on_a_full_disk_stops_itself_and_nothing_else(pipeline, tmp_path):
    """A limit on the size of files does to the film what a full disk does."""
    (tmp_path / "out").mkdir()
    film, summary = tmp_path / "out/film.mp4", tmp_path / "s.json"
    done = streamvis(
        *("run", pipeline, "--set", f"outputs=[{{mosaic: {film}}}]", "--summary", summary),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000)),
    )
    check(done, 6, str(film))
    assert json.loads(summary.read_text())["cameras"]["a"]["published"] == 6
    assert not list(film.parent.iterdir()), "no half-written film is left"


def test_a_camera_that_ends_early_is_told_and_the_other_goes_on(pipeline, tmp_path):
    drive = tmp_path / "drive"
    drive.mkdir()
    write_clip(drive / "short.mp4", num_frames=4)
    rig = {"short": {"file": "short.mp4", "capture_ns": list(range(9))}}
    (drive / "rig.json").write_text(json.dumps(rig))
    summary = tmp_path / "s.json"
    done = streamvis("run", pipeline, "--set", f"sources.short.uri={drive}", "--summary", summary)
    check(done, 3, "short", "ended 5 frames early")
    cameras = json.loads(summary.read_text())["cameras"]
    assert cameras["a"]["published"] == 6
    assert cameras["short"]["published"] == 4
    assert cameras["short"]["lost"]["source"] == 5
    assert cameras["short"]["source_frames"] == 9
