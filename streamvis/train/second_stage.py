"""Parts that learn on the finished encoder: embeddings, semantic tokens.

The encoder stays as it is, so its features are computed once, for a fixed number of augmented
views, and held in memory; a part then sees them many times in minutes. A stage is short and is
not resumed: run it again, the seed gives the same part.

    encoder = FrozenEncoder(config)
    examples = [... encoder.encode(images) ...]       # what the part reads, pooled or cut out
    fit(part, lambda step: {"loss": ...}, config, progress)
    return save_part(part, "embed", config)           # a copy of the bundle, the part in it
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from streamvis.config.model import ConfigModel, LocalPath
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import Encoder, Features, build_encoder
from streamvis.encode.weights import add_part, load_bundle
from streamvis.errors import OutputError, WeightsError
from streamvis.train.export import write_whole

Progress = Callable[[int, dict[str, float]], None]  # steps done, the newest log values
Loss = Callable[[int], Mapping[str, Tensor]]  # of a step's batch: terms to be added up
_MAX_GRADIENT_NORM = 5.0


class Which(ConfigModel):
    """The one key that says whose config a file under configs/train is."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    stage: Literal["detect", "embed", "tokens"] = "detect"


class StageConfig(ConfigModel):
    """What every second stage may be told."""

    out: LocalPath
    """Folder of the log and of the weights with the part in them."""

    weights: LocalPath | None = None
    """The bundle to learn on and to add to; None: the one that comes with streamvis."""

    input_size: tuple[int, int] = (640, 384)
    """(width, height) px of the pictures, multiples of the tile."""

    steps: int = Field(default=2_000, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.03, ge=0)
    seed: int = 0
    threads: int = Field(default=1, ge=1)
    log_every: int = Field(default=50, ge=1)


class FrozenEncoder:
    """The bundle's encoder as a pipeline runs it: what a part learns on is what it will get."""

    def __init__(self, config: StageConfig) -> None:
        _open_log(config)  # before minutes of work: can the result be written?
        self.encoder: Encoder = build_encoder(
            EncoderConfig(
                weights=config.weights,
                input_size=config.input_size,
                threads=config.threads,
                device="cpu",
            )
        )

    def encode(self, images: NDArray[np.uint8]) -> Features:
        """uint8 [B, H, W, 3] RGB of `input_size`."""
        return self.encoder.encode_full(torch.from_numpy(images))


def fit(part: nn.Module, loss: Loss, config: StageConfig, progress: Progress) -> None:
    """AdamW over one warm-up and one cosine; the part ends in eval mode.

    Raises WeightsError when the loss is no number: nothing useful would follow.
    """
    log = _open_log(config)
    part.train()
    optimizer = torch.optim.AdamW(part.parameters(), weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, config.steps, pct_start=0.1
    )
    for step in range(config.steps):
        terms = loss(step)
        total = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(total):
            raise WeightsError(
                f"step {step}: the loss is {total.item()}; lower `learning_rate`, look at `data`"
            )
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(part.parameters(), _MAX_GRADIENT_NORM)
        optimizer.step()
        schedule.step()
        if (step + 1) % config.log_every == 0:
            values = {name: round(term.item(), 4) for name, term in terms.items()}
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step + 1, **values}) + "\n")
            progress(step + 1, values)
    part.eval()


def save_part(part: nn.Module, name: str, config: StageConfig) -> Path:
    """Write the bundle's copy that has this part into `out`; returns its path."""
    path = config.out / "sv_tiny.safetensors"
    private = {"data", "threads"} | {k for k, v in dict(config).items() if isinstance(v, Path)}
    about = config.model_dump(mode="json", exclude=private | {"weights"})
    bundle = load_bundle(config.weights)
    write_whole(path, lambda fresh: add_part(bundle, name, part, about, fresh))
    return path


def _open_log(config: StageConfig) -> Path:
    try:
        config.out.mkdir(parents=True, exist_ok=True)
        (config.out / "log.jsonl").write_text("")
    except OSError as error:
        raise OutputError(
            f"{config.out}: cannot write there ({error.strerror}); check `out`"
        ) from None
    return config.out / "log.jsonl"
