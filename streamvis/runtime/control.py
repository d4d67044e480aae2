"""Orders to a session that runs: from any thread, carried out on the session's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from pydantic import ValidationError

from streamvis.config.load import explain
from streamvis.errors import ConfigError, ControlError, StreamvisError
from streamvis.runtime.changes import Changes, find_changes
from streamvis.runtime.engine import Engine
from streamvis.runtime.report import CameraReport
from streamvis.runtime.roster import Roster
from streamvis.source.config import SourceConfig
from streamvis.topology import PipelineConfig
from streamvis.wire import MAX_CONFIG_BYTES, check_name

T = TypeVar("T")

_PATIENCE_S = 20.0
_MAX_CAMERAS = 256


class Control:
    """Adds, removes and restarts cameras while the others run."""

    def __init__(self, config: PipelineConfig, roster: Roster) -> None:
        self.config = config  # what is wanted: a camera that restarts is in it
        self._roster = roster
        self._engine: Engine | None = None
        self._leaving: set[str] = set()  # stopped, and not gone yet
        self._orders = _Orders()

    # From any thread.

    def add(self, name: str, values: Mapping[str, Any]) -> None:
        """One camera more, with the keys of a source; its state tells how it goes. Raises
        ConfigError, and ControlError when it cannot be now, as the other orders do."""
        self._orders.run(lambda: self._add(name, _read_source(self.config, name, values)))

    def remove(self, name: str) -> None:
        """Stop a camera and forget it; its books stay in the summary."""
        self._orders.run(lambda: self._remove(name))

    def restart(self, name: str) -> None:
        """Stop a camera and begin again; the numbers of its frames go on."""
        self._orders.run(lambda: self._restart(name, self._source(name)))

    def change_to(self, wanted: PipelineConfig, is_dry: bool = False) -> Changes:
        """Add, remove and restart what differs, unless it is dry; the others notice nothing."""
        return self._orders.run(lambda: self._change_to(wanted, is_dry))

    # On the session's thread.

    def attach(self, engine: Engine) -> None:
        self._engine = engine

    def open(self) -> None:
        """It runs: orders are taken."""
        self._orders.open("the session is stopping; start it again")

    def obey(self) -> None:
        """Carry out the orders that wait."""
        self._orders.obey()

    def see_gone(self) -> None:
        """Cameras that have ended for good, or begin again now."""
        assert self._engine is not None, "attach() comes first"
        for report in self._engine.gone():
            self._roster.drop(report)
            self._leaving.discard(report.camera)
            if report.camera in self.config.sources:
                self._begin_again(report.camera)

    def close(self) -> None:
        """No more orders: it stops."""
        self._orders.close()

    def _add(self, name: str, source: SourceConfig) -> None:
        if name in self.config.sources:
            raise ControlError(f"camera {name} is there already; remove or restart it")
        if len(self.config.sources) >= _MAX_CAMERAS:
            raise ControlError(f"there are {_MAX_CAMERAS} cameras; remove one first")
        before = self.config
        self._want({**before.sources, name: source})
        if name in self._leaving:
            return
        try:
            self._begin(name)
        except BaseException:
            self._adopt(before)
            raise

    def _remove(self, name: str) -> None:
        self._source(name)
        self._want({n: source for n, source in self.config.sources.items() if n != name})
        self._leave(name)

    def _restart(self, name: str, source: SourceConfig) -> None:
        self._want({**self.config.sources, name: source})
        self._leave(name)

    def _change_to(self, wanted: PipelineConfig, is_dry: bool) -> Changes:
        changes = find_changes(self.config, wanted)
        if is_dry:
            return changes
        for name in changes.removed:
            self._remove(name)
        for name in changes.changed:
            self._restart(name, wanted.sources[name])
        for name in changes.added:
            self._add(name, wanted.sources[name])
        self._adopt(self.config.model_copy(update={"defaults": wanted.defaults}))
        return changes

    def _want(self, sources: dict[str, SourceConfig]) -> None:
        if self.config.clock == "replay":
            raise ControlError(
                "a replay's cameras stay as they are, or it could not be repeated; stop it, "
                "change the pipeline file and start it again"
            )
        self._adopt(self.config.model_copy(update={"sources": sources}))

    def _adopt(self, config: PipelineConfig) -> None:
        size = len(config.resolved_json().encode())
        if size > MAX_CONFIG_BYTES and len(config.sources) >= len(self.config.sources):
            raise ControlError(
                f"the configuration would have {size} bytes, more than {MAX_CONFIG_BYTES}; "
                "shorten the sources' options, or remove a camera first"
            )
        self.config = config
        self._roster.change(config)

    def _begin(self, name: str) -> None:
        assert self._engine is not None, "attach() comes first"
        self._engine.add(self.config, name)

    def _begin_again(self, name: str) -> None:
        """Whoever ordered it is gone: what goes wrong now is this camera's error."""
        try:
            self._begin(name)
        except StreamvisError as error:
            self._want({n: source for n, source in self.config.sources.items() if n != name})
            self._roster.note([CameraReport(name, "error", error=str(error))])

    def _leave(self, name: str) -> None:
        assert self._engine is not None, "attach() comes first"
        if name not in self._leaving:
            self._leaving.add(name)
            self._engine.remove(name)

    def _source(self, name: str) -> SourceConfig:
        if name not in self.config.sources:
            names = ", ".join(self.config.sources) or "none"
            raise ControlError(f"there is no camera {name}; there are: {names}")
        return self.config.sources[name]


class _Orders:
    """Callables from many threads for one."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._is_open = False
        self._why_closed = "the session is not running yet; try again"

    def open(self, why_closed_later: str) -> None:
        self._is_open, self._why_closed = True, why_closed_later

    def close(self) -> None:
        self._is_open = False
        self.obey()

    def run(self, order: Callable[[], T]) -> T:
        """Have it carried out: what it returns or raises; ControlError when nobody does."""
        if not self._is_open:
            raise ControlError(self._why_closed)
        future: Future[T] = Future()
        self._waiting.put((order, future))
        try:
            return future.result(_PATIENCE_S)
        except TimeoutError:
            future.cancel()
            raise ControlError(
                f"the session did not answer for {_PATIENCE_S:.0f} s; look at its log"
            ) from None

    def obey(self) -> None:
        """Carry out all that wait; on the one thread."""
        while True:
            try:
                order, future = self._waiting.get_nowait()
            except Empty:
                return
            if future.set_running_or_notify_cancel():
                self._carry_out(order, future)

    def _carry_out(self, order: Callable[[], T], future: Future[T]) -> None:
        try:
            if not self._is_open:
                raise ControlError(self._why_closed)
            future.set_result(order())
        except Exception as error:  # whoever asked gets it
            future.set_exception(error)


def _read_source(config: PipelineConfig, name: str, values: Mapping[str, Any]) -> SourceConfig:
    """Of keys as they stand in a pipeline file; its defaults hold here, too."""
    try:
        check_name(name)
        defaults = {key: getattr(config.defaults, key) for key in config.defaults.model_fields_set}
        return SourceConfig.model_validate({**defaults, **values})
    except ValidationError as error:
        raise ConfigError(f"source {name}: {explain(error, SourceConfig)}") from None
    except ValueError as error:
        raise ConfigError(f"source: {error}") from None
