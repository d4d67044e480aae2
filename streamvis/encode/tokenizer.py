"""Semantic tokens: a picture in a few slots. Each has a vector and a code (what), a box (where).

B pictures   h, w cells at stride 16, N = h * w   C channels   S slots   D token size   K codes

The slots compete for the cells, as in "Object-Centric Learning with Slot Attention" (Locatello et
al., NeurIPS 2020), but each begins with a query of its own, so that slot 7 of one frame is slot 7
of the next. Where a cell lies decides who reads it and never what is read: one thing gives one
vector, and one code, in any slot and at any place.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamvis.encode.encoder import Features
from streamvis.encode.sv_tiny import SvTinyArch
from streamvis.encode.sv_tiny_encoder import SvTinyEncoder
from streamvis.errors import WeightsError
from streamvis.types import Tokens

PART = "tokens"  # of a weights bundle
STRIDE = 16
_EXTENT = 3**0.5  # half the side of an even spread, in its standard deviations
_EMPTY = 1e-6


@dataclass(frozen=True)
class Slots:
    vectors: Tensor  # float32 [B, S, D], L2 norm 1
    attention: Tensor  # float32 [B, S, h, w]: how much of each cell a slot has; sums to 1 over S


class Tokenizer(nn.Module):
    """Its sizes are those of the tensors it is loaded from."""

    def __init__(
        self,
        arch: SvTinyArch,
        num_slots: int = 24,
        size: int = 64,
        num_codes: int = 256,
        num_rounds: int = 2,
    ) -> None:
        super().__init__()
        channels = 4 * arch.pyramid_channels + arch.channels[-1]
        self.num_rounds = num_rounds
        self.norm: nn.Module = nn.BatchNorm1d(channels, affine=False)
        self.read = nn.Linear(channels, size)
        self.key = nn.Linear(size, size)
        self.place = nn.Linear(4, size, bias=False)
        self.queries = nn.Parameter(torch.randn(num_slots, size))
        self.seek = nn.Linear(size, size)
        self.refine = nn.Sequential(
            nn.LayerNorm(size), nn.Linear(size, 2 * size), nn.ReLU(), nn.Linear(2 * size, size)
        )
        self.codebook: Tensor
        self.register_buffer("codebook", F.normalize(torch.randn(num_codes, size), dim=-1))

    def forward(self, cells: Tensor) -> Slots:
        """Cells [B, h, w, C], see `gather_cells`."""
        B, h, w, C = cells.shape
        x = self.norm(cells.reshape(-1, C).float()).view(B, h * w, C)
        value = self.read(x)
        key = self.key(F.relu(value)) + self.place(_places(h, w, cells.device))
        query = self.queries.expand(B, -1, -1)
        for _ in range(self.num_rounds):
            query = query * key.shape[-1] ** -0.5
            attention = (key @ query.transpose(1, 2)).softmax(2)  # [B, N, S]
            share = attention / (attention.sum(1, keepdim=True) + _EMPTY)
            content = share.transpose(1, 2) @ value  # [B, S, D]
            query = self.queries + self.seek(content)
        vectors = F.normalize(content + self.refine(content), dim=-1)
        return Slots(vectors, attention.transpose(1, 2).unflatten(2, (h, w)))

    @torch.no_grad()
    def fold(self) -> None:
        """Merge the norm into the layer that reads it, in place, for inference."""
        if isinstance(self.norm, nn.BatchNorm1d):
            mean, variance = self.norm.running_mean, self.norm.running_var
            assert mean is not None
            assert variance is not None
            scale = (variance + self.norm.eps).rsqrt()
            self.read.bias.sub_(self.read.weight @ (scale * mean))
            self.read.weight.mul_(scale)
            self.norm = nn.Identity()

    def nearest(self, vectors: Tensor) -> Tensor:
        """Vectors [B, S, D] -> their codes, int64 [B, S]."""
        return (vectors @ self.codebook.T).argmax(-1)


def gather_cells(features: Features) -> Tensor:
    """What sv_tiny says of each stride-16 cell, from all its levels: [B, h, w, C]."""
    assert features.context is not None, "of another encoder"
    fine = F.avg_pool2d(features.pyramid[8], 2)
    context = features.context.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return torch.cat([features.pyramid[STRIDE], fine, context], 1).permute(0, 2, 3, 1)


def attention_boxes(attention: Tensor) -> Tensor:
    """[B, S, h, w] -> xyxy px [B, S, 4]: the rectangle whose even spread has the attention's mean
    and variance. The attention of one thing gives its extent, of two apart one box around both."""
    _, _, h, w = attention.shape
    rows, cols = attention.sum(3), attention.sum(2)
    y0, y1 = _extent(rows, h)
    x0, x1 = _extent(cols, w)
    return torch.stack([x0, y0, x1, y1], -1)


def _extent(weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """[B, S, count] -> from where to where, px [B, S]"""
    weights = weights / (weights.sum(2, keepdim=True) + _EMPTY)
    at = torch.arange(count, device=weights.device) + 0.5
    mean = weights @ at
    variance = (weights * (at - mean[..., None]).square()).sum(2) + 1 / 12  # a cell's own
    half = _EXTENT * variance.sqrt()
    side = float(count * STRIDE)
    return (
        ((mean - half) * STRIDE).clamp(0, side),
        ((mean + half) * STRIDE).clamp(0, side),
    )


def _places(h: int, w: int, device: torch.device) -> Tensor:
    """(x, y, x², y²) of each cell in [-1, 1]: a query can ask for any blob. [N, 4]"""
    y = torch.linspace(-1, 1, h, device=device)
    x = torch.linspace(-1, 1, w, device=device)
    yx = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).view(-1, 2)
    at = yx.flip(1)
    return torch.cat([at, at.square()], 1)


class TokenReader:
    """The tokenizer of the encoder's own weights bundle.

    Raises WeightsError when the encoder is not sv_tiny or its bundle has no tokens.
    """

    def __init__(self, encoder: object) -> None:
        if not isinstance(encoder, SvTinyEncoder):
            raise WeightsError(
                "semantic tokens are made from sv_tiny's features, and the encoder is another; "
                "use the encoder sv_tiny, or take sem out of publish.opt_in"
            )
        bundle = encoder.bundle
        if not bundle.has(PART):
            raise WeightsError(
                f"{bundle.path} has no semantic tokens; train them with `streamvis train "
                "configs/train/tokens.yaml`, or take sem out of publish.opt_in"
            )
        num_slots, size = bundle.tensors[f"{PART}.queries"].shape
        num_codes = len(bundle.tensors[f"{PART}.codebook"])
        network = Tokenizer(bundle.manifest.arch, num_slots, size, num_codes)
        bundle.load_into(network, PART)
        network.fold()
        self.network = network.eval().requires_grad_(False).to(encoder.device)

    @torch.inference_mode()
    def read(self, features: Features) -> list[Tokens]:
        """The tokens of each picture, boxes in its pixels."""
        slots = self.network(gather_cells(features))
        codes = self.network.nearest(slots.vectors).cpu().numpy().astype("uint16")
        boxes = attention_boxes(slots.attention).cpu().numpy()
        shares = slots.attention.mean((2, 3)).cpu().numpy()
        vectors = slots.vectors.cpu().numpy().astype("float16")
        num_codes = len(self.network.codebook)
        columns = zip(vectors, codes, boxes, shares, strict=True)
        return [Tokens(*picture, num_codes) for picture in columns]
