"""`streamvis regress`: a replay against its stored reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamvis.errors import RegressionError
from streamvis.replay.regress import Outcome, Regression


def regress(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Has regress.yaml and reference.mcap.")
    ],
    update_refs: Annotated[
        bool, typer.Option("--update-refs", help="Make the results of now the reference.")
    ] = False,
) -> None:
    """Replay a case and compare it with its reference, frame by frame.

    Exit code 10 if they differ: the first camera, frame and field is printed, and how many differ.
    """
    case = Regression(folder)
    if update_refs:
        before = case.compare() if case.reference.exists() else None
        case.update()
        print(_changes(before, case.reference))
        return
    outcome = case.compare()
    if outcome.first is not None:
        raise RegressionError(
            f"{outcome.first}; in all {_count(outcome)}. Mend it, or accept it with --update-refs"
        )
    print(f"{folder}: {outcome.num_frames} frames, all as in the reference")


def _changes(before: Outcome | None, reference: Path) -> str:
    if before is None:
        return f"{reference}: written, there was none"
    if before.first is None:
        return f"{reference}: written again; nothing differs by more than the tolerance"
    return f"{reference}: written; {_count(before)}\nfirst: {before.first}"


def _count(outcome: Outcome) -> str:
    return (
        f"{outcome.num_differences} fields of {outcome.num_frames_differ} frames "
        f"of {outcome.num_frames} differ"
    )
