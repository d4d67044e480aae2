"""HTTP connections that nobody can hold without asking anything."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_PATIENCE_S = 5.0
MAX_OF_ADDRESS = 32


class Connection(H11Protocol):
    """A whole head must come soon after the connection or the last answer; uvicorn itself waits
    for ever. One address has so many at most."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._waits_since_s = self.loop.time()
        if self._num_of_address() > MAX_OF_ADDRESS:
            transport.abort()
        else:
            self.loop.call_later(HEAD_PATIENCE_S, self._look)

    def on_response_complete(self) -> None:
        self._waits_since_s = self.loop.time()
        super().on_response_complete()

    def _look(self) -> None:
        is_answered = self.cycle is not None and not self.cycle.response_complete
        left_s = self._waits_since_s + HEAD_PATIENCE_S - self.loop.time()
        if self.transport.is_closing():
            return
        if is_answered or left_s > 0:
            self.loop.call_later(HEAD_PATIENCE_S if is_answered else left_s, self._look)
        else:
            self.transport.close()

    def _num_of_address(self) -> int:
        clients = [getattr(other, "client", None) for other in self.connections]
        return [client and client[0] for client in clients].count(self.client and self.client[0])
