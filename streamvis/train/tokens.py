"""The semantic tokens, learned on the finished encoder.

Each slot's vector must tell the features and the classes of the cells it stands for, and must stay
as it is when the picture shakes and its light changes. Half of the slots tell it by their code
alone: that is what fills the codebook with meaning.

B pictures   V = 2 looks at each   h, w cells   C channels   S slots   D token size   K classes
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from streamvis.encode.sv_tiny import SvTinyArch
from streamvis.encode.sv_tiny_encoder import SvTinyEncoder
from streamvis.encode.tokenizer import PART, STRIDE, Tokenizer, gather_cells
from streamvis.errors import ConfigError, WeightsError
from streamvis.train.config import DataConfig, ViewConfig
from streamvis.train.pictures import load_pictures
from streamvis.train.second_stage import FrozenEncoder, Progress, StageConfig, fit, save_part
from streamvis.train.views import CELL_PX, View, ViewMaker
from streamvis.types import CLASSES, LETTERBOX_FILL

_SHAKE_PX = 10.0
_ZOOM = 0.03
_NOISE = 3.0  # grey levels
_BY_CODE = 0.5  # of the slots, at every step
_TEMPERATURE = 0.1  # of a code's logits, which are cosines
_CLASS_WEIGHT = 4.0  # of a cell that has the class: most have none


class TokensConfig(StageConfig):
    """configs/train/tokens.yaml"""

    stage: Literal["tokens"] = "tokens"
    data: list[DataConfig] = Field(min_length=1)
    views: int = Field(default=1000, ge=1)
    """Pictures held in memory, twice each, as features."""

    scale: tuple[float, float] = (0.9, 2.0)
    """Range of the picture's long side, relative to its place in the view."""

    batch: int = Field(default=16, ge=1)
    num_slots: int = Field(default=24, ge=2, le=64)
    size: int = Field(default=64, ge=8)
    num_codes: int = Field(default=256, ge=2, le=65_536)
    steady: float = 0.5
    """Weight of: the code stays when the picture moves a little and its light changes."""

    compact: float = 2.0
    """Weight of: what a slot stands for lies together."""

    classes: float = 2.0


@dataclass(frozen=True)
class Looks:
    """Frozen features of the same pictures, seen twice, and what their labels say."""

    cells: Tensor  # [N, V, h, w, C], the encoder's dtype
    present: Tensor  # bool [N, V, h, w, K]
    known: Tensor  # bool [N, V, h, w, K] whether labels tell


def train_tokens(config: TokensConfig, progress: Progress) -> Path:
    """Returns the path of a copy of the bundle that has the part `tokens`."""
    torch.manual_seed(config.seed)
    encoder = FrozenEncoder(config)
    if not isinstance(encoder.encoder, SvTinyEncoder):
        raise WeightsError("semantic tokens are learned on sv_tiny; leave `weights` to its bundles")
    looks = _collect(encoder, config)
    learner = Learner(encoder.encoder.bundle.manifest.arch, config)
    learner.begin_with(looks.cells)

    def loss(step: int) -> Mapping[str, Tensor]:
        rng = np.random.default_rng((config.seed, step))
        rows = torch.from_numpy(rng.choice(len(looks.cells), min(config.batch, len(looks.cells))))
        return learner.losses(looks.cells[rows], looks.present[rows], looks.known[rows])

    fit(learner, loss, config, progress)
    return save_part(learner.finished(), PART, config)


class Learner(nn.Module):
    """The tokenizer with what only its training needs."""

    def __init__(self, arch: SvTinyArch, config: TokensConfig) -> None:
        super().__init__()
        self.tokenizer = Tokenizer(arch, config.num_slots, config.size, config.num_codes)
        self._quantize = _new_codebook(config)
        channels = self.tokenizer.read.in_features
        self._tell = nn.Sequential(
            nn.Linear(config.size, 256), nn.ReLU(), nn.Linear(256, channels + len(CLASSES))
        )
        self._config = config

    def begin_with(self, cells: Tensor) -> None:
        """Mean and variance of each channel, which stay: they are the target's scale."""
        rows = cells[:64].flatten(0, -2).float()
        self.tokenizer.norm.running_mean = rows.mean(0)
        self.tokenizer.norm.running_var = rows.var(0)

    def train(self, mode: bool = True) -> Learner:
        super().train(mode)
        self.tokenizer.norm.eval()
        return self

    def losses(self, cells: Tensor, present: Tensor, known: Tensor) -> dict[str, Tensor]:
        """Of [B, V, h, w, ...] the terms of the loss."""
        B = len(cells)
        cells = cells.flatten(0, 1).float()
        slots = self.tokenizer(cells)
        by_code, codes, commitment = self._quantize(slots.vectors)
        use_code = torch.rand(*by_code.shape[:2], 1) < _BY_CODE
        told = self._tell(torch.where(use_code, by_code, slots.vectors))  # [B * V, S, C + K]
        told = torch.einsum("bshw,bsc->bhwc", slots.attention, told)
        target = _smooth(self.tokenizer.norm(cells.flatten(0, 2)).view_as(cells))
        return {
            "features": (told[..., : cells.shape[-1]] - target).square().mean(),
            "classes": self._config.classes
            * _class_loss(told[..., cells.shape[-1] :], present.flatten(0, 1), known.flatten(0, 1)),
            "commitment": commitment.sum(),
            "steady": self._config.steady * self._unsteadiness(slots.vectors, codes, B),
            "compact": self._config.compact * _spread(slots.attention),
        }

    def _unsteadiness(self, vectors: Tensor, codes: Tensor, B: int) -> Tensor:
        """How surely does each look choose the other's codes?"""
        logits = vectors @ self._codebook.T / _TEMPERATURE
        others = codes.view(B, 2, -1).flip(1).flatten()
        return F.cross_entropy(logits.flatten(0, 1), others)

    @property
    def _codebook(self) -> Tensor:
        """[codes, D], L2 norm 1"""
        codebook = self._quantize.codebook
        assert isinstance(codebook, Tensor)
        return F.normalize(codebook, dim=-1)

    def finished(self) -> Tokenizer:
        self.tokenizer.codebook.copy_(self._codebook)
        return self.tokenizer


