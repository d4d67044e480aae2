from __future__ import annotations

from pathlib import Path

import typer
from endpoint import endpoint
from typer.testing import CliRunner

from streamvis.cli.keygen import keygen
from streamvis.cli.tap import tap
from streamvis.client.curve import load_pair, make_key_files

app = typer.Typer()
app.command()(keygen)
taps = typer.Typer()
taps.command()(tap)


def test_keygen_makes_a_pair_and_shows_no_secret(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["me", "--dir", str(tmp_path)])
    assert result.exit_code == 0, result.output
    pair = load_pair(tmp_path / "me.key_secret")
    assert (tmp_path / "me.key").is_file()
    assert pair.secret.decode() not in result.output


def test_a_name_that_would_leave_the_folder_is_refused(tmp_path: Path) -> None:
    for name in ("../me", "a b", ""):
        assert CliRunner().invoke(app, [name, "--dir", str(tmp_path)]).exit_code == 2


def test_tap_hears_an_encrypted_pipeline(tmp_path: Path) -> None:
    _, pipeline = make_key_files(tmp_path, "pipeline")
    _, me = make_key_files(tmp_path / "allowed", "me")
    options = {"address": "tcp://127.0.0.1:0", "key": pipeline, "allow": tmp_path / "allowed"}
    with endpoint(tmp_path, **options) as e:
        argv = [e.proxy.address, "--kind", "hb", "--count", "1", "--timeout", "20"]
        keys = ["--server-key", str(tmp_path / "pipeline.key"), "--key", str(me)]
        assert CliRunner().invoke(taps, [*argv, *keys]).exit_code == 0
        assert CliRunner().invoke(taps, [*argv, *keys[:2]]).exit_code == 2
