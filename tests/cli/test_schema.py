"""The JSON Schema that editors load, and the verbs that only tell."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml
from conftest import REPO
from typer.testing import CliRunner

from streamvis.cli.main import app
from streamvis.cli.schema import pipeline_schema

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
