"""Two logs of one replay: where do they differ by more than rounding?

After openpilot's process_replay: everything is exact unless a tolerance is named for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from streamvis.config.model import ConfigModel
from streamvis.types import Detections
from streamvis.wire import AnyMessage, DetMessage, EmbMessage, PlanMessage

FrameKey: TypeAlias = tuple[str, int]  # camera, frame index
Logged: TypeAlias = DetMessage | EmbMessage | PlanMessage
Log: TypeAlias = dict[FrameKey, dict[str, Logged]]  # then by kind

_SHARED = (
    "seq", "pts", "time_base", "capture", "source_size", "model", "tiles", "packet_kind",
    "ledger", "is_discont", "is_corrupt",
)  # fmt: skip
_PLAN = ("seq", "batch", "packet_seq", "base_seq", "pts", "time_base", "capture", "counts")
_TILES = ("rows", "cols", "tile_px", "kind", "index", "motion", "score", "age")


class Tolerance(ConfigModel):
    """How far results of another processor may lie from the reference's."""

    box_px: float = Field(default=0.5, ge=0, description="Each side of a box, source px")
    score: float = Field(
        default=0.01,
        ge=0,
        description="A detection; one this near the threshold may be there or not",
    )
    embedding_cosine: float = Field(
        default=0.9999, ge=-1, le=1, description="To the reference's embedding, at least"
    )


@dataclass(frozen=True)
class Difference:
    """One field of one frame."""

    camera: str
    frame_index: int
    field: str
    reference: str
    got: str
    tolerance: str = "exact"

    def __str__(self) -> str:
        return (
            f"{self.camera} frame {self.frame_index} {self.field}: "
            f"reference {self.reference}, got {self.got} (tolerance: {self.tolerance})"
        )


def as_log(messages: Iterable[AnyMessage]) -> Log:
    log: Log = {}
    for message in messages:
        assert isinstance(message, DetMessage | EmbMessage | PlanMessage), message.kind
        log.setdefault((message.camera, message.frame_index), {})[message.kind] = message
    return log


def differences(
    reference: Log, got: Log, cameras: Sequence[str], tolerance: Tolerance, min_score: float
) -> Iterator[Difference]:
    """In the order of frames, and of cameras within. `min_score` is the detector's threshold."""
    order = {camera: place for place, camera in enumerate(cameras)}
    keys = reference.keys() | got.keys()
    for key in sorted(keys, key=lambda k: (k[1], order.get(k[0], len(order)), k[0])):
        pair = reference.get(key, {}), got.get(key, {})
        for kind in ("plan", "det", "emb"):
            for field, *values in _compare(
                pair[0].get(kind), pair[1].get(kind), tolerance, min_score
            ):
                yield Difference(*key, f"{kind}.{field}" if field else kind, *values)


_Finding: TypeAlias = tuple[str, ...]  # field, reference, got, and the tolerance unless exact


def _compare(
    reference: Logged | None, got: Logged | None, tolerance: Tolerance, min_score: float
) -> Iterator[_Finding]:
    if reference is None or got is None:
        if reference is not got:
            yield "", _presence(reference), _presence(got)
    elif isinstance(reference, PlanMessage) and isinstance(got, PlanMessage):
        yield from _exact(reference, got, _PLAN)
        yield from _exact(reference.plan, got.plan, _TILES)
    elif isinstance(reference, DetMessage) and isinstance(got, DetMessage):
        yield from _exact(reference, got, _SHARED)
        yield from _boxes(reference, got, tolerance, min_score)
    elif isinstance(reference, EmbMessage) and isinstance(got, EmbMessage):
        yield from _exact(reference, got, _SHARED)
        yield from _embedding(reference.embedding, got.embedding, tolerance)


def _presence(message: Logged | None) -> str:
    return "absent" if message is None else "present"


def _exact(reference: Any, got: Any, names: Sequence[str]) -> Iterator[_Finding]:
    for name in names:
        a, b = getattr(reference, name), getattr(got, name)
        if not np.array_equal(a, b) if isinstance(a, np.ndarray) else a != b:
            yield name, str(a), str(b)


def _embedding(
    reference: NDArray[Any], got: NDArray[Any], tolerance: Tolerance
) -> Iterator[_Finding]:
    if reference.shape != got.shape:
        yield "embedding", f"{reference.size} numbers", f"{got.size} numbers"
    elif reference.size:
        norm = float(np.linalg.norm(reference) * np.linalg.norm(got))
        cosine = float(reference @ got) / norm if norm else 0.0
        if not cosine >= tolerance.embedding_cosine:
            least = f"embedding_cosine {tolerance.embedding_cosine:g}"
            yield "embedding", "cosine 1", f"cosine {cosine:.6f}", least


def _boxes(
    reference: DetMessage, got: DetMessage, tolerance: Tolerance, min_score: float
) -> Iterator[_Finding]:
    """Pairs each object with the nearest of its class and track; their order is not compared:
    rounding swaps equal scores."""
    free = set(range(len(got.detections)))
    names = reference.model.classes
    for row in range(len(reference.detections)):
        mate = _nearest(reference.detections, row, got.detections, free)
        if mate is None:
            if not _is_marginal(reference.detections, row, tolerance, min_score):
                yield "object", _describe(reference.detections, row, names), "absent"
            continue
        free.remove(mate)
        yield from _pair(reference.detections, row, got.detections, mate, tolerance)
    for row in sorted(free):
        if not _is_marginal(got.detections, row, tolerance, min_score):
            yield "object", "absent", _describe(got.detections, row, names)


def _nearest(reference: Detections, row: int, got: Detections, free: set[int]) -> int | None:
    alike = [
        other
        for other in free
        if got.class_id[other] == reference.class_id[row]
        and got.track_id[other] == reference.track_id[row]
    ]
    return min(
        alike,
        key=lambda other: float(np.abs(got.xyxy[other] - reference.xyxy[row]).max()),
        default=None,
    )


def _pair(
    reference: Detections, row: int, got: Detections, mate: int, tolerance: Tolerance
) -> Iterator[_Finding]:
    if not np.abs(reference.xyxy[row] - got.xyxy[mate]).max() <= tolerance.box_px:
        limit = f"box_px {tolerance.box_px:g}"
        yield "xyxy", _numbers(reference.xyxy[row]), _numbers(got.xyxy[mate]), limit
    if not abs(reference.score[row] - got.score[mate]) <= tolerance.score:
        limit = f"score {tolerance.score:g}"
        yield "score", f"{reference.score[row]:.4f}", f"{got.score[mate]:.4f}", limit


def _is_marginal(found: Detections, row: int, tolerance: Tolerance, min_score: float) -> bool:
    return bool(found.score[row] <= min_score + tolerance.score)


def _describe(found: Detections, row: int, classes: Sequence[str]) -> str:
    name = classes[found.class_id[row]]
    return f"{name} #{found.track_id[row]} {found.score[row]:.4f} at {_numbers(found.xyxy[row])}"


def _numbers(values: NDArray[Any]) -> str:
    return "[" + ", ".join(f"{value:.2f}" for value in values) + "]"
