"""Runs the contenders over the drive, in turns on the same frames, and keeps what they gave.

In turns, because a machine's speed drifts: what shares the minutes can be compared.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from uuid import uuid4

import numpy as np
from pydantic import BaseModel, ValidationError

from streamvis.eval.config import EvalConfig
from streamvis.eval.contenders import Run, digest
from streamvis.eval.operations import Operations, count_operations
from streamvis.eval.probe import disturb
from streamvis.eval.rounds import Footage, Round, RoundReader
from streamvis.eval.shards import RunLog, Shard, ShardStore
from streamvis.eval.stepper import Models, Stepper, run_turn
from streamvis.types import ModelId

TURN_ROUNDS = 20
_Size = tuple[int, int]  # (width, height) px
OnProgress = Callable[[int, int | None], None]  # frames done, and how many there are if known


class RunFacts(BaseModel):
    """What is measured once a run."""

    model: ModelId
    operations: Operations  # counted in the first turn
    memory_mb: float | None
    load_average: float  # of the minute before it began: what else the machine did


@dataclass(frozen=True)
class RunRecord:
    """All that a run left."""

    run: Run
    log: RunLog
    facts: RunFacts
    resumed_rounds: tuple[int, ...]  # where a new process went on, after a kill
    sessions: frozenset[str]  # the calls of run_all() that ran a part of it

    @property
    def gflops_per_frame(self) -> float:
        """Mean of all of its frames."""
        return self.facts.operations.per_frame(self.log.tiles)


class Contender:
    """A run with its models, its shards, and how far it is."""

    def __init__(self, run: Run, footage: Footage, out: Path, is_fresh: bool = False) -> None:
        self.run = run
        self._cameras = footage.cameras
        self._store = ShardStore(out / f"{run.name}-{digest(run, footage)[:12]}")
        if is_fresh:
            self._store.clear()
        self._facts = _parse_facts(self._store.load_facts())
        self._shards = self._store.load() if self._facts else []
        self._stepper: Stepper | None = None
        self._is_resuming = self.num_turns > 0
        self._memory_mb: float | None = None
        self._load_average = os.getloadavg()[0]

    @property
    def num_turns(self) -> int:
        return len(self._shards)

    @property
    def num_frames(self) -> int:
        return sum(len(shard.log.camera) for shard in self._shards)

    @property
    def is_complete(self) -> bool:
        return bool(self._shards) and self._shards[-1].is_last

    def load(self, cache: dict[EvalConfig, Models]) -> None:
        """Raises WeightsError or ConfigError."""
        config, batch = self.run.config, len(self._cameras)
        same = config.models()
        if same not in cache:
            cache[same] = Models.load(same, batch)
        self._stepper = Stepper(config, self._cameras, cache[same])
        self._memory_mb = cache[same].memory_mb

    def step(self, rounds: Sequence[Round], is_last: bool, session: str) -> None:
        """Run the next turn and save it. Raises OutputError."""
        assert self._stepper is not None, "load() comes before step()"
        if self._facts is None:
            self._facts = self._measure(self._stepper, rounds)
            self._store.save_facts(self._facts.model_dump_json())
        log = run_turn(self._stepper, rounds)
        shard = Shard(log, is_last, self._is_resuming, session)
        self._is_resuming = False
        self._store.save(self.num_turns, shard)
        self._shards.append(shard)

    def record(self) -> RunRecord:
        """Once it is complete."""
        assert self._facts is not None, "a complete run was measured"
        logs = [shard.log for shard in self._shards]
        starts = np.cumsum([0, *(len(log.num_frames) for log in logs)])
        pairs = zip(self._shards, starts.tolist(), strict=False)
        resumed = tuple(start for shard, start in pairs if shard.is_resumed)
        sessions = frozenset(shard.session for shard in self._shards)
        return RunRecord(self.run, RunLog.concat(logs), self._facts, resumed, sessions)

    def _measure(self, stepper: Stepper, rounds: Sequence[Round]) -> RunFacts:
        return RunFacts(
            model=stepper.model,
            operations=count_operations(stepper, rounds),
            memory_mb=self._memory_mb,
            load_average=self._load_average,
        )


def run_all(
    contenders: Sequence[Contender], footage: Footage, on_progress: OnProgress
) -> list[RunRecord]:
    """Run what is missing, and return all of it in the order of `contenders`.

    Raises SourceError, WeightsError or OutputError; what was finished until then is kept.
    """
    pending, session = [c for c in contenders if not c.is_complete], uuid4().hex
    with_motion = any(c.run.config.tiling.wants_codec_motion for c in pending)
    with ExitStack() as stack:
        readers = {
            size: stack.enter_context(closing(RoundReader(footage, size, with_motion)))
            for size in dict.fromkeys(c.run.config.encoder.input_size for c in pending)
        }
        models: dict[EvalConfig, Models] = {}
        for contender in pending:
            contender.load(models)
        total = _total_frames(contenders, footage)
        for number, turn in enumerate(_turns(readers) if pending else ()):
            # Whoever goes second finds the machine as the first one left it: so they change.
            for contender in pending if number % 2 == 0 else reversed(pending):
                if contender.num_turns == number:
                    contender.step(turn.rounds(contender.run), turn.is_last, session)
                on_progress(sum(c.num_frames for c in contenders), total)
    return [contender.record() for contender in contenders]


@dataclass(frozen=True)
class _Turn:
    """The same rounds at every input size."""

    by_size: Mapping[_Size, Sequence[Round]]
    fps: Mapping[str, float]  # by camera
    is_last: bool

    def rounds(self, run: Run) -> list[Round]:
        """As the run's probe disturbs them."""
        rounds = self.by_size[run.config.encoder.input_size]
        if run.probe is None:
            return list(rounds)
        return [self._disturb(run.probe, r) for r in rounds]

    def _disturb(self, probe: str, plain: Round) -> Round:
        return Round(
            tuple(
                replace(timed, frame=disturb(probe, timed.frame, self.fps[timed.frame.camera]))
                for timed in plain.frames
            )
        )


def _turns(readers: Mapping[_Size, RoundReader]) -> Iterator[_Turn]:
    streams = {size: iter(reader) for size, reader in readers.items()}
    fps = next(iter(readers.values())).fps
    ahead = {size: list(islice(stream, TURN_ROUNDS)) for size, stream in streams.items()}
    while any(ahead.values()):
        now = ahead
        ahead = {size: list(islice(stream, TURN_ROUNDS)) for size, stream in streams.items()}
        yield _Turn(now, fps, is_last=not any(ahead.values()))


def _total_frames(contenders: Sequence[Contender], footage: Footage) -> int | None:
    counts = [info.num_frames for info in footage.infos().values()]
    known = [count for count in counts if count is not None]
    return sum(known) * len(contenders) if len(known) == len(counts) else None


def _parse_facts(text: str | None) -> RunFacts | None:
    try:
        return RunFacts.model_validate_json(text) if text else None
    except ValidationError:
        return None
