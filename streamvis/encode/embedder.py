"""Embeddings at four levels: the frame, each level of the pyramid, each object, a clip.

B pictures   C, P channels   N objects of all pictures   k cells, p pixels a side of
an object's grid   b colour bins
D frame's size   E size of the other vectors   h, w cells

Only pooling touches the feature maps; what is learned works on what was pooled, so it costs
little, and training can pool once and learn many times.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import roi_align

from streamvis.encode.encoder import Features
from streamvis.encode.sv_tiny import STRIDES, SvTinyArch
from streamvis.encode.sv_tiny_encoder import SvTinyEncoder
from streamvis.errors import WeightsError
from streamvis.types import Detections, Embeddings

PART = "embed"  # of a weights bundle
SCOPES = ("pyramid", "object", "clip")  # made on demand; the frame's vector always is
CLIP_NS = 2_000_000_000
GRID = (2, 4)  # rows, columns: where in the picture something is
ROI_STRIDES = (8, 16)
ROI_CELLS = 4
ROI_PIXELS = 16
COLOURS = 8  # bins of each of red, green and blue
_PAINT = 16.0  # a vector of norm 1 beside a layer's output
_PAINT_READ = 32.0  # what was learned on few streets counts half: chosen on towns of other seeds


@dataclass(frozen=True)
class ObjectPool:
    """What an object's vector is made from; all float."""

    cells: Tensor  # [N, 2, k * k, 2P] at strides 8 and 16
    around: Tensor  # [N, C] what the context says there
    colours: Tensor  # [N, b * b * b] root of the share of each colour; L2 norm 1


class Embedder(nn.Module):
    """Its sizes are the default ones: a bundle with others does not load."""

    def __init__(self, arch: SvTinyArch, size: int = 128) -> None:
        super().__init__()
        wide, C, D = 2 * arch.pyramid_channels, arch.channels[-1], arch.embedding
        num_pooled = 2 * (len(STRIDES) * wide + C) + C * GRID[0] * GRID[1]
        self._num_a_level = 2 * wide
        self.frame = _mlp(num_pooled, 256, D)
        self.pyramid = nn.ModuleDict({str(s): _mlp(2 * wide, 128, size) for s in STRIDES})
        self.narrow = nn.ModuleDict({str(s): nn.Linear(wide, 32) for s in ROI_STRIDES})
        self.object = _mlp(len(ROI_STRIDES) * ROI_CELLS**2 * 32 + C + COLOURS**3, 256, size)
        self.paint = nn.Linear(COLOURS**3, size, bias=False)
        nn.init.orthogonal_(self.paint.weight)
        self.clip = _mlp(2 * D, 256, size)

    def embed_frame(self, pooled: Tensor) -> Tensor:
        """Of `pool_picture` -> [B, D]; as all vectors here: float32, L2 norm 1."""
        return F.normalize(self.frame(pooled), dim=-1)

    def embed_levels(self, pooled: Tensor) -> Tensor:
        """Of `pool_picture` -> [B, 3, E], fine to coarse."""
        parts = pooled[:, : len(STRIDES) * self._num_a_level].chunk(len(STRIDES), 1)
        levels = [self.pyramid[str(s)](x) for s, x in zip(STRIDES, parts, strict=True)]
        return F.normalize(torch.stack(levels, 1), dim=-1)

    def embed_objects(self, pooled: ObjectPool) -> Tensor:
        """-> [N, E]. A detector's features care little for colour, and a colour histogram alone
        knows many things again: the vector begins as one, and learns what to add."""
        narrow = [
            self.narrow[str(s)](pooled.cells[:, i]).flatten(1) for i, s in enumerate(ROI_STRIDES)
        ]
        added = self.object(torch.cat([*narrow, pooled.around, pooled.colours], 1))
        paint = (_PAINT if self.training else _PAINT_READ) * self.paint(pooled.colours)
        return F.normalize(paint + added, dim=-1)

    def embed_clip(self, older: Tensor, newer: Tensor) -> Tensor:
        """Means [B, D] of the frames' vectors in a clip's halves -> [B, E]."""
        return F.normalize(self.clip(torch.cat([older + newer, newer - older], 1)), dim=-1)


def _mlp(c_in: int, hidden: int, c_out: int) -> nn.Sequential:
    """The first norm brings pooled values of any scale to one."""
    return nn.Sequential(
        nn.BatchNorm1d(c_in, affine=False), nn.Linear(c_in, hidden), nn.ReLU(),
        nn.Linear(hidden, c_out),
    )  # fmt: skip


def pool_picture(features: Features) -> Tensor:
    """Mean and maximum of each level and of the context, and the context on a coarse grid:
    float32 [B, 2 * (3 * 2P + C) + 8 * C]"""
    assert features.context is not None, "of another encoder"
    maps = [*(features.pyramid[s] for s in STRIDES), features.context]
    pooled = [x for m in maps for x in (m.mean((2, 3), dtype=torch.float32), m.amax((2, 3)))]
    grid = F.adaptive_avg_pool2d(features.context.float(), GRID).flatten(1)
    return torch.cat([*(x.float() for x in pooled), grid], 1)


