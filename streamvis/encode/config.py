"""What a user may say about the encoder. Loads without torch: cameras read it too."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from streamvis.config.model import ConfigModel, LocalPath

TILE_PX = 64
NONE = "none"  # the encoder that makes nothing


class EncoderConfig(ConfigModel):
    name: str = "sv_tiny"
    """`sv_tiny`, `timm/<name>` for a HieraDet, Hiera or ViT of timm, or `none`: no features, for
    an ONNX detector that is to cost only what it costs itself."""

    weights: LocalPath | None = None
    """None: the bundled file for sv_tiny, timm's own download for timm/*."""

    input_size: tuple[int, int] = (640, 384)
    """(width, height) px, multiples of the tile."""

    dtype: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where the processor computes in it, else fp32."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of the process that hosts the encoder; None: all cores."""

    min_worth: float = Field(default=0.0, ge=0, lt=1)
    """sv_tiny: tiles less likely than this to hold something take the cheap path; 0: none does."""

    @property
    def tile_px(self) -> int:
        return TILE_PX

    @model_validator(mode="after")
    def _check(self) -> EncoderConfig:
        if self.name not in ("sv_tiny", NONE) and not self.name.startswith("timm/"):
            raise ValueError(f"name must be sv_tiny, timm/<name> or none, got {self.name!r}")
        width, height = self.input_size
        if min(width, height) < TILE_PX or width % TILE_PX or height % TILE_PX:
            near = [max(1, round(side / TILE_PX)) * TILE_PX for side in self.input_size]
            raise ValueError(
                f"input_size must be multiples of the {TILE_PX} px tile, got {width}x{height}; "
                f"the nearest is {near[0]}x{near[1]}"
            )
        return self
