"""What a training run is made from: configs/train/*.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from streamvis.config.model import ConfigModel, LocalPath


class DataConfig(ConfigModel):
    """One place pictures come from; give exactly one of `coco`, `drive` and `video`."""

    coco: LocalPath | None = None
    """Folder with annotations.json and images/; each image names its source."""

    drive: LocalPath | None = None
    """Recorded or rendered drive: rig.json, labels.json, a video per camera."""

    video: LocalPath | None = None
    """A video without labels: the teacher's detections stand in."""

    every: int = Field(default=1, ge=1)
    """Take each n-th frame of a drive or video."""

    weight: float = Field(default=1.0, gt=0)
    """How often a picture from here is drawn, relative to the others."""

    source_weights: dict[str, float] = Field(default_factory=dict)
    """For `coco`: further factors by the image's source."""

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        given = [place for place in (self.coco, self.drive, self.video) if place is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of coco, drive and video")
        return self


class ViewConfig(ConfigModel):
    """How pictures become training views."""

    size: int = Field(default=384, multiple_of=64)
    """Side of the square view, px; at most the teacher's input."""

    mosaic: float = Field(default=0.5, ge=0, le=1)
    """Share of views made of four pictures."""

    scale: tuple[float, float] = (0.6, 1.8)
    """Range of the picture's long side, relative to its place in the view."""


class LossConfig(ConfigModel):
    box: float = 2.0
    embedding: float = 0.2
    teacher_box_score: float = 0.2
    """The teacher's boxes are learned where it is at least this sure."""

    teacher_doubt: float = 0.5
    """Where the teacher is surer than this but there is no label, nothing is learned."""


class TrainConfig(ConfigModel):
    out: LocalPath
    """Folder of the checkpoints and the log."""

    data: list[DataConfig] = Field(min_length=1)
    teacher: LocalPath
    """A YOLOX in ONNX: its dense scores stand in for classes without labels."""

    context: Literal["early", "late"] = "early"
    """Where the model learns of what lies beyond a tile: late leaves more to be reused."""

    start: LocalPath | None = None
    """Weights to begin with, as far as they fit; None: random ones."""

    view: ViewConfig = ViewConfig()
    loss: LossConfig = LossConfig()
    views: int = Field(default=100_000, ge=1)
    """Views of the whole run: the schedule's length."""

    batch: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=1.5e-3, gt=0)
    warmup_views: int = 4_000
    weight_decay: float = 0.03
    ema_decay: float = 0.999
    seed: int = 0
    workers: int = Field(default=1, ge=0)
    threads: int = Field(default=2, ge=1)
    checkpoint_every_s: int = Field(default=180, ge=1)
    log_every: int = Field(default=20, ge=1)
