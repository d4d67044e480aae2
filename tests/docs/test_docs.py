"""What the README and the docs say exists, parses and runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from conftest import REPO
from typer.main import get_command

from streamvis.cli.app import app
from streamvis.config.load import load_config
from streamvis.topology import PipelineConfig

PAGES = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_example_compiles(page):
    for block in blocks(page, "python"):
        compile(block, page.name, "exec")


def test_the_example_pipeline_is_valid(tmp_path):
    (block,) = [b for b in blocks(REPO / "docs/pipeline_file.md", "yaml") if "version:" in b]
    path = tmp_path / "pipelines/example.yaml"
    path.parent.mkdir()
    path.write_text(block)
    (tmp_path / "configs").symlink_to(REPO / "configs")
    config = load_config(path, PipelineConfig)
    assert config.sources["garage"].max_frames == 100


def test_every_key_of_the_table_exists():
    page = (REPO / "docs/pipeline_file.md").read_text()
    keys = re.findall(r"^\| `((?:runtime|encoder|tiling|detector|tracker)\.\w+)`", page, re.M)
    assert len(keys) > 15
    for key in keys:
        section, name = key.split(".")
        model = PipelineConfig.model_fields[section].annotation
        assert name in model.model_fields, key


def test_the_readme_names_every_verb_and_no_other():
    readme = (REPO / "README.md").read_text()
    named = set(re.findall(r"^\| `streamvis (\w+)", readme, re.M))
    assert named == set(get_command(app).commands)


@pytest.mark.parametrize("path", sorted((REPO / "pipelines").glob("*.yaml")), ids=lambda p: p.name)
def test_every_pipeline_in_the_repository_is_valid(path):
    assert load_config(path, PipelineConfig).sources
    assert yaml.safe_load(path.read_text())["version"] == 1
