"""The film of dense and reuse: the same frames on both sides, and what each has cost."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from tiny_drive import tiny_config, write_tiny_drive
from typer.testing import CliRunner

from streamvis.cli.app import app
from streamvis.errors import ConfigError, OutputError, SourceError
from streamvis.eval.rounds import Footage
from streamvis.eval.side_by_side import film_side_by_side

TILING = {"policy": "threshold", "threshold": 12, "max_age": 30}


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_drive(tmp_path_factory.mktemp("drive"), num_frames=8)


def read(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as film:
        assert film.streams.video[0].average_rate == 10
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def test_both_sides_show_every_frame(drive: Path, tmp_path: Path) -> None:
    path, done = tmp_path / "film.mp4", []
    footage = Footage(drive, ("a", "b"))
    config = tiny_config(tiling=TILING)
    dense, reuse = film_side_by_side(footage, config, path, lambda *now: done.append(now))
    assert done[-1] == (16, 16)
    assert dense.tiles == 16 * 2
    assert 4 <= reuse.tiles < dense.tiles, "both cameras begin with all of their tiles"
    assert dense.seconds > 0 < reuse.seconds
    pictures = read(path)
    assert len(pictures) == 8
    for picture in pictures:
        left, right = np.split(picture[70:280].astype(int), 2, axis=1)
        red = [np.argwhere(side[..., 0] - side[..., 1] > 60)[:, 1].mean() for side in (left, right)]
        assert red[0] == pytest.approx(red[1], abs=12), "the square is at the same place"
    assert {p.name for p in tmp_path.iterdir()} == {"film.mp4", "film.png"}


def test_no_film_is_left_when_it_cannot_be_finished(drive: Path, tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        film_side_by_side(
            Footage(drive, ("a",)), tiny_config(tiling=TILING), tmp_path / "film.mp4", stop
        )
    assert list(tmp_path.iterdir()) == []


def invoke(*args: object) -> str:
    done = CliRunner().invoke(app, ["film", *map(str, args)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_verb(drive: Path, tmp_path: Path) -> None:
    config = tmp_path / "reuse.yaml"
    config.write_text(
        "name: reuse\nencoder: {input_size: [128, 64], threads: 1}\ntiling: {policy: threshold}\n"
    )
    out = tmp_path / "out/film.mp4"
    text = invoke(drive, "--config", config, "--cameras", "b", "--max-frames", 3, "--out", out)
    assert "dense: 6 tiles" in text
    assert "reuse: " in text
    assert len(read(out)) == 3


def test_mistakes(drive: Path, tmp_path: Path) -> None:
    dense = tmp_path / "dense.yaml"
    dense.write_text("name: dense\n")
    for error, message, args in (
        (SourceError, "needs a rig.json", [tmp_path]),
        (SourceError, "no camera 'z'", [drive, "--cameras", "z"]),
        (ConfigError, "tiling.policy is off", [drive, "--config", dense]),
        (OutputError, "is not a folder", [drive, "--out", dense / "film.mp4"]),
    ):
        with pytest.raises(error, match=message):
            invoke(*args)
    done = CliRunner().invoke(app, ["film", str(drive), "--out", "film.avi"])
    assert done.exit_code == 2
