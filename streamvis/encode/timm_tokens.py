"""What timm's transformers share when only some tiles are encoded.

    M active tiles of a batch   n tokens   N all tokens of a camera   C channels   d of one head
    t a tile's side in tokens   T in px   S slots: places of keys, those of padding included

The changed tiles of all cameras are packed into one batch for what works token by token. In
attention across tiles their tokens ask all keys of the camera; those of other tiles come from
the caches. With every tile active this is the dense model; else a token that stayed misses what
changed around it, until it is refreshed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from streamvis.encode.encoder import TileUpdate
from streamvis.encode.feature_map import FeatureMap, split_rows
from streamvis.types import ModelId

HALO_PX = 3  # a 7x7 patch kernel of stride 4 reads 3 px left and above its tile


class KeyValues:
    """Keys and values of one attention block, [S, heads, d] each, preallocated."""

    def __init__(self, num_slots: int, qkv: Tensor) -> None:
        """`qkv` [.., 3, heads, d] tells heads, size, dtype and device."""
        shape = (num_slots, *qkv.shape[-2:])
        self.keys = torch.zeros(shape, dtype=qkv.dtype, device=qkv.device)
        self.values = torch.zeros_like(self.keys)

    def fill(self, key: Tensor, value: Tensor) -> None:
        """The same [heads, d] in every slot: what padding looks like."""
        self.keys[:], self.values[:] = key, value

    def write(self, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Rows [n, heads, d] to the slots [n]."""
        self.keys.index_copy_(0, slots, keys)
        self.values.index_copy_(0, slots, values)


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """[n, heads, d] asks [S, heads, d] -> [n, heads, d]."""
    q, k, v = (x.transpose(0, 1)[None] for x in (queries, keys, values))  # [1, heads, n, d]
    return F.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1)


@dataclass
class TokenCache:
    """Of one camera; only the executor that made it writes it."""

    model: ModelId
    seen: NDArray[np.uint8]  # [H, W, 3] the canvas as it was encoded
    layers: dict[int, KeyValues] = field(default_factory=dict)  # by block
    maps: dict[int, FeatureMap] = field(default_factory=dict)  # the results, by stride
    extra: Tensor | None = None  # a ViT's prefix tokens [P, C]
    is_empty: bool = True

    def reset(self) -> None:
        """Forget the camera; the memory stays."""
        self.is_empty = True

    def check(self, update: TileUpdate, model: ModelId) -> None:
        if self.model != model:
            raise ValueError("this cache belongs to another encoder; make one with new_cache()")
        if self.is_empty and not update.is_full:
            raise ValueError("an empty cache takes a full update only: send an I packet")

    def note(self, update: TileUpdate) -> None:
        """The canvas as it is now was encoded."""
        where = np.divmod(update.plan.index, update.plan.cols)
        tile_view(self.seen, update)[where] = update.tiles
        self.is_empty = False


def tile_view(picture: NDArray[np.uint8], update: TileUpdate) -> NDArray[np.uint8]:
    """The picture [H, W, 3] as tiles, the same memory: [rows, cols, T, T, 3]."""
    plan = update.plan
    size = plan.tile_px
    return picture.reshape(plan.rows, size, plan.cols, size, 3).swapaxes(1, 2)


def with_dirtied(update: TileUpdate, cache: TokenCache) -> NDArray[np.int32]:
    """The changed tiles, and their right and lower neighbours where the last pixels before the
    border changed too: the neighbours' first patches read them."""
    index = update.plan.index
    if cache.is_empty or update.is_full:
        return index
    rows, cols = np.divmod(index, update.plan.cols)
    old = tile_view(cache.seen, update)[rows, cols]  # [K, T, T, 3]
    differs = (old != update.tiles).any(axis=3)  # [K, T, T]
    right = differs[:, :, -HALO_PX:].any(axis=(1, 2))
    below = differs[:, -HALO_PX:].any(axis=(1, 2))
    corner = differs[:, -HALO_PX:, -HALO_PX:].any(axis=(1, 2))
    active = np.zeros((update.plan.rows + 1, update.plan.cols + 1), np.bool_)
    active[rows, cols] = True
    active[rows[right], cols[right] + 1] = True
    active[rows[below] + 1, cols[below]] = True
    active[rows[corner] + 1, cols[corner] + 1] = True
    return np.flatnonzero(active[:-1, :-1]).astype(np.int32)


