"""`streamvis regress` on the committed case, and on cases that went wrong."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from conftest import REPO, STREET
from matrix import contract
from typer.testing import CliRunner

from streamvis.cli.app import app
from streamvis.errors import ConfigError, RegressionError, SourceError
from streamvis.replay.regress import Regression

CASE = REPO / "tests/regress/street"


def run(*arguments: object):
    return CliRunner().invoke(app, ["regress", *map(str, arguments)])


def make_case(folder: Path, score: float = 0.3, extra: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "regress.yaml").write_text(
        f"drive: {STREET}\ncameras: [front, left]\nmax_frames: 3\n"
        "encoder: {dtype: fp32, threads: 1, input_size: [320, 192]}\n"
        f"detector: {{score: {score}}}\n{extra}"
    )
    return folder


@contract("replay")
def test_the_committed_case_is_as_its_reference():
    result = run(CASE)
    assert result.exit_code == 0, result.exception
    assert "80 frames, all as in the reference" in result.output
    assert (CASE / "reference.mcap").stat().st_size < 300_000


@contract("replay")
def test_a_change_is_found_named_and_accepted_only_on_demand(tmp_path):
    folder = make_case(tmp_path / "case", score=0.2)
    assert "there was none" in run(folder, "--update-refs").output
    reference = (folder / "reference.mcap").read_bytes()
    assert run(folder).exit_code == 0
    make_case(folder, score=0.5)
    result = run(folder)
    assert isinstance(result.exception, RegressionError)
    assert result.exception.exit_code == 10
    told = str(result.exception)
    assert re.search(r"det\.object: reference \w+ .* at \[.*\], got absent", told)
    assert "frames of 6 differ" in told
    assert (folder / "reference.mcap").read_bytes() == reference, "only --update-refs changes it"
    assert "frames of 6 differ" in run(folder, "--update-refs").output
    assert (folder / "reference.mcap").read_bytes() != reference
    assert run(folder).exit_code == 0


def test_writing_the_same_results_again_changes_no_byte(tmp_path):
    folder = make_case(tmp_path / "case")
    run(folder, "--update-refs")
    reference = (folder / "reference.mcap").read_bytes()
    assert "nothing differs" in run(folder, "--update-refs").output
    assert (folder / "reference.mcap").read_bytes() == reference
    assert [path.name for path in sorted(folder.iterdir())] == ["reference.mcap", "regress.yaml"]


def test_a_case_that_says_nothing_useful_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"regress\.yaml"):
        Regression(tmp_path)
    (tmp_path / "regress.yaml").write_text("max_frames: 2\n")
    with pytest.raises(ConfigError, match="a drive or a recording"):
        Regression(tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'box_px'"):
        Regression(make_case(tmp_path, extra="tolerance: {box_pixels: 1}\n"))


def test_no_reference_and_a_damaged_one_are_one_sentence(tmp_path):
    case = Regression(make_case(tmp_path / "case"))
    with pytest.raises(SourceError, match="make it with --update-refs"):
        case.compare()
    case.update()
    data = case.reference.read_bytes()
    case.reference.write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match="version control"):
        case.compare()
    shutil.rmtree(tmp_path / "case")
