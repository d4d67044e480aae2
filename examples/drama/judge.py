"""Were the promises held? Nothing but a record goes in: no clocks, no processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from drama.record import Act, Books, Record, Result

MAX_RISE_MS, MAX_RISE = 5.0, 0.10  # of the others' p99: whichever is larger
MAX_UNREAD_FRAMES = 3  # sent, and not read when a connection ends: who should have counted them?


@dataclass(frozen=True)
class Verdict:
    """One line of the table."""

    what: str
    promised: str
    found: str
    is_held: bool | None  # None: told, not promised


def judge(record: Record) -> list[Verdict]:
    """Every promise of the scene, held or not."""
    verdicts = [_is_complete(record), _deaths(record)]
    verdicts += [_ledger(record, name, books) for name, books in record.books.items()]
    verdicts += [_recovery(act) for act in record.acts if act.recovery_limit_s is not None]
    for act in record.acts:
        verdicts += _others(record, act)
    return [*verdicts, *_stalled(record), _witness(record)]


def _is_complete(record: Record) -> Verdict:
    found = "; ".join(record.problems) or f"{len(record.acts)} acts"
    return Verdict("the scene", "played to its end", found, not record.problems)


def _deaths(record: Record) -> Verdict:
    killed = sum("worker" in act.name for act in record.acts)
    found = record.num_worker_deaths
    return Verdict("workers replaced", f"{killed}, the killed one", str(found), found == killed)


def _ledger(record: Record, camera: str, books: Books) -> Verdict:
    """Its sum, and both its ends against those who counted for themselves: the server what it
    sent, the witness what came."""
    lost = sum(books.lost.values())
    unread = books.sent - books.source_frames
    is_exact = (
        books.source_frames == books.published + lost + books.in_flight
        and books.published == num_came(record, camera)
        and 0 <= unread <= MAX_UNREAD_FRAMES * books.connections
    )
    found = f"{books.source_frames} = {books.published} + {lost} + {books.in_flight}"
    return Verdict(f"ledger of {camera}", "exact", found, is_exact)


def num_came(record: Record, camera: str) -> int:
    """Frames of which the witness has a result."""
    return len({result.frame_index for result in record.results if result.camera == camera})


def _recovery(act: Act) -> Verdict:
    found, limit_s = act.recovery_s, act.recovery_limit_s
    assert limit_s is not None, "only acts that promise one"
    return Verdict(
        f"{act.name}: first result again",
        f"within {limit_s:g} s",
        "never" if found is None else f"{found:.2f} s",
        found is not None and found <= limit_s,
    )


def _others(record: Record, act: Act) -> Iterator[Verdict]:
    """The cameras that the act is not done to: as quick as in the calm before, no frame less."""
    others = [result for result in record.results if result.camera not in act.touched]
    calm = [r for begin, end in calm_before(record, act) for r in _between(others, begin, end)]
    during = _between(others, act.began_s, act.ended_s)
    if not calm:
        return  # it is done to all of them
    before_ms, during_ms = p99_ms(calm), p99_ms(during)
    limit_ms = before_ms + max(MAX_RISE_MS, MAX_RISE * before_ms)
    dropped = num_dropped(during)
    yield Verdict(
        f"{act.name}: the others' p99",
        f"at most {limit_ms:.0f} ms" if act.is_fault else "-",
        f"{before_ms:.0f} ms before, {during_ms:.0f} ms during ({len(during)} results)",
        during_ms <= limit_ms if act.is_fault else None,
    )
    yield Verdict(
        f"{act.name}: frames the others lost",
        "0" if act.is_fault else "-",
        str(dropped),
        dropped == 0 if act.is_fault else None,
    )


def calm_before(record: Record, act: Act) -> list[tuple[float, float]]:
    """Every (begin, end) in which nothing was done, up to this act."""
    earlier = [other for other in record.acts if other.ended_s <= act.began_s]
    begins = [record.began_s, *(other.ended_s for other in earlier)]
    ends = [*(other.began_s for other in earlier), act.began_s]
    return list(zip(begins, ends, strict=True))


def _between(results: Iterable[Result], begin_s: float, end_s: float) -> list[Result]:
    return [result for result in results if begin_s <= result.arrived_s < end_s]


def p99_ms(results: Iterable[Result]) -> float:
    """Of their ages; infinite if there are none."""
    ages_ms = [result.age_ms for result in results]
    return float(np.percentile(ages_ms, 99)) if ages_ms else float("inf")


def num_dropped(results: Iterable[Result]) -> int:
    """Frames that are missing between those that came."""
    indices: dict[str, list[int]] = {}
    for result in results:
        indices.setdefault(result.camera, []).append(result.frame_index)
    return sum(b - a - 1 for found in indices.values() for a, b in pairwise(found))


def _stalled(record: Record) -> Iterator[Verdict]:
    found = record.stalled
    if found is None:
        return
    total = found.received + found.late + found.missed
    yield Verdict(
        "subscriber stopped: what it lacks",
        "known to it",
        f"{found.received} in time + {found.late} late, told by an error"
        f" + {found.missed} missed = {total} of {record.witness_got}",
        total == record.witness_got and found.late + found.missed > 0,
    )


def _witness(record: Record) -> Verdict:
    missed = record.witness_missed
    return Verdict("the other subscriber", "0 missed", f"{missed} missed", missed == 0)
