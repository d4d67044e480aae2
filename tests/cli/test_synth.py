"""`streamvis synth`: what it makes, what it refuses, what it leaves behind."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path

import av
import pytest
from opengl import needs_opengl
from typer.testing import CliRunner

from streamvis.cli.app import app
from streamvis.errors import OutputError, SourceError
from streamvis.source import framecode
from streamvis.source.synth import drive, training
from streamvis.source.synth.render import gpu

SMALL = ["--seconds", "0.2", "--fps", "10", "--size", "192x108", "--no-frame-code"]
CAMERA = {"offset_m": [0, 0, 1], "hfov_deg": 90}


@needs_opengl
def test_it_writes_a_drive(tmp_path: Path) -> None:
    out = tmp_path / "drive"
    options = ["--cameras", "left", "--weather", "dusk"]
    result = CliRunner().invoke(app, ["synth", str(out), *SMALL, *options])
    assert result.exit_code == 0, result.output
    assert "2 frames of left" in result.output
    assert {p.name for p in out.iterdir()} >= {"labels.json", "left.mp4", "rig.json"}
    with av.open(str(out / "left.mp4")) as file:
        assert [framecode.read(f.to_ndarray(format="rgb24")) for f in file.decode()] == [None, None]
    assert json.loads((out / "labels.json").read_text())["scene"]["time_of_day"] == "dusk"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "huge"], "WIDTHxHEIGHT"),
        (["--size", "0x0"], "width must be even"),
        (["--size", "961x540"], "width must be even"),
        (["--seconds", "0"], "seconds must be above 0"),
        (["--seconds", "-3"], "seconds must be above 0"),
        (["--seconds", "nan"], "seconds must be above 0"),
        (["--seconds", "inf"], "at most 180"),
        (["--fps", "0"], "--fps"),
        (["--frames", "0", "--labels", "coco"], "--frames"),
        (["--frames", "9"], "goes with --labels coco"),
        (["--cameras", "front,front"], "named twice"),
        (["--weather", "hail"], "weather must be one of day"),
        (["--site", "roof"], "site must be one of drive"),
        (["--samples", "0"], "--samples"),
        (["--extras", "sound"], "extras must be some of masks"),
        (["--labels", "coco", "--weather", "night"], "--weather goes with a drive"),
        (["--labels", "coco", "--samples", "1"], "--samples goes with a drive"),
        (["--labels", "voc"], "labels must be coco"),
        (["--rig", "nowhere.json"], "cannot read nowhere.json"),
        (["--cameras", "roof"], "cameras must be some of front"),
        (["--seed", "-1"], "--seed"),
        (["--size", "192x108"], "pass --no-frame-code"),
    ],
)
def test_it_refuses_bad_arguments(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = CliRunner(env=WIDE).invoke(app, ["synth", str(tmp_path / "drive"), *arguments])
    assert result.exit_code == 2
    assert message in plain(result.output)
    assert list(tmp_path.iterdir()) == []


WIDE = {"COLUMNS": "300", "TERM": "dumb", "NO_COLOR": "1"}


def plain(output: str) -> str:
    """Without the frame and the line breaks that the terminal's width makes."""
    return " ".join(output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "rig.json: Expecting property name"),
        ("\ufffe", "rig.json: "),
        (json.dumps({"a": {"hfov_deg": 90}}), "offset_m and hfov_deg"),
        (json.dumps({str(k): CAMERA for k in range(7)}), "1 to 6 cameras"),
        ('{"a": {"offset_m": [0, 0, NaN], "hfov_deg": 90}}', "offset_m must be 3 numbers"),
        ('{"a": 1, "a": 2}', "'a' is there twice"),
        (json.dumps({"a": {**CAMERA, "hfov_deg": 0}}), "hfov_deg must be from 5 to 130"),
        (json.dumps({"a": {**CAMERA, "lens": [-0.5, 0]}}), "bends this wide a view too much"),
    ],
)
def test_a_broken_rig_file_says_what_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "rig.json").write_text(content)
    arguments = ["synth", str(tmp_path / "out"), "--rig", str(tmp_path / "rig.json")]
    result = CliRunner(env=WIDE).invoke(app, arguments)
    assert result.exit_code == 2
    assert message in plain(result.output)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scene is not built: what stands in the way is found before, or is put there by the test."""
    monkeypatch.setattr("streamvis.cli.synth.StreetScene", lambda config: config)


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize("labels", [[], ["--labels", "coco"]])
def test_a_place_that_cannot_be_written_is_an_output_error(
    tmp_path: Path, labels: list[str]
) -> None:
    (tmp_path / "file").write_text("")
    for out, message in (("file/set", "cannot write in"), ("file", "exists already")):
        result = CliRunner().invoke(app, ["synth", str(tmp_path / out), *labels])
        assert isinstance(result.exception, OutputError)
        assert message in str(result.exception)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.usefixtures("no_drawing")
def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(drive, "_write_files", full)
    monkeypatch.setattr(training, "_pictures", full)
    for labels in ([], ["--labels", "coco"]):
        result = CliRunner().invoke(app, ["synth", str(tmp_path / "out"), *labels])
        assert isinstance(result.exception, OutputError)
        assert "No space left on device" in str(result.exception)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_drawing")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def write_files(_scene: object, work: Path, progress: drive.Progress, *_: object) -> None:
        (work / "front.mp4").write_bytes(b"half a film")
        os.kill(os.getpid(), number)
        progress(1, 100)

    monkeypatch.setattr(drive, "_write_files", write_files)
    result = CliRunner().invoke(app, ["synth", str(tmp_path / "out")])
    assert result.exit_code == 130
    assert "stopped; nothing was written" in result.output
    assert list(tmp_path.iterdir()) == []


def test_without_opengl_one_sentence_and_nothing_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "moderngl", None)
    # Not the cached one: the programs of the other tests belong to its context.
    monkeypatch.setattr(gpu, "context", gpu.context.__wrapped__)
    result = CliRunner().invoke(app, ["synth", str(tmp_path / "out"), *SMALL])
    assert isinstance(result.exception, SourceError)
    assert result.exception.exit_code == 3
    assert "pip install 'streamvis[synth]'" in str(result.exception)
    assert list(tmp_path.iterdir()) == []
