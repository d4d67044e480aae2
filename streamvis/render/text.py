"""Anti-aliased text, in the typeface that comes with Pillow."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from streamvis.render.picture import Colour, Picture

_MIN_SIZE_PX = 8  # smaller, nobody can read it


@lru_cache(maxsize=2048)
def text_mask(text: str, size_px: int) -> NDArray[np.uint8]:
    """Coverage [H, W] of one line of text; H depends on the size only. Read-only: it is cached."""
    font = _font(max(size_px, _MIN_SIZE_PX))
    ascent, descent = font.getmetrics()
    image = Image.new("L", (max(1, round(font.getlength(text))), ascent + descent))
    ImageDraw.Draw(image).text((0, 0), text, fill=255, font=font)
    mask = np.array(image)
    mask.setflags(write=False)
    return mask


def draw_text(picture: Picture, text: str, x: int, y: int, size_px: int, colour: Colour) -> None:
    """Paint `text` with its top left corner at (x, y); what lies outside is cut off."""
    mask = text_mask(text, size_px)
    area = picture[y : y + mask.shape[0], x : x + mask.shape[1]]
    alpha = mask[: area.shape[0], : area.shape[1], None] / np.float32(255)
    area[:] = area + (np.array(colour, np.float32) - area) * alpha + 0.5


@lru_cache(maxsize=16)
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size_px)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font
