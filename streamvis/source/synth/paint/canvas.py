"""What all painters share: a square of sRGB floats, and how it becomes a layer."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamvis.source.synth.paint.layers import SIDE_PX

Image = NDArray[np.float32]  # [side, side, 3] sRGB, 0 to 255, while it is being painted
Tone = tuple[float, float, float]  # sRGB, 0 to 255


def flat(tone: Tone) -> Image:
    return np.full((SIDE_PX, SIDE_PX, 3), tone, np.float32)


def finish(image: Image, alpha: NDArray[np.uint8] | int = 255) -> NDArray[np.uint8]:
    """[side, side, 4], stored as square roots of linear light: sRGB within a few per cent."""
    cover = np.broadcast_to(np.asarray(alpha, np.uint8), image.shape[:2])
    colour = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return np.concatenate([colour, cover[..., None]], -1)


def letters(
    image: Image, word: str, centre: tuple[int, int], scale: float, tone: Tone, thick: int
) -> None:
    """A word around a pixel; OpenCV writes into 8-bit pictures only, so it is a stencil."""
    font = cv2.FONT_HERSHEY_DUPLEX
    (width, height), _ = cv2.getTextSize(word, font, scale, thick)
    at = (centre[0] - width // 2, centre[1] + height // 2)
    stencil = np.zeros(image.shape[:2], np.uint8)
    cv2.putText(stencil, word, at, font, scale, 255, thick, cv2.LINE_AA)
    cover = stencil[..., None].astype(np.float32) / 255
    image += (np.array(tone, np.float32) - image) * cover
