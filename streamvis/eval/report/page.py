"""One HTML file that tells what an evaluation found, without network, fonts or scripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streamvis.eval.report.pictures import FramePicture
from streamvis.eval.result import EvalResult


def write_report(result: EvalResult, pictures: Sequence[FramePicture], path: Path) -> None:
    """A complete file under `path`, or OutputError."""
    raise NotImplementedError(result, pictures, path)
