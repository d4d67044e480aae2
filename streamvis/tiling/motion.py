"""Motion: is what is new in a tile only old content that moved?

A moved tile is not sent, and nothing is warped: the canvas and all that the encoder knows of it
stay as they are, so the result still equals the dense encoder on the canvas. What a moved tile
costs is its lag: its features are where its content was when it was encoded. So the shift is
bounded, and tiles with detected objects are never served this way.
"""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.tiling.config import MotionKind
from streamvis.tiling.grid import TileGrid
from streamvis.tiling.residual import Image, block_differences
from streamvis.types import MOTION_BLOCK_PX, QUARTERS, Frame, TilePlan

CameraState = Literal["stopped", "driving", "turning"]

MAX_SHIFT_PX = 16.0  # a cell of stride 16: so far may the features of a tile lag behind it
_CALM = 0.1  # of the tiles: the camera stands, only things move
_MIN_SAVED = 0.05  # of the tiles: fewer are not worth the look
_REST_FRAMES = 4  # after a look that was not worth it

# [H/16, W/16, 2] (x, y) px: where in the canvas a block's content is
Field = NDArray[np.float32]


def shifted_tiles(
    canvas: Image, grid: TileGrid, index: NDArray[np.int32], motion: NDArray[np.int16]
) -> NDArray[np.uint8]:
    """What lies `motion` [K, 2], whole px in quarters, away from the tiles `index` [K]; beyond
    the canvas's edge, what lies at it: [K, T, T, 3]. Block copies, so that every machine agrees."""
    size = grid.tile_px
    height, width, _ = canvas.shape
    corners = np.stack(np.divmod(index, grid.cols), 1) * size + motion[:, ::-1] // QUARTERS
    corners = np.clip(corners, 0, (height - size, width - size))
    tiles = np.empty((len(index), size, size, 3), np.uint8)
    for tile, (y, x) in zip(tiles, corners.tolist(), strict=True):
        tile[:] = canvas[y : y + size, x : x + size]
    return tiles


def try_vectors(
    image: Image,
    canvas: Image,
    tried: NDArray[np.bool_],
    vectors: NDArray[np.float32],
    grid: TileGrid,
) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Of the tiles `tried` [M]: their vectors [M, 2] in quarter px, and what difference is left to
    the canvas shifted so far, the worst block [M]; inf where the shift is too large or none."""
    is_near = (np.abs(vectors) <= MAX_SHIFT_PX).all(axis=1)  # False where it is not a number
    motion = np.zeros((grid.num_tiles, 2), np.int16)
    index = np.flatnonzero(tried & is_near).astype(np.int32)
    motion[index] = np.rint(vectors[index]) * QUARTERS
    index = index[motion[index].any(axis=1)]
    left = np.full(grid.num_tiles, np.inf, np.float32)
    if len(index):
        old = shifted_tiles(canvas, grid, index, motion[index])
        left[index] = _worst_blocks(grid.cut(image, index), old)
    return motion, left


class MotionSearch:
    """Finds where in the canvas the content of a frame's tiles lies."""

    def __init__(self, kind: MotionKind, grid: TileGrid) -> None:
        self._kind = kind
        self._grid = grid
        self._ego = EgoMotion()
        self._codec = CodecField(grid)
        self._flow = HalfFlow()
        self._has_looked = False

    @property
    def state(self) -> CameraState:
        return self._ego.state

    def reset(self) -> None:
        """Forget the camera."""
        self._ego.reset()
        self._codec.reset()

    def look(
        self, frame: Frame, canvas: Image, changed: NDArray[np.bool_], age: NDArray[np.int32]
    ) -> NDArray[np.float32] | None:
        """float32 [M, 2] px: where in the canvas each tile's content lies; None where it is not
        worth the time. `changed` [M] are tiles that are news otherwise, `age` [M] the frames since
        they were encoded. Called for every frame but those that are sent as a whole."""
        self._has_looked = False
        if self._kind == "none":
            return None
        self._codec.advance(frame)
        if not self._ego.is_worth_a_look(float(changed.mean())):
            return None
        self._has_looked = True
        vectors = _tile_medians(self._field(frame, canvas), self._grid)
        self._ego.see(np.abs(vectors[changed]).max(axis=1) / np.maximum(age[changed], 1))
        return vectors

    def settle(self, frame: Frame, plan: TilePlan) -> None:
        """What became of it."""
        if self._kind == "none":
            return
        self._codec.settle(frame, plan.index)
        if self._has_looked:
            self._ego.account(float(plan.motion.any(axis=1).sum()) / plan.num_tiles)
        self._has_looked = False

    def _field(self, frame: Frame, canvas: Image) -> Field:
        if self._kind == "codec" or (self._kind == "auto" and self._codec.is_whole):
            return self._codec.field
        field = self._flow.between(frame.image, canvas)
        self._codec.begin(field)
        return field


