"""The JSON Schema that editors load, and the verbs that only tell."""

from __future__ import annotations

import json
from importlib.metadata import version

import jsonschema
import pytest
import yaml
from conftest import REPO
from typer.testing import CliRunner

from streamvis import __version__
from streamvis.cli.app import app
from streamvis.cli.schema import pipeline_schema
from streamvis.errors import WeightsError

COMMITTED = REPO / "streamvis/schemas/pipeline.json"


def test_the_committed_schema_is_todays():
    hint = "streamvis schema > streamvis/schemas/pipeline.json"
    assert COMMITTED.read_text() == pipeline_schema() + "\n", hint


@pytest.mark.parametrize("path", sorted((REPO / "pipelines").glob("*.yaml")), ids=lambda p: p.name)
def test_the_pipelines_of_the_repository_fit_it(path):
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(pipeline_schema()))


@pytest.mark.parametrize(
    "mistake",
    [
        {"version": 2},
        {"encoder": {"widht": 3}},
        {"tracker": {"max_lost": 3}},
        {"sources": {}},
        {"outputs": [{"publsh": "x"}]},
    ],
    ids=str,
)
def test_it_finds_mistakes(mistake):
    good = yaml.safe_load((REPO / "pipelines/av_4cam.yaml").read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**good, **mistake}, json.loads(pipeline_schema()))


def test_doctor_tells_what_is_slow_and_why():
    done = CliRunner().invoke(app, ["doctor", "--json"])
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert {"python", "torch", "cores", "gpu", "codec h264", "port 7700"} <= findings.keys()
    assert all(f["advice"] for f in findings.values() if f["level"] != "ok")


def test_validate_prints_the_resolved_config():
    path = str(REPO / "pipelines/av_4cam.yaml")
    done = CliRunner().invoke(app, ["validate", path, "--json", "--set", "clock=replay"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["clock"] == "replay"


def test_a_model_that_is_not_there_fails_validation(tmp_path):
    path = str(REPO / "pipelines/av_4cam.yaml")
    missing = ["--set", f"detector.onnx={tmp_path / 'no.onnx'}"]
    done = CliRunner().invoke(app, ["validate", path, *missing])
    assert isinstance(done.exception, WeightsError)
    assert "no such model file" in str(done.exception)


def test_the_version_is_that_of_the_package():
    assert CliRunner().invoke(app, ["--version"]).stdout == f"streamvis {__version__}\n"
    assert version("streamvis") == __version__
