"""`streamvis replay` as a user types it: what it prints, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from conftest import STREET
from typer.testing import CliRunner
from unit_recording import write_messages
from wire_samples import make_messages

from streamvis.cli.app import app
from streamvis.errors import RegressionError, StreamvisError

SMALL = ["--runtime", "local", "--set", "encoder.input_size=[256, 192]"]


def run(*arguments: object):
    return CliRunner().invoke(app, ["replay", *map(str, arguments)])


def test_a_drive_is_replayed_and_recorded(tmp_path):
    summary = tmp_path / "s.json"
    result = run(
        STREET, *SMALL, "--cameras", "left,back", "--start", "1s", "--end", "1400ms",
        "--record", tmp_path / "rec", "--summary", summary,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "all cameras ended" in result.output
    told = json.loads(summary.read_text())
    assert told["clock"] == "replay"
    assert {name: camera["published"] for name, camera in told["cameras"].items()} == {
        "left": 6,
        "back": 6,
    }
    again = run(next((tmp_path / "rec").iterdir()), *SMALL, "--as-recorded", "--summary", summary)
    assert again.exit_code == 0, again.output
    assert json.loads(summary.read_text())["cameras"]["left"]["published"] == 6


def test_check_says_whether_a_recording_replays_equal(tmp_path):
    run(STREET, *SMALL, "--cameras", "left", "--end", "400ms", "--record", tmp_path)
    (path,) = tmp_path.iterdir()
    same = run(path, "--as-recorded", "--check")
    assert same.exit_code == 0, same.output
    assert "equal: 18 messages" in same.output
    other = run(path, "--as-recorded", "--check", "--set", "detector.score=0.9").exception
    assert isinstance(other, RegressionError)
    assert "First: left frame" in str(other)
    assert "det" in str(other)


def test_a_window_behind_the_end_fails_as_a_camera():
    result = run(STREET, *SMALL, "--cameras", "left", "--start", "90s")
    assert result.exit_code == 3
    assert "choose an earlier start" in result.output + result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (["no/such"], 3, "no such drive or recording"),
        ([STREET, "--as-recorded"], 2, "only a recording"),
        ([STREET, "--check"], 2, "is no recording"),
        ([STREET, "--cameras", "roof"], 3, "no camera roof"),
        ([STREET, "--start", "2s", "--end", "1s"], 2, "end must be later than start"),
        ([STREET, "--set", "encoder.sise=3"], 2, "unknown key"),
    ],
)
def test_bad_input_is_one_sentence(arguments, code, hint):
    error = run(*arguments).exception
    assert isinstance(error, StreamvisError)
    assert error.exit_code == code
    assert hint in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "arguments", [["--start", "5"], ["--runtime", "x"], ["--speed", "-1"], ["--speed", "inf"]]
)
def test_a_bad_option_is_a_usage_error(arguments):
    assert run(STREET, *arguments).exit_code == 2


def test_recordings_that_cannot_be_replayed_say_why(tmp_path):
    silent = write_messages(tmp_path / "silent.mcap", [make_messages()["det"]])
    assert "which pipeline it is of" in str(run(silent).exception)
    messages = make_messages()
    config = {"version": 1, "name": "av_4cam", "sources": {"front": {"uri": "gone.mp4"}}}
    info = replace(messages["info"], config=json.dumps(config))
    blind = write_messages(tmp_path / "blind.mcap", [info, messages["det"]])
    assert "front was recorded without its video" in str(run(blind).exception)
    unplanned = write_messages(tmp_path / "unplanned.mcap", [info, messages["vid"]])
    result = run(unplanned, *SMALL, "--as-recorded")
    assert "no decisions were recorded for front" in str(result.exception)
    (tmp_path / "text.mcap").write_text("not an mcap")
    error = run(tmp_path / "text.mcap").exception
    assert isinstance(error, StreamvisError)
    assert error.exit_code == 3
