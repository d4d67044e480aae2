"""`streamvis validate`: check a pipeline file and say what it resolves to; starts nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamvis.cli.options import Overrides, PipelinePath
from streamvis.config.load import load_config
from streamvis.errors import WeightsError
from streamvis.redact import redact
from streamvis.topology import PipelineConfig


def validate(
    pipeline: PipelinePath,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the resolved config.")] = False,
) -> None:
    """Check a pipeline file and that its models are there; starts nothing.

    A video that is not there is only noted: a live camera may come later.
    """
    config = load_config(pipeline, PipelineConfig, overrides or ())
    for path in (config.encoder.weights, config.detector.onnx):
        if path is not None and not path.is_file():
            raise WeightsError(f"{path}: there is no such model file; check its path")
    if as_json:
        print(config.model_dump_json(indent=2))
        return
    print(f"{pipeline}: valid. {config.name}, cameras: {len(config.sources)}, clock {config.clock}")
    for name, source in config.sources.items():
        note = "" if "://" in source.uri or Path(source.uri).exists() else "  (not there now)"
        print(f"  {name}: {redact(source.uri)}{note}")
