"""What a user may set about tracking."""

from __future__ import annotations

from pydantic import Field, model_validator

from streamvis.config.model import ConfigModel, DurationNs


class TrackerConfig(ConfigModel):
    """The thresholds of the two-stage association; the defaults suit 5 to 30 frames a second."""

    high_score: float = Field(
        default=0.4, ge=0, le=1, description="A detection this sure may start a track."
    )
    low_score: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="A detection this sure may continue one; below, it is ignored.",
    )
    match_iou: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="Least overlap of a sure detection with its predicted box.",
    )
    low_match_iou: float = Field(
        default=0.4, gt=0, le=1, description="The same for an unsure one, which has to fit better."
    )
    min_hits: int = Field(
        default=2, ge=1, description="Frames in a row an object is seen in before it gets an id."
    )
    max_lost: DurationNs = Field(
        default=1_000_000_000, ge=0, description="How long an object may hide and keep its id."
    )
    merge_classes: tuple[tuple[str, ...], ...] = Field(
        default=(("car", "bus", "truck"), ("bicycle", "motorcycle")),
        description="Classes that a detector confuses on one and the same object.",
    )

    @model_validator(mode="after")
    def _scores_are_ordered(self) -> TrackerConfig:
        if self.low_score > self.high_score:
            raise ValueError(
                f"low_score must not exceed high_score, got {self.low_score} > {self.high_score}"
            )
        return self
