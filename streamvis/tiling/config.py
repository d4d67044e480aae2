"""How tiles are chosen."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from streamvis.config.model import ConfigModel

Policy = Literal["off", "threshold", "budget", "deadline"]
MotionKind = Literal["auto", "codec", "flow", "none"]


class TilingConfig(ConfigModel):
    """`off` sends every tile of every frame: the dense encoder. The others send what changed."""

    policy: Policy = "off"
    """threshold: all that changed. budget: at most so many tiles a frame. deadline: as many as
    the encoder manages in so many milliseconds a frame."""

    threshold: float = Field(default=12.0, ge=0)
    """Mean absolute change of an 8x8 px block, grey levels of the channel that changed most, from
    which its tile is encoded anew; .inf: changes do not count."""

    noise_factor: float = Field(default=3.0, ge=0)
    """Where the camera is noisy the threshold is at least so many times the noise."""

    box_factor: float = Field(default=0.5, gt=0, le=1)
    """The threshold of tiles where something was detected, as a share of the others'."""

    motion: MotionKind = "none"
    """How a tile whose content only moved is told from one with news: codec, the vectors of H.264
    and MPEG-4; flow, optical flow; auto, the codec's where it has any, else flow. A tile where
    something was detected never counts as moved."""

    refresh: bool = True
    """Encode every tile anew at least every `max_age` frames, a slice of them in each frame."""

    max_age: int = Field(default=30, ge=1)
    """Frames."""

    dense_above: float = Field(default=0.9, gt=0, le=1)
    """policy threshold: when more than this share of the tiles changed, it was a cut: send all.
    All are sent, too, when the exposure jumped."""

    budget: int | None = Field(default=None, ge=0)
    """policy budget: tiles a frame, the refreshed ones included."""

    deadline_ms: float | None = Field(default=None, gt=0)
    """policy deadline: time of encoder and detector a frame."""

    @field_validator("policy", mode="before")
    @classmethod
    def _off_is_a_word(cls, policy: object) -> object:
        """To YAML 1.1 an unquoted `off` is false."""
        return "off" if policy is False else policy

    @property
    def wants_codec_motion(self) -> bool:
        return self.policy != "off" and self.motion in ("auto", "codec")

    @model_validator(mode="after")
    def _check_policy(self) -> TilingConfig:
        for policy, key in (("budget", "budget"), ("deadline", "deadline_ms")):
            is_given = getattr(self, key) is not None
            if self.policy == policy and not is_given:
                raise ValueError(f"policy {policy} needs {key}")
            if self.policy != policy and is_given:
                raise ValueError(f"{key} is for policy {policy}; the policy is {self.policy}")
        return self
