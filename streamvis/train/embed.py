"""The embedder, learned on the finished encoder by contrast (InfoNCE, van den Oord et al. 2018).

What should lie together: one place at near times, in another light, in an altered look; one object
in another frame and in an altered look; overlapping clips. All else should lie apart. The frame's
vector also learns which COCO classes the teacher sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from streamvis.config.model import LocalPath
from streamvis.encode.embedder import (
    CLIP_NS,
    PART,
    Embedder,
    ObjectPool,
    pool_objects,
    pool_picture,
)
from streamvis.encode.sv_tiny_encoder import SvTinyEncoder
from streamvis.errors import ConfigError, WeightsError
from streamvis.train.second_stage import FrozenEncoder, Progress, StageConfig, fit, save_part
from streamvis.train.shots import SceneConfig, Shot, alter, load_shots, number
from streamvis.train.teacher import Teacher

_NEAR_S = 0.6  # frames so near show the same place
_FAR_S = 1.2  # frames that far apart in a drive do not
_TEMPERATURE = 0.07
_PROBE_SCALE = 16.0
_RUN = 8  # groups
_CHUNK = 4  # pictures encoded at once
_TEACHER_PX = 384


class EmbedConfig(StageConfig):
    """configs/train/embed.yaml"""

    stage: Literal["embed"] = "embed"
    data: list[SceneConfig] = Field(min_length=1)
    teacher: LocalPath
    """A YOLOX in ONNX: finds what to track in videos, and says what is in a picture."""

    size: Literal[128] = 128
    batch_objects: int = Field(default=256, ge=2)
    batch_frames: int = Field(default=96, ge=2)
    batch_clips: int = Field(default=32, ge=2)
    presence: float = 0.02
    """Weight of the teacher's 80 classes, learned by the frame's vector."""


@dataclass(frozen=True)
class Looks:
    """Everything that is learned on: L looks at pictures, N objects in them."""

    pooled: Tensor  # float16 [L, ...] of pool_picture
    presence: Tensor  # float32 [L, 80]
    place: Tensor  # int64 [L]
    t_s: Tensor  # float64 [L] in the place
    series: Tensor  # int64 [L] a drive in one weather
    clip: tuple[NDArray[np.int64], ...]  # L, the looks of the clip that ends here, in order
    objects: ObjectPool  # float16, of N
    thing: Tensor  # int64 [N]


def train_embedder(config: EmbedConfig, progress: Progress) -> Path:
    """Returns the path of a copy of the bundle that has the part `embed`."""
    torch.manual_seed(config.seed)
    frozen = FrozenEncoder(config)
    if not isinstance(frozen.encoder, SvTinyEncoder):
        raise WeightsError("embeddings are learned on sv_tiny; leave `weights` to its bundles")
    looks = _collect(frozen, config)
    arch = frozen.encoder.bundle.manifest.arch
    learner = Learner(Embedder(arch, config.size), arch.embedding, looks, config)
    fit(learner, learner, config, progress)
    return save_part(learner.embedder, PART, config)


class Learner(nn.Module):
    """The embedder with what only its training needs."""

    def __init__(
        self, embedder: Embedder, frame_size: int, looks: Looks, config: EmbedConfig
    ) -> None:
        super().__init__()
        self.embedder = embedder
        self._probe = nn.Linear(frame_size, looks.presence.shape[1])
        self._looks = looks
        self._config = config
        self._near = _near(looks.place, looks.t_s)
        self._alike = _near(looks.series, looks.t_s)
        self._same = _same(looks.thing.numpy())
        if not self._near or not self._same:
            raise ConfigError("data: nothing in it is seen twice; add drives, videos or pictures")
        self._clips = [pair for pair in self._near if all(len(looks.clip[i]) > 1 for i in pair)]

    def forward(self, step: int) -> Mapping[str, Tensor]:
        rng = np.random.default_rng((self._config.seed, step))
        frames = _draw(self._near, self._config.batch_frames, rng)
        levels = _draw(self._alike, self._config.batch_frames, rng)
        objects = _draw(self._same, self._config.batch_objects, rng)
        terms = {
            **self._frame_losses(frames),
            "pyramid": self._level_loss(levels),
            "object": self._object_loss(objects),
        }
        if self._clips:
            terms["clip"] = self._clip_loss(_draw(self._clips, self._config.batch_clips, rng))
        return terms

    def _frame_losses(self, pairs: NDArray[np.int64]) -> dict[str, Tensor]:
        """Pairs [n, 2] of looks."""
        rows = torch.from_numpy(pairs.T.reshape(-1))  # the firsts, then the seconds
        vectors = self.embedder.embed_frame(self._looks.pooled[rows].float())
        told = F.binary_cross_entropy_with_logits(
            self._probe(vectors * _PROBE_SCALE), self._looks.presence[rows], reduction="none"
        )
        return {
            "frame": contrast(vectors, self._maybe_same(self._looks.place, rows)),
            "presence": self._config.presence * told.sum(1).mean(),
        }

    def _level_loss(self, pairs: NDArray[np.int64]) -> Tensor:
        """In another weather a place is another picture to them."""
        rows = torch.from_numpy(pairs.T.reshape(-1))
        levels = self.embedder.embed_levels(self._looks.pooled[rows].float())
        maybe = self._maybe_same(self._looks.series, rows)
        return torch.stack([contrast(vectors, maybe) for vectors in levels.unbind(1)]).mean()

    def _maybe_same(self, place: Tensor, rows: Tensor) -> Tensor:
        place, t_s = place[rows], self._looks.t_s[rows]
        return (place[:, None] == place) & ((t_s[:, None] - t_s).abs() < _FAR_S)

    def _object_loss(self, pairs: NDArray[np.int64]) -> Tensor:
        rows = torch.from_numpy(pairs.T.reshape(-1))
        whole = self._looks.objects
        part = (x[rows].float() for x in (whole.cells, whole.around, whole.colours))
        thing = self._looks.thing[rows]
        vectors = self.embedder.embed_objects(ObjectPool(*part))
        return contrast(vectors, thing[:, None] == thing)

    def _clip_loss(self, pairs: NDArray[np.int64]) -> Tensor:
        ends = pairs.T.reshape(-1)
        vectors = self.embedder.embed_clip(*self._halves(ends))
        return contrast(vectors, self._maybe_same(self._looks.place, torch.from_numpy(ends)))

    def _halves(self, ends: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Mean frame vectors [n, D] of the older and newer half of the clips that end here."""
        clips = [self._looks.clip[end] for end in ends]
        rows, where = np.unique(np.concatenate(clips), return_inverse=True)
        was_training = self.embedder.training
        with torch.no_grad():
            pooled = self._looks.pooled[torch.from_numpy(rows)].float()
            vectors = self.embedder.eval().embed_frame(pooled)
        self.embedder.train(was_training)
        cuts = np.cumsum([0, *map(len, clips)])
        parts = [vectors[torch.from_numpy(where[a:b])] for a, b in pairwise(cuts)]
        older = torch.stack([part[: len(part) // 2].mean(0) for part in parts])
        newer = torch.stack([part[len(part) // 2 :].mean(0) for part in parts])
        return older, newer


def contrast(vectors: Tensor, maybe_same: Tensor) -> Tensor:
    """InfoNCE of [2n, E], rows i and i + n a pair; what may be the same as a row, bool [2n, 2n],
    is no negative of it."""
    count = len(vectors)
    partner = torch.arange(count).roll(count // 2)
    logits = vectors @ vectors.T / _TEMPERATURE
    hidden = maybe_same.clone()
    hidden[torch.arange(count), partner] = False
    hidden.fill_diagonal_(True)
    return F.cross_entropy(logits.masked_fill(hidden, -torch.inf), partner)


# ---------------------------------------------------------------- pairs


def _near(place: Tensor, t_s: Tensor) -> list[tuple[int, ...]]:
    """Groups of looks at one place within _NEAR_S: any two of a group are a pair."""
    groups: dict[tuple[int, int], list[int]] = {}
    bins = (t_s / _NEAR_S).floor().long().tolist()
    for row, key in enumerate(zip(place.tolist(), bins, strict=True)):
        groups.setdefault(key, []).append(row)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _same(thing: NDArray[np.int64]) -> list[tuple[int, ...]]:
    """Rows of each object that is seen twice or more."""
    order = np.argsort(thing, kind="stable")
    ends = np.flatnonzero(np.diff(thing[order])) + 1
    return [tuple(group.tolist()) for group in np.split(order, ends) if len(group) > 1]


def _draw(
    groups: Sequence[tuple[int, ...]], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """[n, 2]: two rows of each of some groups. They are drawn in runs: what lies side by side in
    the data is of one street, and the hardest to tell apart."""
    starts = rng.integers(0, max(1, len(groups) - _RUN), -(-count // _RUN))
    chosen = np.unique((starts[:, None] + np.arange(_RUN)).clip(0, len(groups) - 1))
    return np.stack([rng.choice(groups[group], 2, replace=False) for group in chosen])


# ---------------------------------------------------------------- the data


def _collect(frozen: FrozenEncoder, config: EmbedConfig) -> Looks:
    """Each shot as it is and altered, through the encoder, pooled."""
    rng = np.random.default_rng(config.seed)
    teacher = Teacher(config.teacher)
    shots: list[Shot] = []
    columns: list[list[Tensor]] = [[], [], [], [], []]
    source = load_shots(config.data, config.input_size, config.teacher)
    while group := list(islice(source, _CHUNK)):
        looks = [look for shot in group for look in (shot, alter(shot, rng))]
        seen = [_presence(teacher, shot.image) for shot in group]
        for column, value in zip(columns, _pool(frozen, looks), strict=False):
            column.append(value.half())
        columns[4].append(torch.stack(seen).repeat_interleave(2, 0))
        shots += [_without_image(look) for look in looks]
    pooled, *objects, presence = (torch.cat(column) for column in columns)
    return Looks(
        pooled,
        presence,
        torch.from_numpy(number([shot.place for shot in shots])),
        torch.tensor([shot.t_s for shot in shots], dtype=torch.float64),
        torch.from_numpy(number([shot.series for shot in shots])),
        tuple(_clips(shots)),
        ObjectPool(*objects),
        torch.from_numpy(number([thing for shot in shots for thing in shot.things])),
    )


def _pool(frozen: FrozenEncoder, looks: Sequence[Shot]) -> list[Tensor]:
    images = np.stack([look.image for look in looks])
    features = frozen.encode(images)
    boxes = [torch.from_numpy(look.xyxy) for look in looks]
    with torch.inference_mode():
        objects = pool_objects(torch.from_numpy(images), features, boxes)
        pooled = pool_picture(features), objects.cells, objects.around, objects.colours
    return [x.clone() for x in pooled]


def _presence(teacher: Teacher, image: NDArray[np.uint8]) -> Tensor:
    """How sure the teacher is that each COCO class is in the picture: float32 [80]"""
    scale = _TEACHER_PX / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    square = np.full((_TEACHER_PX, _TEACHER_PX, 3), 114, np.uint8)
    square[: small.shape[0], : small.shape[1]] = small
    return torch.from_numpy(teacher.look(square).presence)


def _without_image(shot: Shot) -> Shot:
    return replace(shot, image=np.zeros((0, 0, 3), np.uint8))


def _clips(shots: Sequence[Shot]) -> Iterator[NDArray[np.int64]]:
    """For each look the looks of the clip that ends with it; altered ones are a series of their
    own."""
    series = number([(shot.series, row % 2) for row, shot in enumerate(shots)])
    t_s = np.array([shot.t_s for shot in shots])
    rows_of = {s: np.flatnonzero(series == s) for s in np.unique(series)}
    for row in range(len(shots)):
        rows = rows_of[series[row]]
        age_s = t_s[row] - t_s[rows]
        yield rows[(rows <= row) & (age_s >= 0) & (age_s < CLIP_NS / 1e9)]
