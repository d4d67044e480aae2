"""What differs between the pipeline that runs and the one that is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from streamvis.topology import PipelineConfig


@dataclass(frozen=True)
class Changes:
    """By camera what can be changed while it runs; the rest needs a new run."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]  # cameras that start again with other keys
    unchanged: tuple[str, ...]
    needs_new_run: tuple[str, ...]  # keys such as encoder.dtype

    def to_dict(self) -> dict[str, list[str]]:
        return {name: list(value) for name, value in vars(self).items()}


def find_changes(running: PipelineConfig, wanted: PipelineConfig) -> Changes:
    before, after = running.sources, wanted.sources
    both = [name for name in after if name in before]
    return Changes(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(name for name in both if before[name] != after[name]),
        unchanged=tuple(name for name in both if before[name] == after[name]),
        needs_new_run=tuple(_differing(_rest_of(running), _rest_of(wanted))),
    )


def _rest_of(config: PipelineConfig) -> dict[str, Any]:
    rest = config.model_dump(mode="json", exclude={"sources", "defaults"})
    del rest["encoder"]["threads"]  # the session fills it in
    return rest


def _differing(one: Any, other: Any, path: str = "") -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from _differing(one.get(key), other.get(key), f"{path}.{key}" if path else key)
    elif one != other:
        yield path
