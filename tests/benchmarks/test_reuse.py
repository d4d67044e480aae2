"""The benchmark of reuse: one command over drives and clips, with labels and without."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import REPO, write_clip
from tiny_drive import write_tiny_drive

MARKS = ("<!-- reuse: begin -->", "<!-- reuse: end -->")


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(REPO / "benchmarks")
        return importlib.import_module("reuse")


def run(bench: ModuleType, monkeypatch: pytest.MonkeyPatch, *args: object) -> None:
    size = ("--size", "128", "64", "--threads", "1")
    monkeypatch.setattr(sys, "argv", ["reuse.py", *map(str, args), *size])
    bench.main()


def test_labelled_drives_and_bare_clips_are_measured_and_written_down(
    bench: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    drive = write_tiny_drive(tmp_path / "drive", num_frames=24)
    (tmp_path / "clips").mkdir()
    write_clip(tmp_path / "clips/alone.mp4", num_frames=24)
    page = tmp_path / "page.md"
    page.write_text("before\n{}\nold\n{}\nafter\n".format(*MARKS))
    # A tile is encoded for its age alone, but what the codec says is asked for.
    more = ("--threshold", "inf", "--max-age", "4", "--set", "motion=codec", "--write", page)
    run(bench, monkeypatch, drive, tmp_path / "clips", *more)
    clips: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])["clips"]
    assert list(clips) == [
        *("drive, dense", "drive, inf"),
        *("clips/alone, dense", "clips/alone, inf"),
    ]
    dense, reuse = clips["drive, dense"], clips["drive, inf"]
    assert (dense["frames"], dense["encoded"]) == (48, 1)
    assert reuse["encoded"] == pytest.approx((1 + 23 / 2) / 24, abs=1e-3), "one of two a frame"
    assert reuse["flop_speedup"] == pytest.approx(dense["gflop"] / reuse["gflop"], rel=0.01)
    assert reuse["arrives"] == pytest.approx(reuse["speedup"] / reuse["flop_speedup"], abs=2e-3)
    assert reuse["measure"] == "labels"
    gap = reuse["accuracy"]["car"]["AP50"] - dense["accuracy"]["car"]["AP50"]
    assert reuse["accuracy"]["car"]["difference"]["AP50"]["value"] == pytest.approx(gap, abs=1e-3)
    assert set(reuse["cameras"]) == {"a", "b"}
    assert clips["clips/alone, inf"]["measure"] == "dense"
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| drive, inf | 52% |" in text


def test_a_page_without_marks_is_refused(bench: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing here\n")
    with pytest.raises(SystemExit, match="lacks the marks"):
        bench.write_block(page, "reuse", "| a |\n")
    assert page.read_text() == "nothing here\n"
