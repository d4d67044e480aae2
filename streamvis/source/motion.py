"""A codec's motion vectors as a field in the encoder's pixels."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from streamvis.types import MOTION_BLOCK_PX, QUARTERS, LetterBox

_REACH = np.iinfo(np.int16).max


def ask_for_vectors(context: av.VideoCodecContext) -> None:
    """Before it decodes anything. Decoders that have no vectors ignore it."""
    context.options = {**context.options, "flags2": "+export_mvs"}


def motion_field(picture: av.VideoFrame, letterbox: LetterBox) -> NDArray[np.int16] | None:
    """As Frame.motion: the mean of a block's vectors by their area, 0 where it has none. None for
    key frames, and for codecs and decoders that do not tell."""
    found: Any = picture.side_data.get("MOTION_VECTORS")
    if found is None:
        return None
    vectors = found.to_ndarray()
    vectors = vectors[(vectors["source"] < 0) & (vectors["motion_scale"] > 0)]
    shape = letterbox.height // MOTION_BLOCK_PX, letterbox.width // MOTION_BLOCK_PX
    to_source_px = letterbox.to_source_scale
    cols = _block(vectors["dst_x"], to_source_px[0], shape[1])
    rows = _block(vectors["dst_y"], to_source_px[1], shape[0])
    block = rows * shape[1] + cols
    area = vectors["w"].astype(np.float64) * vectors["h"]
    whole = np.maximum(np.bincount(block, area, shape[0] * shape[1]), 1)
    means = [
        np.bincount(block, area * vectors[name] / vectors["motion_scale"], len(whole)) / whole / px
        for name, px in zip(("motion_x", "motion_y"), to_source_px, strict=True)
    ]
    field = np.stack(means, 1).reshape(*shape, 2) * QUARTERS
    return np.clip(np.rint(field), -_REACH, _REACH).astype(np.int16)


def _block(centre_px: NDArray[np.int16], to_source_px: float, count: int) -> NDArray[np.int64]:
    """Of blocks' centres in source px, the encoder's block they lie in."""
    at = centre_px / to_source_px // MOTION_BLOCK_PX
    return np.clip(at, 0, count - 1).astype(np.int64)
