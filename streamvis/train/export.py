"""From a training run to the weights file that `encoder.weights` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamvis.encode.weights import Manifest, save_bundle
from streamvis.train.config import DataConfig, TrainConfig
from streamvis.train.network import Network


def export_bundle(network: Network, config: TrainConfig, views: int) -> Manifest:
    """Write sv_tiny.safetensors and sv_tiny.json into the run's folder."""
    parts = {"encoder": network.encoder, "head": network.head}
    training = _summary(config, views)
    return save_bundle(config.out / "sv_tiny.safetensors", parts, network.arch, training)


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
