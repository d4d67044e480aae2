"""A live pipeline on Ray for the tests of its supervision."""

from __future__ import annotations

from pathlib import Path

from conftest import write_clip

from streamvis.topology import PipelineConfig


def config(folder: Path, cameras: str = "ab", **runtime) -> PipelineConfig:
    clip = write_clip(folder / "clip.mp4", num_frames=30)
    return PipelineConfig.model_validate(
        {
            "version": 1,
            "name": "test",
            "runtime": {"kind": "ray", **runtime},
            "sources": {name: {"uri": str(clip), "loop": True} for name in cameras},
            "encoder": {"input_size": (128, 64), "threads": 1},
            "tiling": {"policy": "threshold"},
            "outputs": [{"publish": f"pub+bind:ipc://{folder}/out"}],
        }
    )
