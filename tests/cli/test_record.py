"""`streamvis record`, `streamvis rec` and `run --record`, as a user meets them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import av
import numpy as np
import pytest
import typer
from conftest import STREET
from endpoint import WAIT_S, Endpoint, endpoint
from recording_samples import make_stream, small_disk, write_archive
from recording_samples import record as write_recording
from typer.testing import CliRunner, Result

from streamvis.cli.rec import rec
from streamvis.cli.record import record
from streamvis.errors import AddressError, OutputError, SourceError
from streamvis.record.reader import Recording

app = typer.Typer()
app.command("record")(record)
app.add_typer(rec, name="rec")


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def record_while_publishing(e: Endpoint, *options: str | Path, kinds: str = "det emb") -> Result:
    """Run the command against a pipeline that publishes a few frames and stops."""

    def publish() -> None:
        # The command listens for a heartbeat first; only the recorder asks for one pipeline's.
        with e.proxy._subscribed:
            topic = b"sv1/hb/av_4cam/"
            assert e.proxy._subscribed.wait_for(lambda: e.proxy._subscriptions[topic], WAIT_S)
        with e.publisher() as publisher:
            for message in make_stream(count=5):
                if message.kind in kinds.split():
                    publisher._send(message)
        e.proxy.stop()

    worker = threading.Thread(target=publish)
    worker.start()
    result = call("record", e.proxy.address, *options)
    worker.join()
    return result


def test_record_follows_a_pipeline_until_it_stops(tmp_path: Path) -> None:
    folder = tmp_path / "recs"
    with endpoint(tmp_path, period_ns=20_000_000) as e:
        result = record_while_publishing(
            e, "--dir", folder, "--min-free", "0B", kinds="det emb vid plan info"
        )
    assert result.exit_code == 0, result.output
    assert "recording av_4cam into" in result.stdout
    assert "no video" not in result.stdout
    (run,) = folder.iterdir()
    recording = Recording.open(run)
    frames = [m.kind for m in recording.messages(["det", "emb", "vid", "plan"])]
    assert sorted(frames) == sorted(["det", "emb", "vid", "plan"] * 5)
    assert recording.damage is None


def test_record_says_that_no_video_came(tmp_path: Path) -> None:
    with endpoint(tmp_path, period_ns=20_000_000) as e:
        result = record_while_publishing(e, "--dir", tmp_path / "recs", "--min-free", "0B")
    assert result.exit_code == 0, result.output
    assert "no video came" in result.stdout
    assert "opt_in: [vid, plan]" in result.stdout


def test_ctrl_c_finalises(tmp_path: Path) -> None:
    folder = tmp_path / "recs"
    with endpoint(tmp_path, period_ns=20_000_000) as e:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "streamvis.cli.main", "record", e.proxy.address),
                *("--dir", str(folder), "--min-free", "0B"),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert "recording av_4cam into" in process.stdout.readline()
        assert e.proxy.wait_for_subscribers(1, WAIT_S)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    assert "recording:" in rest
    assert list(folder.glob("*/*.part")) == []


def test_bad_options_and_addresses(tmp_path: Path) -> None:
    for option in (("--segment", "10"), ("--min-free", "lots"), ("--keep", "0s")):
        result = call("record", "tcp://127.0.0.1:7700", "--dir", tmp_path, *option)
        assert result.exit_code == 2
        assert option[0] in result.output
    result = call("record", "tcp://127.0.0.1", "--dir", tmp_path)
    assert isinstance(result.exception, AddressError)


def test_info_tells_what_is_in_it(tmp_path: Path) -> None:
    path = write_recording(tmp_path, make_stream(("front", "left"), 20, lost=(3,)))
    result = call("rec", "info", path)
    assert result.exit_code == 0, result.output
    assert "1.3 s in 1 segment" in result.stdout
    assert "messages: 39 det, 39 emb, 40 vid, 39 plan, 1 info" in result.stdout
    (front,) = [line for line in result.stdout.splitlines() if line.startswith("front ")]
    assert front.split()[:6] == ["front", "h264", "960x540", "20", "0.2", "19"]
    assert "damage: none" in result.stdout
    facts = json.loads(call("rec", "info", path, "--json").stdout)
    assert facts["cameras"]["left"]["units"] == 20
    assert facts["model"] == "sv_tiny"
    assert call("rec", "info", tmp_path / "none").exception.exit_code == SourceError.exit_code


def test_recover_and_export(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "recs", make_stream(count=60))
    (part,) = archive.path.glob("*.part")  # as a crash leaves it
    result = call("rec", "recover", part)
    assert result.exit_code == 0, result.output
    assert "0000.recovered.mcap" in result.stdout
    assert "what was not on the disk by then is lost (a second or less" in result.stdout
    result = call("rec", "export", archive.path, "--to", "drive", "-o", tmp_path / "drive")
    assert result.exit_code == 0, result.output
    assert f"written: {tmp_path / 'drive'}" in result.stdout
    again = call("rec", "export", archive.path, "--to", "drive", "-o", tmp_path / "drive")
    assert isinstance(again.exception, OutputError)
    assert call("rec", "export", part, "--to", "bag", "-o", tmp_path / "x").exit_code == 2


def run_pipeline(
    folder: Path, *options: str | Path, more: str = ""
) -> subprocess.CompletedProcess[str]:
    pipeline = folder / "p.yaml"
    pipeline.write_text(
        "version: 1\nname: try\nclock: replay\nruntime: {kind: local}\n"
        f"defaults: {{uri: {STREET}, max_frames: 12}}\nsources: {{front: {{}}, left: {{}}}}\n"
        f"encoder: {{input_size: [256, 192]}}\n{more}"
    )
    command = [sys.executable, "-m", "streamvis.cli.main", "run", str(pipeline)]
    return subprocess.run(
        [*command, *map(str, options)], capture_output=True, text=True, timeout=120, check=False
    )


def pictures(path: Path, count: int) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]
    return frames[:count]


def test_a_run_records_itself_and_its_drive_comes_back(tmp_path: Path) -> None:
    done = run_pipeline(tmp_path, "--record", tmp_path / "recs", "--summary", tmp_path / "s.json")
    assert done.returncode == 0, done.stderr
    assert "recording: " in done.stdout
    assert "not recorded" not in done.stdout
    told = json.loads((tmp_path / "s.json").read_text())["recording"]
    recording = Recording.open(Path(told["path"]))
    assert told["lost"] == {"gap": 0, "queue": 0, "disk": 0}
    assert told["messages"] == len(list(recording.messages()))
    for kind in ("vid", "plan", "det", "emb"):
        assert len(list(recording.messages([kind], ["front"]))) == 12
    assert recording.config is not None
    assert recording.config["name"] == "try"
    assert set(recording.info.cameras) == {"front", "left"}

    result = call("rec", "export", told["path"], "--to", "drive", "-o", tmp_path / "drive")
    assert result.exit_code == 0, result.output
    for camera in ("front", "left"):
        original = pictures(STREET / f"{camera}.mp4", 12)
        exported = pictures(tmp_path / f"drive/{camera}.mp4", 99)
        assert len(exported) == 12
        assert all(np.array_equal(a, b) for a, b in zip(original, exported, strict=True))
    old, new = (json.loads((p / "rig.json").read_text()) for p in (STREET, tmp_path / "drive"))
    assert new["front"]["capture_ns"] == old["front"]["capture_ns"][:12]
    assert new["front"]["intrinsics"] == pytest.approx(old["front"]["intrinsics"])


def test_a_full_disk_ends_the_recording_and_not_the_run(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2_200_000) as folder:  # 2 MiB are the recorder's reserve
        wishes = f"outputs: [{{record: {folder}, min_free: 0B, segment: 50ms}}]\n"
        done = run_pipeline(tmp_path, "--summary", tmp_path / "s.json", more=wishes)
        told = json.loads((tmp_path / "s.json").read_text())
        recording = Recording.open(Path(told["recording"]["path"]))
        assert len(list(recording.messages(["det", "vid"]))) > 0
        assert recording.damage is None
    assert done.returncode == OutputError.exit_code, done.stderr
    assert "the disk is full" in done.stderr
    assert "because the disk failed" in done.stdout
    assert told["recording"]["lost"]["disk"] > 0
    assert {camera["published"] for camera in told["cameras"].values()} == {12}


def test_a_run_that_cannot_be_recorded_fails_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_pipeline(tmp_path, "--record", tmp_path / "file")
    assert done.returncode == OutputError.exit_code
    assert "error: cannot write" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
