"""The live stream for a late joiner: the newest message of each topic first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import zmq

from streamvis import wire
from streamvis.address import Address
from streamvis.client.connect import connect, tell
from streamvis.client.curve import ClientKeys
from streamvis.client.feed import Arrival, LiveFeed, receive
from streamvis.client.inbox import Inbox
from streamvis.client.joining import Joining, Update
from streamvis.client.patience import Patience
from streamvis.errors import AddressError
from streamvis.wire import Parts, Snapshot, SnapshotRequest

_REPEAT_S = 1.0
_QUEUE_LENGTH = 4  # answers


class SnapshotFeed(LiveFeed):
    """Asks the pipeline's service for its state as soon as a heartbeat tells where it is, and again
    when the pipeline was restarted."""

    def __init__(self, address: Address, inbox: Inbox, keys: ClientKeys | None = None) -> None:
        super().__init__(address, inbox, keys)
        self._address = address
        self._keys = keys
        self._joining = Joining()
        self._patience = Patience(address)
        self._request = 0
        self._asked_s = 0.0
        self._service: zmq.Socket[bytes] | None = None  # while an answer is awaited

    @property
    def sockets(self) -> Sequence[zmq.Socket[bytes]]:
        return (self._socket, self._service) if self._service else (self._socket,)

    @property
    def patience_s(self) -> float:  # type: ignore[override]
        return LiveFeed.patience_s if self._joining.is_joined else _REPEAT_S

    def take(self, now_s: float) -> Iterator[Arrival] | None:
        """Raises AddressError if the pipeline knows no snapshots, or its service is silent."""
        answer = receive(self._service) if self._service else None
        parts = receive(self._socket) if answer is None else None
        found = None
        if answer is not None:
            found = self._book_answer(answer)
        elif parts is not None:
            seen = wire.peek(parts)
            found = self._book_both(*self._joining.see(seen, parts))
            if seen.kind == "hb" and self._joining.service and not self._joining.is_joined:
                self._patience.check(self._service_address, now_s)
        self._ask_if_due(now_s)
        return found

    def close(self) -> None:
        self._hang_up()
        super().close()

    def _book_answer(self, parts: Parts) -> Iterator[Arrival]:
        self._patience.answered()
        answer = wire.decode_answer(parts)
        if isinstance(answer, Snapshot) and answer.request == self._request:
            return self._book_both(*self._joining.answer(answer))
        return iter(())

    def _book_both(self, before: list[Parts], now: list[Update]) -> Iterator[Arrival]:
        """Booked at once: what comes next must not overtake it."""
        arrivals = [Arrival(seen, parts) for parts in before if (seen := self._book_state(parts))]
        for _, parts in now:
            arrivals.extend(self._book(parts))
        return iter(arrivals)

    def _book_state(self, parts: Parts) -> wire.Observed | None:
        return self._inbox.accept_state(parts)

    def _ask_if_due(self, now_s: float) -> None:
        joining = self._joining
        if joining.is_joined:
            self._hang_up()
        elif joining.has_pulse and (joining.must_ask or now_s - self._asked_s > _REPEAT_S):
            self._ask(now_s)

    def _ask(self, now_s: float) -> None:
        if self._joining.service is None:
            raise AddressError(
                f"{self._address} offers no snapshot: an older streamvis publishes there. "
                "Leave out snapshot=True."
            )
        self._hang_up()
        service = self._service_address
        self._service = connect(zmq.DEALER, service, _QUEUE_LENGTH, self._keys)
        self._patience.asked(service, now_s)
        self._request += 1
        tell(self._service, SnapshotRequest(self._request, tuple(self._inbox.topics)))
        self._joining.must_ask = False
        self._asked_s = now_s

    @property
    def _service_address(self) -> Address:
        assert self._joining.service is not None, "a heartbeat said where"
        return Address.parse(self._joining.service).seen_from(self._address)

    def _hang_up(self) -> None:
        if self._service:
            self._service.close(linger=0)
            self._service = None
