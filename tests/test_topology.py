"""The pipeline file, resolved: it reads back as the same pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import REPO

from streamvis.config.load import load_config
from streamvis.errors import ConfigError
from streamvis.topology import PipelineConfig


def base(**extra) -> PipelineConfig:
    return PipelineConfig.model_validate(
        {"version": 1, "name": "p", "sources": {"a": {"uri": "a.mp4"}}, **extra}
    )


@pytest.mark.parametrize("path", sorted((REPO / "pipelines").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_pipeline_of_ours_reads_back(path):
    config = load_config(path, PipelineConfig)
    again = PipelineConfig.from_resolved(config.resolved_json())
    assert again.resolved_json() == config.resolved_json()
    assert again.sources.keys() == config.sources.keys()
    assert again.encoder == config.encoder
    assert again.opt_in == config.opt_in


def test_everything_that_can_be_said_reads_back(tmp_path):
    config = base(
        clock="replay",
        sources={"a": {"uri": "a.mp4", "start": "1s", "end": "2s", "loop": True}},
        detector={"onnx": "x.onnx", "decode": "yolox", "score": 0.2},
        encoder={"name": "none", "weights": "w.safetensors"},
        runtime={"batch_window": "3ms"},
        outputs=[
            {"publish": {"address": f"pub+bind:ipc://{tmp_path}/o", "opt_in": ["plan"]}},
            {"mosaic": {"path": "film.mp4", "fps": 5}},
            {"record": "rec", "keep": "24h", "min_free": "2GB"},
        ],
    )
    again = PipelineConfig.from_resolved(config.resolved_json())
    assert again.resolved_json() == config.resolved_json()
    assert again.record is not None
    assert again.record.min_free == 2_000_000_000
    assert again.sources["a"].end == 2_000_000_000
    assert again.opt_in == {"plan", "vid", "img"}


def test_paths_do_not_depend_on_the_working_directory(monkeypatch, tmp_path):
    config = base(outputs=[{"mosaic": "film.mp4"}], detector={"onnx": "x.onnx"})
    monkeypatch.chdir(tmp_path)
    again = PipelineConfig.from_resolved(config.resolved_json())
    here = Path(again.sources["a"].uri)
    assert here == tmp_path / "a.mp4"
    assert again.mosaic is not None
    assert again.mosaic.path == tmp_path / "film.mp4"
    assert again.detector.onnx == tmp_path / "x.onnx"


def test_credentials_are_not_told():
    config = base()
    source = config.sources["a"].model_copy(update={"uri": "rtsp://me:secret@cam/1"})
    told = config.model_copy(update={"sources": {"a": source}}).resolved_json()
    assert "secret" not in told
    assert json.loads(told)["sources"]["a"]["uri"] == "rtsp://***@cam/1"


def test_a_config_of_another_version_is_one_sentence():
    values = json.loads(base().resolved_json()) | {"sharpness": 3}
    with pytest.raises(ConfigError, match=r"sharpness.*--config"):
        PipelineConfig.from_resolved(json.dumps(values))