def _new_codebook(config: TokensConfig) -> nn.Module:
    """Learned as moving averages of the vectors that chose a code; one nobody chooses is dealt
    out again ("Neural Discrete Representation Learning", van den Oord et al., NeurIPS 2017)."""
    try:
        from vector_quantize_pytorch import VectorQuantize
    except ImportError:
        raise ConfigError(
            "training tokens needs vector-quantize-pytorch; "
            "install it: `.venv/bin/pip install 'streamvis[train]'`"
        ) from None
    codebook: nn.Module = VectorQuantize(
        dim=config.size,
        codebook_size=config.num_codes,
        use_cosine_sim=True,
        kmeans_init=True,
        decay=0.99,
        threshold_ema_dead_code=0.2,
        commitment_weight=0.25,
    )
    return codebook


def _smooth(cells: Tensor) -> Tensor:
    """Means over about a tile: features know where in their tile they lie, slots should not."""
    smooth = F.avg_pool2d(cells.permute(0, 3, 1, 2), 5, 1, 2, count_include_pad=False)
    return smooth.permute(0, 2, 3, 1)


def _spread(attention: Tensor) -> Tensor:
    """Of [B, S, h, w]: the variance of where a cell's slot lies, mean over cells; the picture's
    sides are 1."""
    shares = attention.mean((2, 3))  # [B, S]
    rows, cols = attention.mean(3), attention.mean(2)
    total = torch.zeros(())
    for weights in (rows, cols):
        at = torch.linspace(0, 1, weights.shape[-1])
        first, second = (weights @ at) / weights.shape[-1], (weights @ at.square()) / len(at)
        total = total + (second - first.square() / (shares + 1e-6)).sum(1).mean()
    return total


def _class_loss(logits: Tensor, present: Tensor, known: Tensor) -> Tensor:
    target = present.float()
    each = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    weight = known * (1 + (_CLASS_WEIGHT - 1) * target)
    return (each * weight).sum() / weight.sum().clamp(min=1)


# ---------------------------------------------------------------- the data


def _collect(encoder: FrozenEncoder, config: TokensConfig) -> Looks:
    side, height = config.input_size
    if side != height:
        raise ConfigError(f"input_size: the views are square, got {side}x{height}")
    pictures = load_pictures(config.data)
    view = ViewConfig(size=side, mosaic=0, scale=config.scale)
    maker = ViewMaker(pictures, view, config.seed)
    parts = list(_look_twice(encoder, maker, config))
    return Looks(*(torch.stack(column) for column in zip(*parts, strict=True)))


def _look_twice(
    encoder: FrozenEncoder, maker: ViewMaker, config: TokensConfig
) -> Iterator[Sequence[Tensor]]:
    for index in range(config.views):
        view = maker.make(index)
        known = np.repeat(_known(view)[None], 2, 0)
        again, move = _shake(view.image, np.random.default_rng((config.seed, index, 1)))
        moved = _move(view.xyxy, move)
        present = np.stack([_paint(view, view.xyxy), _paint(view, moved)])
        features = encoder.encode(np.stack([view.image, again]))
        yield gather_cells(features).clone(), torch.from_numpy(present), torch.from_numpy(known)


def _shake(
    image: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """As a frame a moment later: a little moved and zoomed, other light and noise. [2, 3] says
    how points move."""
    side = image.shape[0]
    zoom = 1 + rng.uniform(-_ZOOM, _ZOOM)
    offset = rng.uniform(-_SHAKE_PX, _SHAKE_PX, 2) + (1 - zoom) * side / 2
    move = np.array([[zoom, 0, offset[0]], [0, zoom, offset[1]]])
    out: Any = cv2.warpAffine(image, move, (side, side), borderValue=(LETTERBOX_FILL,) * 3)
    gain = rng.uniform(0.85, 1.15)
    noise = rng.normal(rng.uniform(-12, 12), _NOISE, out.shape)
    return np.clip(out * gain + noise, 0, 255).astype(np.uint8), move


def _move(xyxy: NDArray[np.float32], move: NDArray[np.float64]) -> NDArray[np.float32]:
    return (xyxy * np.tile(np.diag(move), 2) + np.tile(move[:, 2], 2)).astype(np.float32)


def _known(view: View) -> NDArray[np.bool_]:
    """[h, w, K]: do labels tell whether the class is there?"""
    step = STRIDE // CELL_PX
    return (view.labelled & ~view.ignored[..., None])[step // 2 :: step, step // 2 :: step]


def _paint(view: View, xyxy: NDArray[np.float32]) -> NDArray[np.bool_]:
    """[h, w, K]: cells whose centre, or the one cell whose area, an object's box covers."""
    count = view.image.shape[0] // STRIDE
    present = np.zeros((count, count, len(CLASSES)), bool)
    for box, class_id in zip(xyxy / STRIDE, view.class_id, strict=True):
        x0, y0 = np.clip(np.round(box[:2]), 0, count - 1).astype(int)
        x1, y1 = np.maximum(np.round(box[2:]).astype(int), (x0 + 1, y0 + 1))
        present[y0:y1, x0:x1, class_id] = True
    return present
