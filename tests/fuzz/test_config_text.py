"""Whatever stands in a pipeline file: a pipeline, or one sentence that says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import REPO
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matrix import contract
from mutations import mutate, mutations

from streamvis.config.load import load_config
from streamvis.errors import ConfigError
from streamvis.topology import PipelineConfig

FILES = sorted((REPO / "pipelines").glob("*.yaml"))
FUZZ = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example overwrites the file
)
# What YAML gives a meaning to, and what the loader adds to it.
INK = st.sampled_from(
    [
        *"abz:-#&*!|>'\"%@`{}[],? \t\n",
        "\n  ",
        "${",
        "}",
        "${A:-",
        "use: ",
        "<<: *a",
        "&a ",
        "!!python/object/apply:os.system ",
        "0x_",
        "1e999",
        "2026-01-01",
        "\0",
        "\ufeff",
        "\u2028",
        "sources",
        "version: 1",
        "name: x",
        "~",
        "\U0001f600",
    ]
)


def load_anyhow(path: Path, overrides: tuple[str, ...] = ()) -> None:
    """Nothing but a ConfigError comes out, and it is one line for a person."""
    refusal = "?"
    try:
        load_config(path, PipelineConfig, overrides)
    except ConfigError as error:
        refusal = str(error)
    assert refusal.strip()


@contract("hostile_bytes", "g")
@FUZZ
@given(st.sampled_from(FILES), st.lists(mutations, min_size=1, max_size=3))
def test_mutated_pipeline_files(tmp_path: Path, file: Path, changes: list[object]) -> None:
    data = file.read_bytes()
    for change in changes:
        data = mutate(data, change)
    path = tmp_path / "pipeline.yaml"
    path.write_bytes(data)
    load_anyhow(path)


@contract("hostile_bytes", "g")
@FUZZ
@given(st.lists(INK, max_size=30))
def test_any_text(tmp_path: Path, ink: list[str]) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text("".join(ink), encoding="utf-8")
    load_anyhow(path)


@contract("hostile_bytes", "g")
@FUZZ
@given(
    st.lists(INK, max_size=12), st.sampled_from(["", "name=", "sources.front.uri=", "outputs.0="])
)
def test_any_override(tmp_path: Path, ink: list[str], key: str) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text("version: 1\nname: x\nsources: {front: {uri: a.mp4}}\noutputs: []\n")
    load_anyhow(path, (key + "".join(ink),))


@contract("hostile_bytes", "g")
@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "&a {a: *a}",
        "a: " + "[" * 5000,
        "a: " + "{a: " * 5000,
        "\n".join(
            ["a: &l0 [x]", *(f"b{i}: &l{i + 1} [{', '.join([f'*l{i}'] * 9)}]" for i in range(9))]
        ),
        "name: !!python/object/apply:os.system ['touch pwned']",
    ],
    ids=["self in list", "self in map", "deep lists", "deep maps", "a billion laughs", "python"],
)
def test_bombs_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        load_config(path, PipelineConfig)
    assert not (Path.cwd() / "pwned").exists()


@contract("hostile_bytes", "g")
@pytest.mark.parametrize("value", ["[" * 5000, "&a [*a]", "!!python/name:os.system x"])
def test_bombs_on_the_command_line_are_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text("version: 1\nname: x\nsources: {front: {uri: a.mp4}}\n")
    with pytest.raises(ConfigError):
        load_config(path, PipelineConfig, [f"name={value}"])
