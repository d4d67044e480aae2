"""The seam every source fills, and what they share: letter-boxing and camera facts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamvis.source.live_state import LiveState
from streamvis.types import LETTERBOX_FILL, AccessUnit, CameraInfo, Frame, LetterBox

OnUnit: TypeAlias = Callable[[AccessUnit], None]


class Source(Protocol):
    """A camera one can step through: `grab` says when the next frame is due, `retrieve` decodes.

    Split in two so that whoever paces the camera can wait between them. Not thread-safe.
    """

    on_unit: OnUnit | None
    """Gets every access unit of the bitstream as it is decoded; a source without one calls never.
    None costs nothing."""

    @property
    def info(self) -> CameraInfo | None:
        """None until a live camera was reached."""

    @property
    def live(self) -> LiveState | None:
        """Of a camera that sends on its own; None for a recording: its reader paces it."""

    def grab(self) -> int | None:
        """Media time of the next frame in ns since the first one; None at the end."""

    def retrieve(self, t_ingest_ns: int) -> Frame | None:
        """Decode what was grabbed. None when it gives no picture (yet): see `lost_decode`."""

    @property
    def lost_source(self) -> int:
        """Frames that should be there, but that the source ended without."""

    @property
    def lost_decode(self) -> int:
        """Frames that could not be decoded, so far."""

    def close(self) -> None: ...


class LetterBoxer:
    """Places scaled pictures at the top left of the encoder's input."""

    def __init__(self, input_size: tuple[int, int]) -> None:
        self._width, self._height = input_size

    def box(self, source_width: int, source_height: int) -> LetterBox:
        return LetterBox(source_width, source_height, self._width, self._height)

    def place(self, content: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """[h, w, 3] scaled picture -> a new [H, W, 3] encoder input, padded grey."""
        height, width = content.shape[:2]
        image = np.empty((self._height, self._width, 3), np.uint8)
        image[:height, :width] = content
        image[height:] = LETTERBOX_FILL
        image[:height, width:] = LETTERBOX_FILL
        return image
