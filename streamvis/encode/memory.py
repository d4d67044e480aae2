"""Batches that do not fit into memory: halved and tried again, and whole again after a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TypeVar

import torch

log = logging.getLogger(__name__)
T = TypeVar("T")

_STEADY = 1000  # batches without trouble, after which they may be whole again
_COMPLAIN_S = 60.0
_SIGNS = ("can't allocate memory", "ALLOC_FAILED")  # torch has a type of its own for few of them


class SuppressOutOfMemory:
    """`with` it: goes on after the block if the memory, of the GPU or this host, was not enough."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        return error is not None and _is_out_of_memory(error)


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


class BatchLimit:
    """How many pictures are computed at once."""

    def __init__(self) -> None:
        self._most: int | None = None  # None: as many as come
        self._num_steady = 0
        self._complained_s = float("-inf")

    def split(self, batch: Sequence[T]) -> list[Sequence[T]]:
        """The batch in parts that should fit."""
        self._num_steady += 1
        if self._num_steady > _STEADY:
            self._most = None
        size = self._most or max(1, len(batch))
        return [batch[at : at + size] for at in range(0, len(batch), size)]

    def halve(self, batch: Sequence[T]) -> list[Sequence[T]]:
        """The parts of a batch that did not fit; none of one that cannot be halved. Called when
        the error is handled: until then it holds on to the memory."""
        self._num_steady = 0
        self._most = max(1, len(batch) // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        parts = self.split(batch) if len(batch) > 1 else []
        self._complain(len(batch))
        return parts

    def _complain(self, count: int) -> None:
        now_s = time.monotonic()
        if now_s - self._complained_s > _COMPLAIN_S:
            self._complained_s = now_s
            what = "smaller batches are tried" if count > 1 else "its frame is lost"
            log.warning("out of memory with %d pictures at once; %s", count, what)
