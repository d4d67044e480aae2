"""Noise that repeats without a seam."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def value_noise(
    rng: np.random.Generator, height: int, width: int, cells: int, octaves: int = 4
) -> NDArray[np.float32]:
    """[H, W] in about [-1, 1]."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        n = min(cells << octave, height, width)
        lattice = rng.uniform(-1, 1, (n, n)).astype(np.float32)
        pad = cv2.copyMakeBorder(lattice, 2, 2, 2, 2, cv2.BORDER_WRAP)
        x = (np.arange(width, dtype=np.float32) + 0.5) * n / width + 1.5
        y = (np.arange(height, dtype=np.float32) + 0.5) * n / height + 1.5
        total += cv2.remap(pad, *np.meshgrid(x, y), cv2.INTER_CUBIC) * 0.55**octave
    return np.asarray(total / 1.6)
