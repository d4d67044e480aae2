"""The training loop: seeded, resumable, one log line every few steps."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import nn

from streamvis.encode.sv_tiny import SvTinyArch
from streamvis.errors import ConfigError, OutputError, WeightsError
from streamvis.render.output_file import output_error, write_file
from streamvis.train.batches import Batch, load_batches
from streamvis.train.config import TrainConfig
from streamvis.train.export import export_bundle
from streamvis.train.loss import Losses, compute_losses
from streamvis.train.network import MovingAverage, Network
from streamvis.train.pictures import load_pictures
from streamvis.train.targets import make_targets

Progress = Callable[[int, dict[str, float]], None]  # views seen, the newest log values
_MAX_GRADIENT_NORM = 10.0
_PARTS = {"network", "average", "optimizer", "views"}  # of a checkpoint
_FINAL_RATE = 0.02  # of the learning rate, at the end of the cosine
MAX_SKIPPED = 10  # steps in a row without a finite gradient, before the run gives up


class Trainer:
    """All that is random depends on the seed and the view's number only, so that a run which was
    killed at any moment goes on, from its last checkpoint, to the result it would have had."""

    def __init__(self, config: TrainConfig, arch: SvTinyArch | None = None) -> None:
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.threads)
        self._config = config
        self._network = Network(arch).to(memory_format=torch.channels_last)
        self._average = MovingAverage(self._network, config.ema_decay)
        self._optimizer = _make_optimizer(self._network, config)
        self.views = 0  # seen so far
        self.skipped = 0  # steps of the whole run that taught nothing
        self._skipped_in_a_row = 0

    def run(self, progress: Progress) -> Path:
        """Train to the end of the schedule; returns the weights file's path."""
        self._check_out()
        pictures = load_pictures(self._config.data)
        if not pictures:
            raise ConfigError("data: no picture was found in any of its places")
        saved = started = time.monotonic()
        first_view = self.views
        for batch in load_batches(pictures, self._config, self.views):
            with torch.autocast("cpu", torch.bfloat16):
                losses = self.step(batch)
            now = time.monotonic()
            if (self.views // self._config.batch) % self._config.log_every == 0:
                rate = (self.views - first_view) / (now - started)
                progress(self.views, self._log(losses, rate))
            if now - saved > self._config.checkpoint_every_s:
                self.save()
                saved = now
        self.save()
        return self._config.out / "sv_tiny.safetensors"

    def step(self, batch: Batch) -> Losses:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self.views, self._config)
        answer = self._network(batch.images, self._generator())
        targets = make_targets(batch, answer.logits.sigmoid(), answer.xyxy, self._config.loss)
        losses = compute_losses(answer, targets, batch)
        total = losses.total(self._config.loss)
        self._optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._network.parameters(), _MAX_GRADIENT_NORM)
        self.views += len(batch.images)
        if total.isfinite() and norm.isfinite():
            self._skipped_in_a_row = 0
            self._optimizer.step()
            self._average.update(self._network, self.views // self._config.batch)
        else:
            self._skip()
        return losses

    def save(self) -> None:
        """Write the checkpoint, whole or not at all, and the averaged weights. Raises OutputError,
        or WeightsError for weights that are no longer numbers; the last checkpoint stays."""
        if not (_is_finite(self._network) and _is_finite(self._average.network)):
            raise self._diverged("the weights are no longer numbers")
        state = {
            "network": self._network.state_dict(),
            "average": self._average.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "views": self.views,
            "skipped": self.skipped,
            "config": self._config.model_dump(mode="json"),
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_file(checkpoint_path(self._config), buffer.getvalue())
        export_bundle(self._average.network, self._config, self.views)

    def resume(self) -> None:
        """Go on from the last checkpoint of this config's `out`. Raises WeightsError when there
        is none, when it is damaged, or of another architecture."""
        path = checkpoint_path(self._config)
        state = read_checkpoint(path)
        try:
            self._network.load_state_dict(state["network"])
            self._average.network.load_state_dict(state["average"])
            self._optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise WeightsError(
                f"{path}: this checkpoint is of another architecture ({reason}); "
                "start without --resume, or choose another `out`"
            ) from None
        self.views = state["views"]
        self.skipped = state.get("skipped", 0)

    def _generator(self) -> torch.Generator:
        """For what a step decides by chance."""
        seed = np.random.SeedSequence((self._config.seed, self.views)).generate_state(1)
        return torch.Generator().manual_seed(int(seed[0]))

    def _skip(self) -> None:
        self.skipped += 1
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row >= MAX_SKIPPED:
            raise self._diverged(f"no step of the last {MAX_SKIPPED} had a finite gradient")

    def _diverged(self, reason: str) -> WeightsError:
        return WeightsError(
            f"{checkpoint_path(self._config)}: the training diverged by view {self.views} "
            f"({reason}), and the last checkpoint was kept; "
            "go on from it with --resume and a smaller learning_rate"
        )

    def _check_out(self) -> None:
        """Before hours of work: can the checkpoints be written?"""
        try:
            self._config.out.mkdir(parents=True, exist_ok=True)
            (self._config.out / "log.jsonl").touch()
        except OSError as error:
            raise OutputError(
                f"{self._config.out}: cannot write there ({error.strerror}); check `out`"
            ) from None

    def _log(self, losses: Losses, views_per_s: float) -> dict[str, float]:
        values = {
            "views": self.views,
            "score": round(losses.score.item(), 4),
            "box": round(losses.box.item(), 4),
            "embedding": round(losses.embedding.item(), 4),
            "worth": round(losses.worth.item(), 4),
            "learning_rate": round(learning_rate(self.views, self._config), 7),
            "views_per_s": round(views_per_s, 1),
            "skipped": self.skipped,
        }
        path = self._config.out / "log.jsonl"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
        except OSError as error:
            raise output_error(path, error) from None
        return values


def learning_rate(views: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine over the rest of the run."""
    if views < config.warmup_views:
        return config.learning_rate * (views + config.batch) / (config.warmup_views + config.batch)
    done = (views - config.warmup_views) / max(1, config.views - config.warmup_views)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return config.learning_rate * (_FINAL_RATE + (1 - _FINAL_RATE) * cosine)


def checkpoint_path(config: TrainConfig) -> Path:
    return config.out / "last.pt"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Raises WeightsError when there is none, or it is not a whole one."""
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no checkpoint to go on from; start without --resume") from None
    except (OSError, RuntimeError, EOFError, UnpicklingError):
        state = None
    if not isinstance(state, dict) or _PARTS - state.keys():
        raise WeightsError(f"{path}: this checkpoint is damaged; start without --resume")
    return state


def _is_finite(network: nn.Module) -> bool:
    """Norms' running statistics too: a step that was skipped may have spoiled them."""
    tensors = (x for x in network.state_dict().values() if x.is_floating_point())
    return all(bool(x.isfinite().all()) for x in tensors)


def _make_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW; vectors (norms, biases) do not decay."""
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
