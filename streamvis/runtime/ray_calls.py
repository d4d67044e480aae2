"""Remote calls under way, and what to do when each of them comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from streamvis.errors import RuntimeStartError, StreamvisError


@dataclass(frozen=True)
class Outcome:
    """How a call ended: with a value, or with an error."""

    value: Any = None
    error: StreamvisError | None = None
    has_died: bool = False  # the process, and the call with it


OnDone = Callable[[Outcome], None]


class Calls:
    """Used by one thread, on which `on_done` is called, too."""

    def __init__(self) -> None:
        self._on_done: dict[Any, OnDone] = {}

    def start(self, call: Any, on_done: OnDone) -> None:
        """`call` is what `.remote()` gave."""
        self._on_done[call] = on_done

    def wait(self, timeout_s: float) -> None:
        """Until one comes back, or so long; then see to all that are there."""
        if not self._on_done:
            threading.Event().wait(timeout_s)
            return
        ray.wait(list(self._on_done), num_returns=1, timeout=timeout_s)
        done, _ = ray.wait(list(self._on_done), num_returns=len(self._on_done), timeout=0)
        for call in done:
            self._on_done.pop(call)(outcome_of(call))


def outcome_of(call: Any) -> Outcome:
    """Of a call that is done. Ray's wrapping is taken off its errors."""
    try:
        return Outcome(ray.get(call))
    except RayActorError:
        return Outcome(error=RuntimeStartError("its process died"), has_died=True)
    except RayTaskError as error:
        return Outcome(error=_as_ours(error.cause))
    except RayError as error:
        reason = str(error).strip().splitlines()[-1]
        return Outcome(error=RuntimeStartError(f"its process is lost ({reason})"), has_died=True)


def _as_ours(cause: Exception) -> StreamvisError:
    """An error of a remote method: ours as it is, any other with its name."""
    if isinstance(cause, StreamvisError):
        return cause
    return RuntimeStartError(f"a process failed: {cause!r}")
