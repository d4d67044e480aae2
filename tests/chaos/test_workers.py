"""Workers that run out of memory: the batch is halved; what does not fit even alone is counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import STREET
from matrix import contract

from streamvis.encode.memory import BatchLimit
from streamvis.pipeline import Pipeline
from streamvis.source.base import Source
from streamvis.source.config import SourceConfig
from streamvis.source.open import open_source
from streamvis.topology import PipelineConfig
from streamvis.types import Frame, FrameResult

CAMERAS = ("front", "front_left", "left", "back")
SIZE = (320, 192)
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
Fails = Callable[[int, int], bool]  # (round, pictures at once)


def street(count: int) -> list[list[Frame]]:
    """Rounds of the drive's four cameras."""
    sources = [open_source(name, SourceConfig(uri=str(STREET)), SIZE) for name in CAMERAS]
    rounds = [[next_frame(source) for source in sources] for _ in range(count)]
    for source in sources:
        source.close()
    return rounds


def next_frame(source: Source) -> Frame:
    source.grab()
    frame = source.retrieve(0)
    assert frame is not None
    return frame


class Run:
    """A pipeline whose encoder has too little memory where `fails` says so; it fails in the
    middle: the caches know the change already, as in the worst case."""

    def __init__(self, fails: Fails, error: Exception = FULL) -> None:
        config = PipelineConfig.model_validate(
            {
                "version": 1,
                "name": "t",
                "sources": {name: {"uri": str(STREET)} for name in CAMERAS},
                "encoder": {"input_size": SIZE, "threads": 1},
                "tiling": {"policy": "threshold"},
            }
        )
        self.results: dict[tuple[str, int], FrameResult] = {}
        self.counts: list[int] = []  # pictures of each attempt
        self._fails, self._error = fails, error
        self._round = -1
        self._pipeline = Pipeline(config, CAMERAS, self, epoch="e")
        encoder = self._pipeline._back._encoder
        self._encode, encoder.encode_changed = encoder.encode_changed, self._encode_or_fail

    def send(self, result: FrameResult) -> None:
        self.results[result.camera, result.frame_index] = result

    def over(self, rounds: Sequence[Sequence[Frame]]) -> Run:
        for self._round, frames in enumerate(rounds):
            self._pipeline.step(frames)
        return self

    def _encode_or_fail(self, updates):
        self.counts.append(len(updates))
        features = self._encode(updates)
        if self._fails(self._round, len(updates)):
            raise self._error
        return features


def assert_same(one: FrameResult, other: FrameResult) -> None:
    """Within what another size of the batch changes in the sums."""
    np.testing.assert_allclose(one.embedding, other.embedding, atol=2e-3)
    assert len(one.detections) == len(other.detections)
    np.testing.assert_allclose(one.detections.xyxy, other.detections.xyxy, atol=0.5)
    np.testing.assert_allclose(one.detections.score, other.detections.score, atol=5e-3)


@contract("worker", "c")
@pytest.mark.parametrize(
    "error", [FULL, MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_batch_that_does_not_fit_is_halved_and_no_frame_is_lost_by_it(error):
    rounds = street(4)
    sound = Run(lambda *_: False).over(rounds)
    short = Run(lambda number, count: number == 1 and count > 1, error).over(rounds)
    assert sound.counts == [4, 4, 4, 4]
    assert short.counts == [4, *(4, 2, 1, 1, 2, 1, 1), *(1, 1, 1, 1), *(1, 1, 1, 1)]
    assert short.results.keys() == sound.results.keys()
    for key, result in short.results.items():
        assert_same(result, sound.results[key])
        assert result.packet_kind == sound.results[key].packet_kind
        assert set(result.ledger.lost.values()) == {0}


@contract("worker", "c")
def test_what_does_not_fit_even_alone_is_lost_and_counted_and_then_all_is_as_without_the_fault():
    rounds = street(6)
    broken = Run(lambda number, _: number in (2, 3)).over(rounds)
    assert {index for _, index in broken.results} == {0, 1, 4, 5}
    again = [[replace(f, is_discont=n == 4) for f in frames] for n, frames in enumerate(rounds)]
    sound = Run(lambda *_: False).over(again)  # its I packet comes at the same frame
    for key, result in broken.results.items():
        is_after = result.frame_index >= 4
        assert result.ledger.lost["infer"] == 2 * is_after
        assert result.ledger.published == result.frame_index + 1 - 2 * is_after
        assert result.packet_kind == sound.results[key].packet_kind
        assert_same(result, sound.results[key])
    kinds = [broken.results["back", index].packet_kind for index in (0, 1, 4, 5)]
    assert kinds == ["I", "P", "I", "P"], "rebuilt once, and reuse goes on"


@contract("worker", "c")
def test_a_camera_that_does_not_fit_takes_nothing_from_those_that_do():
    rounds = street(3)
    sound = Run(lambda *_: False).over(rounds)
    attempts = iter([False] + 3 * [True] + 9 * [False])  # all four, the first two, the first one
    broken = Run(lambda *_: next(attempts)).over(rounds)
    assert broken.counts == [4, *(4, 2, 1, 1, 2), *(1, 1, 1, 1)]
    assert sound.results.keys() - broken.results.keys() == {("front", 1)}
    assert broken.results["front", 2].packet_kind == "I"
    for (camera, index), result in broken.results.items():
        if camera != "front":
            assert_same(result, sound.results[camera, index])
            assert result.ledger.lost["infer"] == 0


def test_batches_are_whole_again_after_a_while():
    limit = BatchLimit()
    assert [len(part) for part in limit.halve(range(4))] == [2, 2]
    sizes = [[len(part) for part in limit.split(range(4))] for _ in range(1001)]
    assert sizes[0] == sizes[998] == [2, 2]
    assert sizes[1000] == [4]


def test_another_error_of_the_encoder_is_not_taken_for_a_want_of_memory():
    with pytest.raises(RuntimeError, match="shape"):
        Run(lambda *_: True, RuntimeError("shape mismatch")).over(street(1))
