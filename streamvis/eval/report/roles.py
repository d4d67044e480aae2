"""Who is who among the runs: the drive as it is, its probes, and the dense twin of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamvis.eval.report.style import Mark, base_name, marks_of
from streamvis.eval.result import ConfigResult, EvalResult

_DENSE = "@dense"


@dataclass(frozen=True)
class Probed:
    """A run on a disturbed drive, with what it is compared to."""

    name: str  # of the config, without the probe
    mark: Mark
    run: ConfigResult
    base: ConfigResult | None  # the same config, undisturbed
    dense: ConfigResult | None  # the same config without reuse, disturbed
    is_first: bool  # base is what `differences` are taken to


def undisturbed(result: EvalResult) -> list[tuple[Mark, ConfigResult]]:
    marks = marks_of(result)
    return [(marks[run.name], run) for run in result.configs if run.probe is None]


def probed(result: EvalResult) -> list[Probed]:
    """Without the dense twins, which stand in their config's row."""
    marks, runs = marks_of(result), {(base_name(run), run.probe): run for run in result.configs}
    found = []
    for (name, probe), run in runs.items():
        if probe is None or (name.endswith(_DENSE) and (name[: -len(_DENSE)], probe) in runs):
            continue
        base = runs.get((name, None))
        twin = base.embedding.reference if base and base.embedding else None
        dense = runs.get((twin, probe)) if twin else None
        found.append(Probed(name, marks[run.name], run, base, dense, base is result.configs[0]))
    return found


def groups_of(runs: Sequence[tuple[Mark, ConfigResult]]) -> list[str]:
    """The class groups that anyone was scored on, `vehicle` first."""
    names = dict.fromkeys(name for _, run in runs for name in run.detection)
    return sorted(names, key=lambda name: name != "vehicle")
