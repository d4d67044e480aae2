"""What an evaluation runs: the models and settings of a pipeline, without its cameras."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import field_validator, model_validator

from streamvis.config.load import load_config
from streamvis.config.model import ConfigModel
from streamvis.detect.config import DetectorConfig
from streamvis.encode.config import EncoderConfig
from streamvis.errors import ConfigError
from streamvis.tiling.config import TilingConfig
from streamvis.topology import PipelineConfig
from streamvis.track.config import TrackerConfig
from streamvis.wire import check_name


class EvalConfig(ConfigModel):
    """One contender. The defaults are the bundled model as `streamvis run` has it."""

    name: str = "sv_tiny"
    encoder: EncoderConfig = EncoderConfig()
    tiling: TilingConfig = TilingConfig()
    detector: DetectorConfig = DetectorConfig()
    tracker: TrackerConfig = TrackerConfig()

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return check_name(name)

    @model_validator(mode="after")
    def _check_detector(self) -> EvalConfig:
        self.detector.check_encoder(self.encoder.name)
        return self

    @property
    def is_dense(self) -> bool:
        """Every tile of every frame is encoded."""
        return self.tiling.policy == "off"

    def models(self) -> EvalConfig:
        """Encoder and detector only: equal where two configs can share them."""
        return EvalConfig(name="models", encoder=self.encoder, detector=self.detector)

    def dense(self) -> EvalConfig:
        """The same models without reuse, under the same name."""
        return self.model_copy(update={"tiling": TilingConfig()})


def read_configs(paths: Sequence[Path]) -> list[EvalConfig]:
    """Eval or pipeline files; the bundled model when there are none. Raises ConfigError."""
    configs = [_read(path) for path in paths] or [EvalConfig()]
    seen: dict[str, Path] = {}
    for path, config in zip(paths, configs, strict=False):
        if config.name in seen:
            raise ConfigError(
                f"{path}: {seen[config.name]} is named {config.name!r} too; rename one"
            )
        seen[config.name] = path
    return configs


def _read(path: Path) -> EvalConfig:
    if not _is_pipeline(path):
        return load_config(path, EvalConfig)
    pipeline = load_config(path, PipelineConfig)
    return EvalConfig(**{key: getattr(pipeline, key) for key in EvalConfig.model_fields})


def _is_pipeline(path: Path) -> bool:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False  # load_config says what is wrong with it
    return isinstance(data, dict) and "sources" in data
