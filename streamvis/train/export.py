"""From a training run to the weights file that `encoder.weights` takes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from streamvis.encode.weights import Manifest, save_bundle
from streamvis.render.output_file import output_error
from streamvis.train.config import DataConfig, TrainConfig
from streamvis.train.network import Network


def export_bundle(network: Network, config: TrainConfig, views: int) -> Manifest:
    """Write sv_tiny.safetensors and sv_tiny.json into the run's folder, each whole or not at all.
    Killed between the two, their hashes differ: `load_bundle` says so, and the next checkpoint
    writes both again. Raises OutputError."""
    parts = {"encoder": network.encoder, "head": network.head}
    training = _summary(config, views)
    name = "sv_tiny.safetensors"
    folder = config.out / ".export"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        manifest = save_bundle(folder / name, parts, network.arch, training)
        for fresh in (folder / name, (folder / name).with_suffix(".json")):
            fresh.replace(config.out / fresh.name)
    except OSError as error:
        raise output_error(config.out / name, error) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return manifest


def _summary(config: TrainConfig, views: int) -> dict[str, Any]:
    return {
        "views": views,
        "view_px": config.view.size,
        "seed": config.seed,
        "data": [_name(entry) for entry in config.data],
        "teacher": config.teacher.name,
    }


def _name(entry: DataConfig) -> str:
    """The last two parts of its path: enough to know it, nothing of the machine."""
    path = entry.coco or entry.drive or entry.video
    assert isinstance(path, Path)
    return "/".join(path.parts[-2:])
