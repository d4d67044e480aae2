"""`streamvis eval` as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REPO
from rich.console import Console
from tiny_drive import write_tiny_drive, write_tiny_yolox
from typer.testing import CliRunner

from streamvis.cli.app import app
from streamvis.errors import ConfigError, OutputError, SourceError, WeightsError

STREAMVIS = [sys.executable, "-m", "streamvis.cli.main", "eval"]


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    return write_tiny_drive(tmp_path / "drive", num_frames=6)


def write_config(path: Path, name: str = "tiny", more: str = "") -> Path:
    path.write_text(f"name: {name}\nencoder: {{input_size: [128, 64], threads: 1}}\n{more}")
    return path


def run(*args: object) -> str:
    """The verb in this process; its errors are raised."""
    done = CliRunner().invoke(app, ["eval", *map(str, args)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_one_command_gives_table_json_and_report(drive: Path, tmp_path: Path) -> None:
    write_tiny_yolox(tmp_path / "tiny.onnx")
    peer = tmp_path / "peer.yaml"
    peer.write_text(
        "name: peer\nencoder: {name: none, threads: 1}\ndetector: {onnx: tiny.onnx, score: 0.5}\n"
    )
    ours = write_config(tmp_path / "tiny.yaml")
    json_path, page = tmp_path / "a/result.json", tmp_path / "a/page.html"
    command = [drive, "--config", ours, "--config", peer, "--out", tmp_path / "out"]
    command += ["--json", json_path, "--probe", "xray", "--cameras", "b"]
    text = run(*command, "--report", page)
    for word in ("vehicle AP50", "tiny+xray", "peer+xray", "6 labelled of 6 frames", "1 track"):
        assert word in text
    assert "…" not in text  # nothing is cut off
    assert "against tiny" in text
    result = json.loads(json_path.read_text())
    assert list(result["configs"]) == ["tiny", "peer", "tiny+xray", "peer+xray"]
    assert result["cameras"] == ["b"]
    assert "<html" in page.read_text()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["page.html", "result.json"]
    again = run(*command)
    assert "tiny: 6 frames were there already" in again
    assert json.loads(json_path.read_text()) == result
    assert "already" not in run(*command, "--fresh")


def test_a_narrow_terminal_gets_two_tables_with_every_figure(drive: Path, tmp_path: Path) -> None:
    from streamvis.cli.eval import make_tables
    from streamvis.eval.config import read_configs
    from streamvis.eval.evaluate import Evaluation, Options

    config = write_config(tmp_path / "tiny.yaml")
    evaluation = Evaluation(drive, read_configs([config]), Options(out=tmp_path / "out"))
    evaluation.run(lambda *_: None)
    result = evaluation.score(lambda _: None)
    (wide,) = make_tables(result, 160)
    narrow = make_tables(result, 80)
    headings = [str(column.header) for column in wide.columns]
    assert [str(c.header) for t in narrow for c in t.columns if c.header != "config"] == [
        heading for heading in headings if heading != "config"
    ]
    assert len(narrow) == 2
    assert all(Console().measure(table).maximum <= 80 for table in narrow)


def test_stopped_it_says_how_to_go_on_and_goes_on(tmp_path: Path) -> None:
    drive = write_tiny_drive(tmp_path / "drive", num_frames=200, cameras="a")
    config = write_config(tmp_path / "tiny.yaml")
    command = [*STREAMVIS, str(drive), "--config", str(config), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/*/0*.npz")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130, text
    assert "stopped; run the same command to go on" in text
    assert "Traceback" not in text
    resumed = run(drive, "--config", config, "--out", tmp_path / "out")
    assert "frames were there already" in resumed
    assert "200 labelled of 200 frames" in resumed


def test_mistakes_are_found_before_anything_runs(drive: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "out"]
    config = write_config(tmp_path / "tiny.yaml")
    (tmp_path / "file").write_text("")
    mistakes = [
        (SourceError, "cannot read it; a drive folder needs a rig.json", [tmp_path]),
        (SourceError, "no camera 'c'", [drive, "--cameras", "c"]),
        (ConfigError, "named 'tiny' too", [drive, "--config", config, "--config", config]),
        (ConfigError, "cannot read this file", [drive, "--config", tmp_path / "none.yaml"]),
        (OutputError, "is not a folder", [drive, "--json", tmp_path / "file/a.json"]),
        (OutputError, "is a folder", [drive, "--report", drive]),
    ]
    for error, message, args in mistakes:
        with pytest.raises(error, match=message):
            run(*args, *out)
    gone = write_config(tmp_path / "gone.yaml", "gone", "detector: {onnx: gone.onnx}")
    with pytest.raises(WeightsError, match="no such model file"):
        run(drive, "--config", gone, *out)
    assert not list(tmp_path.glob("out/*/*"))


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["--probe", "fog"], "no probe 'fog'; there are fade, flicker"),
        (["--speed-factor", "0"], "must be above 0"),
        (["--speed-factor", "nan"], "must be above 0"),
        (["--speed-factor", "inf"], "must be above 0"),
        (["--max-frames", "0"], "--max-frames"),
    ],
)
def test_usage(args: list[str], hint: str, drive: Path) -> None:
    done = CliRunner().invoke(app, ["eval", str(drive), *args], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert hint in done.output


def test_a_missing_extra_is_named(drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamvis.cli.eval.find_spec", lambda name: name != "jinja2" or None)
    with pytest.raises(ConfigError, match=r"needs jinja2; install it: .*streamvis\[eval\]"):
        run(drive)


def test_an_onnx_config_needs_onnxruntime(
    drive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamvis.cli.eval.find_spec", lambda name: name != "onnxruntime" or None)
    write_tiny_yolox(tmp_path / "tiny.onnx")
    ours = write_config(tmp_path / "tiny.yaml")
    peer = write_config(tmp_path / "peer.yaml", "peer", "detector: {onnx: tiny.onnx}")
    command = [drive, "--out", tmp_path / "out", "--max-frames", 2, "--config", ours]
    with pytest.raises(ConfigError, match=r"needs onnxruntime; install it"):
        run(*command, "--config", peer)
    assert not (tmp_path / "out").exists()
    assert "2 frames" not in run(*command)  # the bundled model does without it


def test_the_probes_of_the_help_are_those_there_are() -> None:
    from streamvis.cli.eval import PROBE_NAMES
    from streamvis.eval.probe import PROBES

    assert tuple(PROBES) == PROBE_NAMES


def test_the_peer_config_of_the_repository_needs_its_variable(drive: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k != "STREAMVIS_YOLOX"}
    peer = str(REPO / "configs/eval/yolox_nano.yaml")
    command = [*STREAMVIS, str(drive), "--config", peer]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 2
    assert "STREAMVIS_YOLOX is not set" in done.stderr
