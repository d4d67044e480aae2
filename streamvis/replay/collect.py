"""A replay whose results stay in memory."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

from streamvis.client.subscriber import Subscriber
from streamvis.publish.config import PublishConfig
from streamvis.runtime.session import Session
from streamvis.topology import OutputConfig, PipelineConfig
from streamvis.wire import AnyMessage

_PATIENCE_MS = 120_000.0  # models must load before the first result
_JOIN_S = 30.0


def collect(config: PipelineConfig, kinds: tuple[str, ...]) -> list[AnyMessage]:
    """Run it without its own outputs; all messages of these kinds, in the order they came.

    Raises the first problem of the run.
    """
    with tempfile.TemporaryDirectory(prefix="sv-", dir="/tmp") as folder:
        address = f"ipc://{Path(folder) / 'out'}"
        publish = PublishConfig.model_validate(
            {"address": f"pub+bind:{address}", "wait_subscribers": 1, "opt_in": ["plan"]}
        )
        session = Session(config.model_copy(update={"outputs": [OutputConfig(publish=publish)]}))
        listener = _Listener(address, kinds)
        listener.start()
        summary = session.run()
        messages = listener.join()
    for problem in summary.problems:
        raise problem
    return messages


class _Listener:
    """Keeps what arrives until the pipeline says that it stopped."""

    def __init__(self, address: str, kinds: tuple[str, ...]) -> None:
        self._subscriber = Subscriber(address, kinds, timeout_ms=_PATIENCE_MS)
        self._messages: list[AnyMessage] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="collect", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> list[AnyMessage]:
        self._thread.join(_JOIN_S)
        if self._error is not None:
            raise self._error
        assert not self._thread.is_alive(), "the pipeline ended without saying so"
        return self._messages

    def _run(self) -> None:
        try:
            with self._subscriber as messages:
                self._messages.extend(messages)
        except Exception as error:  # handed to whoever joins
            self._error = error
