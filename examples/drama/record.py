"""What a scene leaves behind: all that the judge looks at. Times are monotonic seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Result:
    """One `det` message, when the witness had it in hand."""

    camera: str
    frame_index: int
    epoch: str  # of the worker that made it
    arrived_s: float
    age_ms: float  # since ingest


@dataclass(frozen=True)
class Act:
    """Something is done to the system, and it comes back."""

    name: str
    began_s: float
    ended_s: float  # when it was calm again
    touched: frozenset[str]  # the cameras it is done to
    is_fault: bool = True  # of which the others must not notice anything; else it is an order
    recovery_s: float | None = None  # None: nothing had to come back, or it never did
    recovery_limit_s: float | None = None  # what is promised


@dataclass(frozen=True)
class Books:
    """One camera's ledger as the session tells it at the end, and what its server counted."""

    source_frames: int
    published: int
    in_flight: int
    lost: Mapping[str, int]  # by stage
    sent: int  # by the server, over
    connections: int


@dataclass(frozen=True)
class Stalled:
    """What the subscriber that was stopped counted: `det` and `emb` messages."""

    received: int
    late: int  # came too old: it got an error instead
    missed: int  # gaps that it was told of


@dataclass
class Record:
    """A whole scene."""

    began_s: float = 0.0  # all cameras are there, and nothing is done yet
    results: list[Result] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    books: Mapping[str, Books] = field(default_factory=dict)
    stalled: Stalled | None = None
    witness_got: int = 0  # `det` and `emb` messages, the subscriber that was never touched
    witness_missed: int = 0
    num_worker_deaths: int = 0  # as the session counts them
    problems: list[str] = field(default_factory=list)  # what broke the scene off
