"""Which tiles of a frame were encoded, painted over the frame; and what the colours mean."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.render.picture import Colour, Picture, fill
from streamvis.render.text import draw_text, text_mask
from streamvis.types import TileState

ENCODED: Colour = (255, 176, 32)
MOVED: Colour = (70, 165, 255)
STALE: Colour = (255, 56, 56)
_SHADE: Colour = (16, 18, 22)
_TEXT: Colour = (214, 219, 226)

# Colour and strength of the tint: what was encoded stays bright, what was reused steps back.
_TINTS: dict[TileState, tuple[Colour, float]] = {
    TileState.REUSED: (_SHADE, 0.5),
    TileState.ENCODED: (ENCODED, 0.1),
    TileState.MOVED: (MOVED, 0.3),
    TileState.STALE: (STALE, 0.4),
}
_COLOURS = np.array([_TINTS[state][0] for state in TileState], np.uint8)
_LINES = 240  # as high as so many outlines are thick
_WORDS = {
    TileState.ENCODED: "encoded now",
    TileState.MOVED: "moved: kept",
    TileState.REUSED: "reused",
    TileState.STALE: "stale: changed, not encoded",
}


def draw_tiles(picture: Picture, states: NDArray[np.uint8], tile_px: float) -> None:
    """Tint the tiles by TileState [rows, cols] and outline the regions that are not just reused.

    `tile_px` is the side of a tile in pixels of the picture, the first one's corner at (0, 0);
    what lies outside the picture is cut off."""
    height, width = picture.shape[:2]
    row = (np.arange(height) / tile_px).astype(int).clip(max=states.shape[0] - 1)
    col = (np.arange(width) / tile_px).astype(int).clip(max=states.shape[1] - 1)
    state = states[row][:, col]  # [rows, cols] -> [height, width]
    for value in np.unique(states).tolist():
        tinted = cv2.LUT(picture, _tint(value))
        np.copyto(picture, tinted, where=(state == value)[..., None])
    border = _is_border(state, max(1, round(height / _LINES))) & (state != TileState.REUSED)
    picture[border] = _COLOURS[state[border]]


def legend(width: int, height: int, states: tuple[TileState, ...] = tuple(_WORDS)) -> Picture:
    """A strip [height, width, 3] px with a swatch and a word for each state; what finds no room
    is left out."""
    strip = np.full((height, width, 3), _SHADE, np.uint8)
    size, pad = round(0.5 * height), round(0.3 * height)
    x = pad
    for state in states:
        mask = text_mask(_WORDS[state], size)
        if x + height + mask.shape[1] > width:
            break
        _swatch(strip, state, x, pad, height - 2 * pad)
        x += height - 2 * pad + pad // 2
        draw_text(strip, _WORDS[state], x, (height - mask.shape[0]) // 2, size, _TEXT)
        x += mask.shape[1] + 2 * pad
    return strip


def tiles_text(states: NDArray[np.uint8]) -> str:
    """Such as `encoded 12/60, moved 3, stale 2`."""
    count = np.bincount(states.ravel(), minlength=len(TileState))
    text = f"encoded {count[TileState.ENCODED]}/{states.size}"
    for state in (TileState.MOVED, TileState.STALE):
        text += f", {state.name.lower()} {count[state]}" if count[state] else ""
    return text


def _is_border(state: NDArray[np.uint8], line_px: int) -> NDArray[np.bool_]:
    """[height, width]: within so many pixels of another state."""
    around = np.ones((2 * line_px + 1, 2 * line_px + 1), np.uint8)
    is_mixed: NDArray[np.bool_] = cv2.dilate(state, around) != cv2.erode(state, around)
    return is_mixed


def _swatch(strip: Picture, state: TileState, x: int, y: int, side: int) -> None:
    """A bit of a bright picture under the state's tint."""
    colour, alpha = _TINTS[state]
    strip[y : y + side, x : x + side] = 190
    fill(strip, x, y, side, side, colour, alpha)
    if state != TileState.REUSED:
        cv2.rectangle(strip, (x, y), (x + side - 1, y + side - 1), colour, 2)


@lru_cache(maxsize=len(TileState))
def _tint(state: int) -> NDArray[np.uint8]:
    """[1, 256, 3]: every level of every channel under the state's tint."""
    colour, alpha = _TINTS[TileState(state)]
    levels = np.arange(256, dtype=np.float32)[:, None] * (1 - alpha)
    table = np.rint(levels + np.array(colour, np.float32) * alpha)
    return table.astype(np.uint8)[None]
