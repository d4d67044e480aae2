"""What may be asked of a session that runs, whatever it is asked over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from streamvis.errors import ControlError, StreamvisError
from streamvis.runtime.session import Session
from streamvis.topology import PipelineConfig

Answer = dict[str, Any]

_STUCK_S = 30.0


class Desk:
    """Requests and answers are plain mappings that JSON knows. Thread-safe."""

    def __init__(self, session: Session, load: Callable[[], PipelineConfig] | None = None) -> None:
        """`load` reads the pipeline file again, for `reload`."""
        self.session = session
        self._load = load
        self._verbs: Mapping[str, Callable[[Mapping[str, Any]], Answer]] = {
            "list": lambda _: self.sources(),
            "add": self._add,
            "remove": self._remove,
            "restart": self._restart,
            "reload": self._reload,
        }

    def answer(self, request: object) -> Answer:
        """`{"ok": True, ...}`, or `{"ok": False, "error": sentence, "exit_code": n}`; never
        raises for what a request says."""
        try:
            return {"ok": True, **self.carry_out(request)}
        except StreamvisError as error:
            return {"ok": False, "error": str(error), "exit_code": error.exit_code}

    def carry_out(self, request: object) -> Answer:
        """Raises StreamvisError."""
        if not isinstance(request, Mapping):
            raise ControlError("a request is a mapping with the key `verb`")
        verb = self._verbs.get(str(request.get("verb")))
        if verb is None:
            raise ControlError(f"a request has a `verb`, one of: {', '.join(self._verbs)}")
        return verb(request)

    def sources(self) -> Answer:
        """Every camera that is wanted, and how it is."""
        config = self.session.control.config
        status = {status.camera: status for status in self.session.ledger.status(recent=True)}
        sources = {}
        for name, source in config.sources.items():
            about = status[name].to_dict() if name in status else {"state": "connecting"}
            sources[name] = {"uri": source.model_dump(mode="json")["uri"], **about}
        return {"pipeline": config.name, "address": self.session.address, "sources": sources}

    def is_alive(self) -> bool:
        """Whether the session's own thread still turns, where it must: models load, and films and
        recordings end, as long as they need."""
        if self.session.phase not in ("waiting", "running"):
            return True
        return time.monotonic() - self.session.turned_s < _STUCK_S

    def readiness(self) -> Answer:
        """`ready` is true while it runs and, if it has cameras, one of them is live."""
        states = {status.camera: status.state for status in self.session.ledger.status(recent=True)}
        wanted = {
            name: states.get(name, "connecting") for name in self.session.control.config.sources
        }
        is_running = self.session.phase == "running"
        is_ready = is_running and (not wanted or "live" in wanted.values())
        return {"ready": is_ready, "phase": self.session.phase, "cameras": wanted}

    def _add(self, request: Mapping[str, Any]) -> Answer:
        source = request.get("source")
        if not isinstance(source, Mapping):
            raise ControlError("`source` is a mapping with the keys of a source: uri, loop, ...")
        values = {str(key): value for key, value in source.items()}
        self.session.control.add(_name_of(request), values)
        return {}

    def _remove(self, request: Mapping[str, Any]) -> Answer:
        self.session.control.remove(_name_of(request))
        return {}

    def _restart(self, request: Mapping[str, Any]) -> Answer:
        self.session.control.restart(_name_of(request))
        return {}

    def _reload(self, request: Mapping[str, Any]) -> Answer:
        if self._load is None:
            raise ControlError("this session has no pipeline file; stop it and start it again")
        changes = self.session.control.change_to(self._load(), bool(request.get("dry_run")))
        return {"changes": changes.to_dict()}


def _name_of(request: Mapping[str, Any]) -> str:
    name = request.get("name")
    if not isinstance(name, str):
        raise ControlError("a request about a source has its `name`")
    return name
