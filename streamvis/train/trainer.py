"""The training loop: seeded, resumable, one log line every few steps."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from streamvis.encode.sv_tiny import SvTinyArch
from streamvis.encode.weights import load_bundle
from streamvis.errors import ConfigError, OutputError, WeightsError
from streamvis.train.batches import Batch, load_batches
from streamvis.train.config import TrainConfig
from streamvis.train.export import export_bundle
from streamvis.train.loss import Losses, compute_losses
from streamvis.train.network import MovingAverage, Network
from streamvis.train.pictures import load_pictures
from streamvis.train.targets import make_targets

Progress = Callable[[int, dict[str, float]], None]  # views seen, the newest log values
_MAX_GRADIENT_NORM = 10.0
_FINAL_RATE = 0.02  # of the learning rate, at the end of the cosine


class Trainer:
    def __init__(self, config: TrainConfig) -> None:
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.threads)
        self._config = config
        self._network = Network(SvTinyArch(context=config.context))
        if config.start is not None:
            self._network.start_from(load_bundle(config.start))
        self._network.to(memory_format=torch.channels_last)
        self._average = MovingAverage(self._network, config.ema_decay)
        self._optimizer = _make_optimizer(self._network, config)
        self.views = 0  # seen so far

    def run(self, progress: Progress) -> Path:
        """Train to the end of the schedule; returns the weights file's path."""
        self._check_out()
        pictures = load_pictures(self._config.data)
        if not pictures:
            raise ConfigError("data: no picture was found in any of its places")
        saved = started = time.monotonic()
        first_view = self.views
        for batch in load_batches(pictures, self._config, self.views):
            # Fused attention's backward is 4x slower than the plain one on CPUs.
            with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
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
        logits, xyxy, presence = self._network(batch.images)
        targets = make_targets(batch, logits.sigmoid(), xyxy, self._config.loss)
        losses = compute_losses(logits, xyxy, presence, targets, batch)
        self._optimizer.zero_grad()
        losses.total(self._config.loss).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._network.parameters(), _MAX_GRADIENT_NORM)
        self._optimizer.step()
        self.views += len(batch.images)
        self._average.update(self._network, self.views // self._config.batch)
        return losses

    def save(self) -> None:
        """Write the checkpoint, whole or not at all, and the averaged weights."""
        path = checkpoint_path(self._config)
        state = {
            "network": self._network.state_dict(),
            "average": self._average.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "views": self.views,
            "config": self._config.model_dump(mode="json"),
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(state, path.with_suffix(".part"))
            path.with_suffix(".part").replace(path)
            export_bundle(self._average.network, self._config, self.views)
        except OSError as error:
            raise OutputError(f"{path}: cannot write it ({error.strerror}); check `out`") from None

    def resume(self) -> None:
        """Go on from the last checkpoint of this config's `out`."""
        state = read_checkpoint(checkpoint_path(self._config))
        self._network.load_state_dict(state["network"])
        self._average.network.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.views = state["views"]

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
            "learning_rate": round(learning_rate(self.views, self._config), 7),
            "views_per_s": round(views_per_s, 1),
        }
        with (self._config.out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")
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
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no checkpoint to go on from; start without --resume") from None
    except (RuntimeError, EOFError, UnpicklingError):
        raise WeightsError(f"{path}: this checkpoint is damaged; start without --resume") from None
    return state


def _make_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW; vectors (norms, biases) do not decay."""
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
