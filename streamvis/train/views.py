"""Training views: pictures scaled, flipped, coloured, cut and put together.

A picture lands at a random offset, so the encoder's tile grid falls anywhere on it: that is
what teaches the local stages to live with their seams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.train.config import ViewConfig
from streamvis.train.pictures import Picture
from streamvis.types import CLASSES, LETTERBOX_FILL

CELL_PX = 8  # the finest stride of the pyramid
MIN_SIDE_PX = 3.0
MIN_VISIBLE = 0.35  # of a box's area inside the view; what is less becomes an ignored region


@dataclass
class View:
    """What the network sees, and what is known about it; S = side px, c = S / CELL_PX."""

    image: NDArray[np.uint8]  # [S, S, 3] RGB
    xyxy: NDArray[np.float32]  # [N, 4] px
    class_id: NDArray[np.int64]  # [N]
    labelled: NDArray[np.bool_]  # [c, c, K] every object of this class is marked here
    ignored: NDArray[np.bool_]  # [c, c] nothing is to be learned here


class ViewMaker:
    """`make(i)` gives the i-th view of the run, the same one every time."""

    def __init__(self, pictures: Sequence[Picture], config: ViewConfig, seed: int) -> None:
        self._pictures = pictures
        self._config = config
        self._seed = seed
        weights = np.cumsum([picture.weight for picture in pictures])
        self._odds = weights / weights[-1]

    def make(self, index: int) -> View:
        rng = np.random.default_rng((self._seed, index))
        view = self._blank(rng)
        for left, top, right, bottom in self._regions(rng):
            picture = self._pictures[int(np.searchsorted(self._odds, rng.random()))]
            part, box_map = self._cut(picture, right - left, bottom - top, rng)
            view.image[top:bottom, left:right] = part
            _add_labels(view, picture, box_map, (left, top, right, bottom))
        view.image = _recolour(view.image, rng)
        return view

    def _blank(self, rng: np.random.Generator) -> View:
        side, cells = self._config.size, self._config.size // CELL_PX
        return View(
            image=np.full((side, side, 3), _fill(rng), np.uint8),
            xyxy=np.zeros((0, 4), np.float32),
            class_id=np.zeros(0, np.int64),
            labelled=np.ones((cells, cells, len(CLASSES)), bool),
            ignored=np.zeros((cells, cells), bool),
        )

    def _regions(self, rng: np.random.Generator) -> list[tuple[int, int, int, int]]:
        side = self._config.size
        if rng.random() >= self._config.mosaic:
            return [(0, 0, side, side)]
        x, y = (int(v) for v in rng.uniform(0.3, 0.7, 2) * side)
        return [(0, 0, x, y), (x, 0, side, y), (0, y, x, side), (x, y, side, side)]

    def _cut(
        self, picture: Picture, width: int, height: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """A [height, width, 3] part of the scaled picture, and the map of its boxes:
        rows (scale, offset) for x and y."""
        h, w = picture.image.shape[:2]
        zoom = np.exp(rng.uniform(*np.log(self._config.scale))) * max(width, height) / max(h, w)
        stretch = np.exp(rng.uniform(-0.12, 0.12))
        scale = np.array([zoom * stretch, zoom / stretch])
        size = np.maximum(np.round(scale * (w, h)), 8).astype(int)
        how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
        scaled = cv2.resize(picture.image, tuple(int(s) for s in size), interpolation=how)
        scale = size / (w, h)
        # Smaller than its place: anywhere in it. Larger: any part of it.
        offset = np.round(rng.uniform(0, 1, 2) * ((width, height) - size)).astype(int)
        if rng.random() < 0.5:
            scaled = scaled[:, ::-1]
            flip = np.array([[-scale[0], offset[0] + size[0]], [scale[1], offset[1]]])
        else:
            flip = np.array([[scale[0], offset[0]], [scale[1], offset[1]]])
        part = np.full((height, width, 3), _fill(rng), np.uint8)
        x0, y0 = np.maximum(offset, 0)
        x1, y1 = np.minimum(offset + size, (width, height))
        part[y0:y1, x0:x1] = scaled[
            y0 - offset[1] : y1 - offset[1], x0 - offset[0] : x1 - offset[0]
        ]
        return part, flip


def _add_labels(
    view: View,
    picture: Picture,
    box_map: NDArray[np.float64],
    region: tuple[int, int, int, int],
) -> None:
    left, top, right, bottom = region
    (sx, ox), (sy, oy) = box_map
    x = np.sort(picture.xyxy[:, 0::2] * sx + ox + left, 1)  # a flip swaps left and right
    y = picture.xyxy[:, 1::2] * sy + oy + top
    whole = np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], 1).astype(np.float32)
    seen = np.clip(whole, (left, top, left, top), (right, bottom, right, bottom))
    seen = seen.astype(np.float32)
    size = seen[:, 2:] - seen[:, :2]
    share = size.prod(1) / np.maximum((whole[:, 2:] - whole[:, :2]).prod(1), 1e-6)
    good = (share >= MIN_VISIBLE) & (size.min(1, initial=1e9) >= MIN_SIDE_PX)
    use = good & (picture.class_id >= 0)
    view.xyxy = np.concatenate([view.xyxy, seen[use]])
    view.class_id = np.concatenate([view.class_id, picture.class_id[use]])
    view.labelled[_cells(region)] = picture.labelled
    for box in seen[~use & (size.min(1, initial=1e9) > 0)]:
        view.ignored[_cells(box)] = True


def _cells(box: Sequence[float] | NDArray[np.float32]) -> tuple[slice, slice]:
    """The cells whose centre a box covers."""
    x0, y0, x1, y1 = (max(0, round(float(v) / CELL_PX)) for v in box)
    return slice(y0, y1), slice(x0, x1)


def _fill(rng: np.random.Generator) -> int:
    """Grey level of what no picture covers."""
    return (0, LETTERBOX_FILL, int(rng.integers(256)))[rng.integers(3)]


def _recolour(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Gamma, contrast, brightness, colour cast, saturation, now and then blur."""
    ramp = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.uniform(-0.4, 0.4))
    cast = rng.uniform(0.9, 1.1, 3)
    ramp = (ramp - 0.5) * rng.uniform(0.7, 1.3) + 0.5 + rng.uniform(-0.1, 0.1)
    table = np.clip(ramp * cast * 255, 0, 255).astype(np.uint8)  # [256, 3]
    out = cv2.LUT(image, table[:, None, :].transpose(1, 0, 2))
    grey = cv2.cvtColor(out, cv2.COLOR_RGB2GRAY)
    vivid = rng.uniform(0, 1.5)
    out = cv2.addWeighted(out, vivid, cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), 1 - vivid, 0)
    if rng.random() < 0.1:
        out = cv2.GaussianBlur(out, (0, 0), float(rng.uniform(0.5, 1.5)))
    return out.astype(np.uint8, copy=False)
