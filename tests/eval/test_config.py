from __future__ import annotations

from pathlib import Path

import pytest
from conftest import REPO

from streamvis.errors import ConfigError
from streamvis.eval.config import EvalConfig, read_configs
from streamvis.tiling.config import TilingConfig


def test_without_files_it_is_the_committed_default() -> None:
    (named,) = read_configs([REPO / "configs/eval/sv_tiny.yaml"])
    assert read_configs([]) == [named] == [EvalConfig()]


def test_the_peer_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = REPO / "configs/eval/yolox_nano.yaml"
    monkeypatch.delenv("STREAMVIS_YOLOX", raising=False)
    with pytest.raises(ConfigError, match="STREAMVIS_YOLOX is not set"):
        read_configs([path])
    monkeypatch.setenv("STREAMVIS_YOLOX", str(tmp_path / "a.onnx"))
    (config,) = read_configs([path])
    assert (config.encoder.name, config.detector.onnx) == ("none", tmp_path / "a.onnx")


def test_a_pipeline_file_is_taken_without_its_cameras() -> None:
    (config,) = read_configs([REPO / "pipelines/av_4cam.yaml"])
    assert config == EvalConfig(
        name="av_4cam", tiling=TilingConfig(policy="threshold", threshold=45, box_factor=0.33)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("encodr: {}", r"bad.yaml:1: encodr: unknown key; did you mean 'encoder'"),
        ("name: a@b", "cannot be a name"),
        ("encoder: {name: none}", r"give detector\.onnx"),
        ("- 1", "expected `key: value` lines"),
        ("a: [", "not valid YAML"),
    ],
)
def test_mistakes_say_where(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_configs([path])


def test_two_of_one_name(tmp_path: Path) -> None:
    for name in ("one.yaml", "two.yaml"):
        (tmp_path / name).write_text("name: same")
    with pytest.raises(ConfigError, match=r"one\.yaml is named 'same' too"):
        read_configs([tmp_path / "one.yaml", tmp_path / "two.yaml"])