def pool_objects(images: Tensor, features: Features, xyxy: Sequence[Tensor]) -> ObjectPool:
    """Of the boxes [n, 4] px of each picture of uint8 [B, H, W, 3]."""
    assert features.context is not None, "of another encoder"
    boxes = [x.float() for x in xyxy]
    cells = [
        roi_align(features.pyramid[s].float(), boxes, ROI_CELLS, 1 / s, 2, aligned=True)
        for s in ROI_STRIDES
    ]
    around = roi_align(features.context.float(), boxes, 1, 1 / 32, 2, aligned=True)
    picture = images.to(around.device).permute(0, 3, 1, 2).float()
    pixels = roi_align(picture, boxes, ROI_PIXELS, 1.0, 1, aligned=True)
    return ObjectPool(
        torch.stack([_rows(x) for x in cells], 1), around.flatten(1), _histogram(_rows(pixels))
    )


def _histogram(pixels: Tensor) -> Tensor:
    """[N, p * p, 3] in 0-255 -> [N, b * b * b]. A colour between two bins counts for both, so that
    a little more light moves little."""
    middles = (torch.arange(COLOURS, device=pixels.device) + 0.5) * (256 / COLOURS)
    distance = (pixels.clamp(middles[0], middles[-1])[..., None] - middles).abs()
    red, green, blue = (1 - distance * (COLOURS / 256)).clamp(min=0).unbind(2)  # [N, p * p, b]
    pairs = (red[..., None] * green[..., None, :]).flatten(2)
    return (pairs.transpose(1, 2) @ blue / pixels.shape[1]).flatten(1).sqrt()


def _rows(x: Tensor) -> Tensor:
    """[N, C, k, k] -> [N, k * k, C]"""
    return x.flatten(2).transpose(1, 2)


class ClipWindow:
    """The vectors of one camera's last frames, by media time."""

    def __init__(self) -> None:
        self._frames: deque[tuple[int, NDArray[np.float32]]] = deque()

    def push(self, t_ns: int, vector: NDArray[np.float32]) -> None:
        """Time that runs backwards begins a new clip, as `reset` does."""
        if self._frames and t_ns < self._frames[-1][0]:
            self.reset()
        self._frames.append((t_ns, vector))
        while t_ns - self._frames[0][0] >= CLIP_NS:
            self._frames.popleft()

    def reset(self) -> None:
        self._frames.clear()

    @property
    def span_ns(self) -> tuple[int, int]:
        """[t0, t1): the frames in it are those with t0 <= t < t1."""
        return self._frames[0][0], self._frames[-1][0] + 1

    def halves(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean vectors [D] of the older and the newer half of the frames; of one frame, itself."""
        vectors = np.stack([vector for _, vector in self._frames])
        middle = len(vectors) // 2
        return vectors[: max(1, middle)].mean(0), vectors[middle:].mean(0)


class EmbeddingReader:
    """The embedder of the encoder's own weights bundle.

    Raises WeightsError when the encoder is not sv_tiny or its bundle has no such part.
    """

    def __init__(self, encoder: object, scopes: Collection[str] = SCOPES) -> None:
        if not isinstance(encoder, SvTinyEncoder):
            raise WeightsError(
                f"embeddings of {', '.join(scopes)} are made from sv_tiny's features, and the "
                "encoder is another; use sv_tiny, or take them out of publish.opt_in"
            )
        bundle = encoder.bundle
        if not bundle.has(PART):
            raise WeightsError(
                f"{bundle.path} has no embeddings but the frame's; train them with `streamvis "
                f"train configs/train/embed.yaml`, or take {', '.join(scopes)} out of "
                "publish.opt_in"
            )
        self._scopes = frozenset(scopes)
        self._device = encoder.device
        self.network = Embedder(bundle.manifest.arch)
        bundle.load_into(self.network, PART)
        self.network.eval().requires_grad_(False).to(encoder.device)

    @torch.inference_mode()
    def read(
        self, images: Tensor, features: Features, found: Sequence[Detections]
    ) -> list[tuple[NDArray[np.float32], Embeddings]]:
        """For each picture of uint8 [B, H, W, 3] the frame's vector [D] and, as far as asked for,
        its levels' and its objects'; boxes of `found` in the picture's pixels."""
        pooled = pool_picture(features)
        frames = self.network.embed_frame(pooled).cpu().numpy()
        levels: Sequence[NDArray[np.float16] | None] = [None] * len(found)
        objects = levels
        if "pyramid" in self._scopes:
            levels = list(_half(self.network.embed_levels(pooled)))
        if "object" in self._scopes:
            objects = self._objects(images, features, found)
        return [
            (frame, Embeddings(level, rows))
            for frame, level, rows in zip(frames, levels, objects, strict=True)
        ]

    def _objects(
        self, images: Tensor, features: Features, found: Sequence[Detections]
    ) -> list[NDArray[np.float16]]:
        boxes = [torch.from_numpy(each.xyxy).to(self._device) for each in found]
        vectors = _half(self.network.embed_objects(pool_objects(images, features, boxes)))
        ends = np.cumsum([len(each) for each in found])[:-1]
        return np.split(vectors, ends)

    @property
    def makes_clips(self) -> bool:
        return "clip" in self._scopes

    @torch.inference_mode()
    def read_clip(self, window: ClipWindow) -> NDArray[np.float16]:
        """The window's vector [E]."""
        older, newer = (torch.from_numpy(half)[None] for half in window.halves())
        vectors = self.network.embed_clip(older.to(self._device), newer.to(self._device))
        return _half(vectors)[0]  # type: ignore[no-any-return]


def _half(vectors: Tensor) -> NDArray[np.float16]:
    return vectors.cpu().numpy().astype(np.float16)
