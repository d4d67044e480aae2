"""What a user may say about the detector. Loads without torch: cameras read it too."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from streamvis.config.model import ConfigModel, LocalPath
from streamvis.encode.config import NONE


class DetectorConfig(ConfigModel):
    head: Literal["bundled"] = "bundled"
    """The head that comes with sv_tiny's weights."""

    onnx: LocalPath | None = None
    """A detector trained elsewhere, in place of the head; it reads the pictures, not the encoder's
    features."""

    decode: Literal["yolox"] = "yolox"
    """How to read the ONNX model's output."""

    score: float = Field(default=0.3, ge=0, le=1)
    """Detections below it are dropped."""

    nms_iou: float = Field(default=0.5, gt=0, le=1)
    """Of two boxes of one group that overlap more than this, the surer one stays."""

    max_inside: float = Field(default=1.0, gt=0, le=1)
    """A box that lies by more than this share of its area in a surer one of its group goes; 1:
    none does."""

    max_detections: int = Field(default=100, ge=1)

    @model_validator(mode="after")
    def _decode_needs_onnx(self) -> DetectorConfig:
        if "decode" in self.model_fields_set and self.onnx is None:
            raise ValueError("decode says how to read an ONNX model; give onnx too")
        return self

    def check_encoder(self, name: str) -> None:
        """ValueError when this detector cannot work on the encoder of this name."""
        if name == NONE and self.onnx is None:
            raise ValueError(
                "encoder none makes no features for the bundled head; give detector.onnx"
            )
