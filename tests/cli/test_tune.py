"""`streamvis tune` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console
from tiny_drive import write_tiny_drive, write_tiny_yolox
from typer.testing import CliRunner, Result

from streamvis.cli.app import app
from streamvis.config.load import load_config
from streamvis.errors import ConfigError, OutputError, SourceError
from streamvis.runtime.session import Session
from streamvis.topology import PipelineConfig


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    folder = write_tiny_drive(tmp_path / "drive", num_frames=6, cameras="ab")
    (folder / "labels.json").unlink()
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A detector that sees the same car everywhere: what reuse loses is nothing."""
    write_tiny_yolox(tmp_path / "tiny.onnx")
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "name: tiny\nencoder: {input_size: [128, 64], threads: 1}\ndetector: {onnx: tiny.onnx}\n"
    )
    return path


def invoke(*args: object) -> Result:
    return CliRunner().invoke(app, ["tune", *map(str, args)], catch_exceptions=False)


def test_a_table_a_picture_and_a_pipeline_that_runs(
    drive: Path, config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [drive, "--config", config, "--out", out, "--cameras", "b"]
    done = invoke(*command, "--vary", "threshold=12,.inf", "--vary", "max_age=10")
    assert done.exit_code == 0, done.output
    for word in (
        "recommended: threshold inf, max_age 10",
        "what the dense run found",
        "at most 1 may be lost",
    ):
        assert word in done.stdout
    assert "…" not in done.stdout
    names = {"front.svg", "front.png", "tune.json", "recommended.yaml", "runs"}
    assert {path.name for path in out.iterdir()} == names
    found = json.loads((out / "tune.json").read_text())
    assert found["recommended"] == "threshold-inf_max_age-10"
    assert found["cameras"] == ["b"]
    pipeline = load_config(out / "recommended.yaml", PipelineConfig)
    assert list(pipeline.sources) == ["b"]
    assert (pipeline.tiling.threshold, pipeline.tiling.max_age) == (float("inf"), 10)
    assert pipeline.detector.onnx == tmp_path / "tiny.onnx"
    local = pipeline.model_copy(
        update={"runtime": pipeline.runtime.model_copy(update={"kind": "local"})}
    )
    summary = Session(local).run()
    assert summary.problems == []
    assert summary.film == out / "recommended.mp4"


def test_a_narrow_terminal_gets_two_tables(drive: Path, config: Path, tmp_path: Path) -> None:
    from streamvis.cli.tune import make_tables
    from streamvis.eval.config import read_configs
    from streamvis.eval.tune import Limits, Sweep, list_settings

    settings = list_settings(read_configs([config])[0], ["threshold=12", "max_age=10"])
    sweep = Sweep(drive, settings, tmp_path / "runs", ("a",), max_frames=3)
    sweep.run(lambda *_: None)
    tuning = sweep.weigh(Limits(), lambda _: None)
    (wide,) = make_tables(tuning, 140)
    narrow = make_tables(tuning, 60)
    shared = {"setting", ""}
    headings = [str(c.header) for t in narrow for c in t.columns if c.header not in shared]
    assert headings == [str(c.header) for c in wide.columns if c.header not in shared]
    assert len(narrow) == 2
    with (console := Console(width=60)).capture() as text:
        for table in narrow:
            console.print(table)
    for figure in ("0.00", "100.0", "/ 1.00", "recommended"):
        assert figure in text.get(), "only the setting's name may be folded"
    assert "moved %" not in headings, "nothing moved: no such column"


@pytest.mark.parametrize(
    ("error", "message", "args"),
    [
        (SourceError, "needs a rig.json", ["{tmp}"]),
        (SourceError, "no camera 'c'", ["{drive}", "--cameras", "c"]),
        (ConfigError, "cannot read this file", ["{drive}", "--config", "none.yaml"]),
        (ConfigError, "did you mean 'max_age'", ["{drive}", "--vary", "maxage=3"]),
        (OutputError, "it is a file", ["{drive}", "--out", "{tmp}/tiny.yaml"]),
    ],
)
def test_mistakes_are_found_before_anything_runs(
    drive: Path, config: Path, error: type[Exception], message: str, args: list[str]
) -> None:
    tmp_path = drive.parent
    filled = [arg.format(tmp=tmp_path, drive=drive) for arg in args]
    given = [] if "--config" in filled else ["--config", config]
    out = [] if "--out" in filled else ["--out", tmp_path / "out"]
    with pytest.raises(error, match=message):
        invoke(*filled, *given, *out)
    assert not (tmp_path / "out/runs").exists()


@pytest.mark.parametrize(
    "option", ["--max-loss=nan", "--min-cosine=2", "--max-frames=1", "--min-cosine=nan"]
)
def test_options_out_of_range_are_usage_errors(drive: Path, option: str) -> None:
    assert invoke(drive, option).exit_code == 2