class EgoMotion:
    """Whether a camera stands, drives or turns, and so whether looking for motion is worth it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.state: CameraState = "stopped"
        self._rest = 0

    def is_worth_a_look(self, share_changed: float) -> bool:
        """A camera that stands is not looked at; one that turns, or where the last look found
        nothing, rests."""
        if share_changed <= _CALM:
            self.state = "stopped"
            return False
        self._rest = max(0, self._rest - 1)
        return not self._rest

    def see(self, px_a_frame: NDArray[np.float32]) -> None:
        """Of each tile that changed."""
        is_fast = len(px_a_frame) > 0 and float(np.median(px_a_frame)) > MAX_SHIFT_PX
        self.state = "turning" if is_fast else "driving"

    def account(self, share_moved: float) -> None:
        """What the look gave, as a share of all tiles. In a turn it will give nothing: a tile
        moves further in one frame than it may in all."""
        if self.state == "turning" or share_moved < _MIN_SAVED:
            self._rest = _REST_FRAMES + 1


class HalfFlow:
    """Dense optical flow at half resolution (DIS, Kroeger et al. 2016)."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    def between(self, image: Image, canvas: Image) -> Field:
        """Of each block's middle."""
        flow: Any = self._dis.calc(_half_grey(image), _half_grey(canvas), None)  # type: ignore[call-overload]
        step = MOTION_BLOCK_PX // 2
        return np.asarray(flow[step // 2 :: step, step // 2 :: step] * 2, np.float32)


class CodecField:
    """The codec's vectors say what moved since the frame before. Added up, they say where in the
    canvas it lies."""

    def __init__(self, grid: TileGrid) -> None:
        height, width, _ = grid.picture_shape
        shape = (height // MOTION_BLOCK_PX, width // MOTION_BLOCK_PX)
        self._grid = grid
        self._side = grid.tile_px // MOTION_BLOCK_PX
        self._x, self._y = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape[::-1]))
        self.field: Field = np.zeros((*shape, 2), np.float32)
        self.reset()

    def reset(self) -> None:
        self.field[:] = 0
        self.is_whole = True  # no frame's vectors are missing in the sum
        self._last_index: int | None = None

    def advance(self, frame: Frame) -> None:
        """To this frame. One without vectors, or that came after others were dropped, is taken
        for one in which nothing moved: what the field says is tried on the picture anyway."""
        if frame.motion is None or frame.index - 1 != self._last_index:
            self.is_whole = False
        if frame.motion is None:
            return
        step = frame.motion.astype(np.float32) / QUARTERS
        x = self._x + step[..., 0] / MOTION_BLOCK_PX
        y = self._y + step[..., 1] / MOTION_BLOCK_PX
        before = cv2.remap(self.field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        self.field = np.asarray(before + step, np.float32)

    def begin(self, field: Field) -> None:
        """Anew, with what the flow found."""
        self.field = field.copy()
        self.is_whole = True

    def settle(self, frame: Frame, encoded: NDArray[np.int32]) -> None:
        """In these tiles the canvas is the frame."""
        rows, cols = np.divmod(encoded, self._grid.cols)
        view = self.field.reshape(self._grid.rows, self._side, self._grid.cols, self._side, 2)
        view[rows, :, cols] = 0
        self.is_whole = self.is_whole or len(encoded) == self._grid.num_tiles
        self._last_index = frame.index


def _half_grey(image: Image) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    half = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(half, cv2.COLOR_RGB2GRAY), np.uint8)


def _tile_medians(field: Field, grid: TileGrid) -> Field:
    """[h, w, 2] -> [M, 2]"""
    h, w, _ = field.shape
    tiles = field.reshape(grid.rows, h // grid.rows, grid.cols, w // grid.cols, 2)
    rows = tiles.swapaxes(1, 2).reshape(grid.num_tiles, -1, 2)
    return np.asarray(np.sort(rows, axis=1)[:, rows.shape[1] // 2], np.float32)


def _worst_blocks(new: NDArray[np.uint8], old: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Tiles [K, T, T, 3] -> the largest block difference of each, float32 [K]."""
    count, size = new.shape[:2]
    blocks = block_differences(new.reshape(-1, size, 3), old.reshape(-1, size, 3))
    return np.asarray(blocks.reshape(count, -1).max(axis=1), np.float32)
