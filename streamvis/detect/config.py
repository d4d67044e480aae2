"""What a user may say about the detector. Loads without torch: cameras read it too."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from streamvis.config.model import ConfigModel, LocalPath


class DetectorConfig(ConfigModel):
    head: Literal["bundled"] | None = None
    """The head that comes with sv_tiny's weights; the default."""

    onnx: LocalPath | None = None
    """A detector trained elsewhere; it reads the pictures, not the encoder's features."""

    decode: Literal["yolox"] = "yolox"
    """How to read the ONNX model's output."""

    score: float = Field(default=0.3, ge=0, le=1)
    """Detections below it are dropped."""

    nms_iou: float = Field(default=0.5, gt=0, le=1)
    """Of two boxes of one group that overlap more than this, the surer one stays."""

    max_detections: int = Field(default=100, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _one_of(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("head") and data.get("onnx"):
            raise ValueError("give either head or onnx, not both")
        if isinstance(data, dict) and data.get("decode") and not data.get("onnx"):
            raise ValueError("decode says how to read an ONNX model; give onnx too")
        return data

    @model_validator(mode="after")
    def _default_head(self) -> DetectorConfig:
        if self.head is None and self.onnx is None:
            object.__setattr__(self, "head", "bundled")  # frozen; the default of "exactly one"
        return self
