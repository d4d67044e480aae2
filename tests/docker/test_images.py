"""The image and the compose files, as far as they can be checked without a container engine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from streamvis.cli.app import app
from streamvis.config.load import load_config
from streamvis.topology import PipelineConfig

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
COMPOSE = ROOT / "docker" / "compose.yaml"
COMPOSE_GPU = ROOT / "docker" / "compose.gpu.yaml"
PIPELINE = "pipelines/av_4cam.yaml"

Instruction = tuple[str, str]  # keyword, the rest


def instructions() -> list[Instruction]:
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.M)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def stages() -> list[list[Instruction]]:
    """Each from its FROM on: build, run."""
    found: list[list[Instruction]] = []
    for instruction in instructions():
        if instruction[0] == "FROM":
            found.append([])
        found[-1].append(instruction)
    return found


def values(stage: list[Instruction], keyword: str) -> list[str]:
    return [rest for key, rest in stage if key == keyword]


def copied_from_the_clone() -> list[str]:
    """Every path of the clone that some stage copies."""
    copies = [rest.split() for rest in values(instructions(), "COPY")]
    return [source for words in copies if "--from=build" not in words for source in words[:-1]]


def services(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())["services"]
    return found


def make_dry_run(*arguments: str) -> str:
    command = ["make", "--dry-run", "--always-make", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def tool(name: str) -> str:
    """A linter of the `dev` extra."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    return found or pytest.skip(f"{name} is not installed: pip install 'streamvis[dev]'")


def lint(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint() -> None:
    lint(tool("hadolint"), str(DOCKERFILE))


@pytest.mark.parametrize("path", [COMPOSE, COMPOSE_GPU], ids=lambda path: path.name)
def test_compose_specification(path: Path) -> None:
    lint(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(path))


def test_installs_as_a_clone_does() -> None:
    """Its only install step is the Makefile's, with the same switch for PyTorch."""
    build, run = stages()
    (step,) = values(build, "RUN")
    assert step.endswith("make venv TORCH=${TORCH}")
    assert "pip install" not in " ".join(values(run, "RUN"))
    assert values(build, "ARG") == ["TORCH=cpu"]
    cpu, default = (make_dry_run("venv", f"TORCH={torch}") for torch in ("cpu", "default"))
    assert "whl/cpu" in cpu
    assert "whl/cpu" not in default
    assert "--editable ." in default


def test_both_stages_have_the_same_interpreter() -> None:
    """The environment is copied between them, and its links point at the interpreter's place."""
    build, run = (values(stage, "FROM")[0].split()[0] for stage in stages())
    assert run == build.replace("-bookworm", "-slim-bookworm")
    version = re.search(r":(\d+\.\d+)-", build)
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert version is not None
    assert tuple(map(int, version[1].split("."))) >= tuple(map(int, needed[2:].split(".")))


def test_the_environment_lies_where_make_put_it() -> None:
    build, run = stages()
    (home,) = values(build, "WORKDIR")
    assert values(run, "WORKDIR") == [home]
    assert re.search(r"^VENV\s*:= \.venv$", (ROOT / "Makefile").read_text(), flags=re.M)
    assert f"--from=build {home}/.venv .venv" in values(run, "COPY")
    assert f"PATH={home}/.venv/bin:" in values(run, "ENV")[0]


@pytest.mark.parametrize("source", copied_from_the_clone())
def test_what_is_copied_exists_and_is_not_ignored(source: str) -> None:
    assert (ROOT / source).exists()
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    assert source.split("/")[0] in allowed


def test_the_context_holds_nothing_else() -> None:
    """Everything is ignored first, and what is let in again is copied somewhere."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    used = {source.split("/")[0] for source in copied_from_the_clone()}
    assert {rule[1:] for rule in rules if rule.startswith("!")} == used
    assert any(fnmatch("streamvis/__pycache__", rule) for rule in rules[1:])


def test_runs_as_nobody_special() -> None:
    run = stages()[-1]
    (user,) = values(run, "USER")
    assert int(user) > 0
    assert f"--uid {user} " in values(run, "RUN")[0]
    keywords = [key for key, _ in run]
    assert keywords.index("USER") < keywords.index("ENTRYPOINT")


def test_the_port_is_the_pipelines() -> None:
    (port,) = values(stages()[-1], "EXPOSE")
    config = load_config(ROOT / PIPELINE, PipelineConfig, [])
    assert config.publish.endpoint.endpoint == f"tcp://127.0.0.1:{port}"


def test_results_go_where_the_volume_is() -> None:
    (home,) = values(stages()[-1], "WORKDIR")
    config = load_config(ROOT / PIPELINE, PipelineConfig, [])
    assert config.mosaic is not None
    folder = config.mosaic.path.resolve().parent.relative_to(ROOT.resolve())
    assert services(COMPOSE)["pipeline"]["volumes"] == [f"out:{home}/{folder}"]


def commands() -> list[list[str]]:
    """Every command line in the container files, without `streamvis` itself."""
    (default,) = values(stages()[-1], "CMD")
    base, gpu = services(COMPOSE), services(COMPOSE_GPU)
    health = base["pipeline"]["healthcheck"]["test"]
    assert health[:2] == ["CMD", "streamvis"]
    return [
        json.loads(default),
        base["pipeline"]["command"],
        gpu["pipeline"]["command"],
        base["subscriber"]["command"],
        health[2:],
    ]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_is_one_the_program_knows(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verb, its options and its files are parsed as the program does, but not run."""
    monkeypatch.chdir(ROOT)
    assert all(isinstance(word, str) for word in command)
    group = typer.main.get_command(app)
    verb = group.get_command(group.make_context("streamvis", command), command[0])  # type: ignore[attr-defined]
    context = verb.make_context(command[0], command[1:])
    if command[0] == "run":
        load_config(context.params["pipeline"], PipelineConfig, context.params["overrides"] or [])


def test_the_entry_point_is_installed() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (entry,) = values(stages()[-1], "ENTRYPOINT")
    assert json.loads(entry) == ["streamvis"]
    assert "streamvis" in scripts


def test_compose_builds_this_dockerfile() -> None:
    pipeline = services(COMPOSE)["pipeline"]
    context = (COMPOSE.parent / pipeline["build"]["context"]).resolve()
    assert context == ROOT.resolve()
    assert context / pipeline["build"]["dockerfile"] == DOCKERFILE.resolve()
    known = {argument.split("=")[0] for argument in values(stages()[0], "ARG")}
    for path in (COMPOSE, COMPOSE_GPU):
        assert set(services(path)["pipeline"]["build"]["args"]) == known


def test_the_subscriber_hears_the_pipeline() -> None:
    """It has the pipeline's image and network, and the address is on that network's loopback."""
    for path in (COMPOSE, COMPOSE_GPU):
        found = services(path)
        assert found["subscriber"]["image"] == found["pipeline"]["image"]
    subscriber = services(COMPOSE)["subscriber"]
    assert subscriber["network_mode"] == "service:pipeline"
    config = load_config(ROOT / PIPELINE, PipelineConfig, [])
    assert subscriber["command"][1] == config.publish.endpoint.endpoint


def test_the_gpu_file_only_lays_over_the_other() -> None:
    base, gpu = services(COMPOSE), services(COMPOSE_GPU)
    assert set(gpu) <= set(base)
    assert base["pipeline"]["build"]["args"] == {"TORCH": "cpu"}
    assert gpu["pipeline"]["build"]["args"] == {"TORCH": "default"}
