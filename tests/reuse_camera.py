"""A camera's front and back without anything between them, and when two of them agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from streamvis.back import PerceptionBack
from streamvis.encode.config import EncoderConfig
from streamvis.front import build_front
from streamvis.tiling.config import TilingConfig
from streamvis.types import Feedback, Frame, FrameResult

TOLERANCE = 1e-5  # of embeddings in fp32


class Camera:
    """One camera of a back, with a policy."""

    def __init__(
        self, back: PerceptionBack, name: str, encoder: EncoderConfig, **tiling: object
    ) -> None:
        self.name, self._back = name, back
        self._front = build_front(encoder, TilingConfig.model_validate(tiling))
        self._feedback = Feedback()

    def step(self, frame: Frame) -> FrameResult:
        packet = self._front.step(replace(frame, camera=self.name), self._feedback)
        (result,), feedback = self._back.step([packet])
        self._feedback = feedback[self.name]
        return result

    @property
    def canvas(self) -> np.ndarray:
        return self._back.picture(self.name)

    def lose(self) -> None:
        """As if the back had been restarted, or a packet lost."""
        self._feedback = replace(self._feedback, need_i=True)


def check_equal(reuse: Camera, found: FrameResult, dense: Camera, want: FrameResult) -> None:
    """Everything was encoded, and the outputs are those of the run without reuse."""
    np.testing.assert_array_equal(reuse.canvas, dense.canvas)
    assert found.tiles.encoded == found.tiles.total
    assert found.tiles.stale == 0
    assert np.linalg.norm(found.embedding - want.embedding) <= TOLERANCE
    np.testing.assert_allclose(found.detections.xyxy, want.detections.xyxy, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(found.detections.score, want.detections.score, rtol=1e-4)
    np.testing.assert_array_equal(found.detections.class_id, want.detections.class_id)
