"""`streamvis source` and `reload` against a session that runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import write_clip
from running import check_books, running
from typer.testing import CliRunner

from streamvis.cli.app import app
from streamvis.config.load import load_config
from streamvis.errors import ConfigError, ControlError
from streamvis.serve.server import serving
from streamvis.topology import PipelineConfig


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    write_clip(tmp_path / "clip.mp4", num_frames=30)
    path = tmp_path / "p.yaml"
    path.write_text(
        "version: 1\nname: test\nruntime: {kind: local}\n"
        "encoder: {input_size: [128, 64], threads: 1}\n"
        f"outputs: [{{publish: 'pub+bind:ipc://{tmp_path}/out'}}]\n"
        "sources:\n  a: {uri: clip.mp4, loop: true}\n"
    )
    return path


def cli(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_cameras_are_changed_from_the_command_line(pipeline):
    def load() -> PipelineConfig:
        return load_config(pipeline, PipelineConfig, [])

    with running(load()) as run, serving(run.session, load):
        run.more_results("a")
        clip = str(pipeline.parent / "clip.mp4")
        assert cli("source", "add", "b", clip, "--set", "loop=true") == "b: added\n"
        run.more_results("b")
        listed = json.loads(cli("source", "list", "--json"))["sources"]
        assert {name: about["state"] for name, about in listed.items()} == {
            "a": "live",
            "b": "live",
        }
        assert "published" in cli("source", "list", "--at", "test")
        with pytest.raises(ControlError, match="is there already"):
            cli("source", "add", "b", clip)
        with pytest.raises(ControlError, match="source c: lop: unknown key; did you mean 'loop'"):
            cli("source", "add", "c", clip, "--set", "lop=1")
        with pytest.raises(ControlError, match=r"source c: live.transport: .*'tcp' or 'udp'"):
            cli("source", "add", "c", clip, "--set", "live.transport=quic")
        assert cli("source", "restart", "b") == "b: restarted\n"
        assert cli("source", "remove", "b") == "b: removed\n"
        with pytest.raises(ControlError, match="there is no camera b"):
            cli("source", "remove", "b")

        text = pipeline.read_text()
        pipeline.write_text(
            f"{text}  c: {{uri: clip.mp4, loop: true}}\ntracker: {{max_lost: 2s}}\n"
        )
        told = "+ c\n! tracker.max_lost needs a new run: it stays as it is\n"
        assert cli("reload", "--dry-run") == told
        assert cli("reload") == told
        run.more_results("c")
        pipeline.write_text("version: 1\nname: test\n")
        with pytest.raises(ControlError, match="sources") as caught:
            cli("reload")
        assert caught.value.exit_code == ConfigError.exit_code
        pipeline.write_text(text)
        assert cli("reload") == "- c\n"
        assert cli("reload") == "nothing differs\n"
        run.more_results("a")
        summary = run.stop()
    for camera in "abc":
        check_books(run, summary, camera)
    first, *_ = run.results("a")
    assert {m.epoch for m in run.results("a")} == {first.epoch}


@pytest.mark.parametrize("setting", ["loop=[", "loop", "=1", "live..timeout=1s"])
def test_a_setting_that_cannot_be_read_is_one_sentence(setting, pipeline):
    assert pipeline.exists()
    with pytest.raises(ConfigError, match="--set"):
        cli("source", "add", "b", "x.mp4", "--set", setting)


def test_without_a_session_it_is_one_sentence(pipeline):
    assert pipeline.exists()
    with pytest.raises(ControlError, match="start one with"):
        cli("source", "list")