def cut_with_halo(
    update: TileUpdate, index: NDArray[np.int32]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """The tiles `index` [K] of the canvas with 3 px more on the left and above,
    [K, T + 3, T + 3, 3], and which of them have the picture's edge above, and on the left."""
    size = update.plan.tile_px
    padded = np.pad(update.picture, ((HALO_PX, 0), (HALO_PX, 0), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(
        padded, (size + HALO_PX, size + HALO_PX), axis=(0, 1)
    )  # [., ., 3, T + 3, T + 3]
    rows, cols = np.divmod(index, update.plan.cols)
    tiles = windows[rows * size, cols * size].transpose(0, 2, 3, 1)
    return tiles, rows == 0, cols == 0


@dataclass(frozen=True)
class Geometry:
    """How the tokens of one stage attend: in windows of a padded grid, or all to all."""

    rows: int  # tiles
    cols: int
    side: int  # t
    window: int  # tokens; 0 is all to all

    @property
    def num_windows(self) -> int:
        return self._down * self._across

    @property
    def num_slots(self) -> int:
        return self.num_windows * self._height * self._width

    @property
    def _height(self) -> int:
        return self.window or self.rows * self.side

    @property
    def _width(self) -> int:
        return self.window or self.cols * self.side

    @property
    def _down(self) -> int:
        return -(-self.rows * self.side // self._height)

    @property
    def _across(self) -> int:
        return -(-self.cols * self.side // self._width)

    def slots(self, index: NDArray[np.int32]) -> NDArray[np.int64]:
        """Where the keys of these tiles' tokens lie, window by window: [K, t, t]."""
        tile_y, tile_x = np.divmod(index.astype(np.int64), self.cols)
        steps = np.arange(self.side)
        y = (tile_y[:, None] * self.side + steps)[:, :, None]  # [K, t, 1]
        x = (tile_x[:, None] * self.side + steps)[:, None, :]  # [K, 1, t]
        window = y // self._height * self._across + x // self._width
        inside = y % self._height * self._width + x % self._width
        return np.asarray(window * self._height * self._width + inside)

    def window_of(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        return slots // (self._height * self._width)


class Grouped:
    """The places of one camera's active tokens in one geometry: computed once a frame."""

    def __init__(
        self, geometry: Geometry, index: NDArray[np.int32], pool: int, device: torch.device
    ):
        """`pool` x `pool` tokens become one query."""
        slots = geometry.slots(index)  # [K, t, t]
        self.slots = torch.from_numpy(slots.ravel()).to(device)
        window = geometry.window_of(slots[:, ::pool, ::pool]).ravel()  # of each query
        order = np.argsort(window, kind="stable")
        self._num_windows = geometry.num_windows
        self._counts = np.bincount(window, minlength=geometry.num_windows)
        self._order = torch.from_numpy(order).to(device)

    def attend(self, queries: Tensor, cache: KeyValues) -> Tensor:
        """[n, heads, d] -> [n, heads, d], each in its window."""
        if self._num_windows == 1:
            return attend(queries, cache.keys, cache.values)
        keys = cache.keys.chunk(self._num_windows)
        values = cache.values.chunk(self._num_windows)
        parts = split_rows(queries[self._order], self._counts.tolist())
        found = [attend(part, keys[w], values[w]) for w, part in enumerate(parts) if len(part)]
        out = torch.empty_like(queries)
        out[self._order] = torch.cat(found)
        return out
