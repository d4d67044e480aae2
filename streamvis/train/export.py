"""From a training run to the weights file that `encoder.weights` takes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamvis.encode.weights import Manifest, save_bundle
from streamvis.render.output_file import output_error
from streamvis.train.config import DataConfig, TrainConfig
from streamvis.train.network import Network


def export_bundle(network: Network, config: TrainConfig, views: int) -> Manifest:
    """Write sv_tiny.safetensors and sv_tiny.json into the run's folder. Raises OutputError."""
    parts = {"encoder": network.encoder, "head": network.head}
    training = _summary(config, views)
    return write_whole(
        config.out / "sv_tiny.safetensors",
        lambda path: save_bundle(path, parts, network.arch, training),
    )


def write_whole(path: Path, write: Callable[[Path], Manifest]) -> Manifest:
    """Have both files of a bundle written elsewhere and moved to `path`, each whole or not at all.
    Killed between the two, their hashes differ: `load_bundle` says so, and who writes them
    again mends it. Raises OutputError."""
    folder = path.parent / ".export"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        manifest = write(folder / path.name)
        for name in (path.name, path.with_suffix(".json").name):
            (folder / name).replace(path.with_name(name))
    except OSError as error:
        raise output_error(path, error) from None
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
