"""Everything without a gap: read from the pipeline's store, at the reader's own speed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import zmq

from streamvis import wire
from streamvis.address import Address
from streamvis.client.connect import connect, subscribe, tell
from streamvis.client.curve import ClientKeys
from streamvis.client.feed import Arrival, receive
from streamvis.client.inbox import Inbox
from streamvis.client.patience import Patience
from streamvis.errors import AddressError, Lagging
from streamvis.wire import Batch, Heartbeat, LeaveRequest, Observed, Parts, ReadRequest, Refusal

_CREDIT = 256  # messages on their way or not yet handled
_NUM_BEATS = 4  # heartbeats that may wait
_KEEPALIVE_S = 1.0
_SILENCE_S = 3.5  # without a word from the service: it is gone, or we are forgotten
_POLL_S = 0.5
_ACK_S = 0.05  # after the caller has everything
_LINGER_MS = 1000  # for the goodbye
_CURSOR = re.compile(r"([0-9a-f]{32}):(-1|\d{1,19})")


class LosslessFeed:
    """A DEALER to the pipeline's service. Where that is, a heartbeat tells: once at the start, and
    again whenever the service falls silent."""

    def __init__(
        self,
        address: Address,
        inbox: Inbox,
        keys: ClientKeys | None = None,
        resume: str | None = None,
    ) -> None:
        """`resume` is the cursor of an earlier reader: begin behind it, not now."""
        self._address = address
        self._inbox = inbox
        self._keys = keys
        self._patience = Patience(address)
        self._store, self._handed = _read_cursor(resume)  # position the caller has
        self._received = self._handed  # what is sent again is not taken again
        self._num_waiting = 0  # received, and not yet with the caller
        self._acked = self._handed  # as the service knows
        self._session = 0
        self._heard_s = self._told_s = 0.0
        self._trouble: Lagging | None = None  # to be raised before the next message
        self._beats: zmq.Socket[bytes] | None = self._listen()
        self._service: zmq.Socket[bytes] | None = None
        self._is_over = False

    @property
    def cursor(self) -> str | None:
        """Where to resume: behind the message that was returned last. None before any answer."""
        return f"{self._store}:{self._done}" if self._store else None

    @property
    def sockets(self) -> Sequence[zmq.Socket[bytes]]:
        return [socket for socket in (self._beats, self._service) if socket]

    @property
    def patience_s(self) -> float:
        return _ACK_S if self._done > self._acked else _POLL_S

    def take(self, now_s: float) -> Iterator[Arrival] | None:
        """Raises AddressError if the pipeline cannot serve this."""
        if self._is_over:
            return None
        answer = receive(self._service) if self._service else None
        if answer is not None:
            self._heard_s = now_s
            self._patience.answered()
        self._keep_alive(now_s)
        if self._beats and (beat := receive(self._beats)):
            self._dial(beat, now_s)
        return None if answer is None else iter(self._book_answer(answer))

    def handed(self, arrival: Arrival) -> None:
        assert arrival.position is not None, "it came from a store"
        self._num_waiting -= 1
        self._handed = arrival.position
        if self._done - self._acked >= _CREDIT // 2:
            self._ask()

    def end(self) -> None:
        self._is_over = True
        if self._service:
            tell(self._service, LeaveRequest(self._session))
            self._service.close(linger=_LINGER_MS)
            self._service = None

    def close(self) -> None:
        self.end()
        if self._beats:
            self._beats.close(linger=0)
            self._beats = None

    @property
    def _done(self) -> int:
        """Everything up to this position was of no interest, or is with the caller."""
        return self._handed if self._num_waiting else self._received

    def _listen(self) -> zmq.Socket[bytes]:
        return subscribe(self._address, [wire.DISCOVERY], _NUM_BEATS, self._keys)

    def _dial(self, beat: Parts, now_s: float) -> None:
        """A heartbeat says where the service is: begin behind what was received."""
        message = wire.decode(beat)
        if not isinstance(message, Heartbeat) or message.is_stopped:
            return  # the last words of one pipeline; another may come
        if message.service is None:
            raise AddressError(
                f"{self._address} has no lossless mode: an older streamvis publishes there. "
                "Leave out lossless=True."
            )
        service = Address.parse(message.service).seen_from(self._address)
        self._patience.check(service, now_s)
        self._hang_up()
        self._service = connect(zmq.DEALER, service, _CREDIT, self._keys)
        self._patience.asked(service, now_s)
        self._session += 1
        self._heard_s = self._told_s = now_s
        self._ask(after=self._received)

    def _ask(self, after: int | None = None) -> None:
        if self._service:
            self._acked = self._done if after is None else after
            prefixes = tuple(self._inbox.topics)
            request = ReadRequest(self._session, prefixes, self._store, self._acked, _CREDIT)
            tell(self._service, request)

    def _keep_alive(self, now_s: float) -> None:
        if self._service and now_s - self._heard_s > _SILENCE_S:
            self._hang_up()
            self._beats = self._listen()
        elif now_s - self._told_s > (_ACK_S if self._done > self._acked else _KEEPALIVE_S):
            self._told_s = now_s
            self._ask()

    def _hang_up(self) -> None:
        for socket in self.sockets:
            socket.close(linger=0)
        self._beats = self._service = None

    def _book_answer(self, parts: Parts) -> list[Arrival]:
        answer = wire.decode_answer(parts)
        if isinstance(answer, Refusal):
            raise AddressError(f"{self._address}: no lossless reading: {answer.why}.")
        if not isinstance(answer, Batch) or answer.session != self._session:
            return []
        self._check_store(answer)
        pairs = zip(answer.positions, answer.messages, strict=True)
        new = [pair for pair in pairs if pair[0] > self._received]
        self._received = max(self._received, answer.end)
        arrivals = [Arrival(seen, parts, at) for at, parts in new if (seen := self._book(parts))]
        self._num_waiting += len(arrivals)
        return self._with_trouble(arrivals)

    def _book(self, parts: Parts) -> Observed | None:
        return self._inbox.accept(parts)

    def _check_store(self, batch: Batch) -> None:
        """Whether the numbering is the one we know, and nothing was forgotten unread."""
        if batch.store != self._store:
            if self._store:
                self._trouble = Lagging(
                    f"{self._address} was started again: what it had published and this reader "
                    "had not read is gone. Reading goes on with what the new one keeps."
                )
            first = batch.positions[0] - 1 if batch.positions else batch.end
            self._received = self._handed = self._acked = first
            self._store = batch.store
        if batch.num_skipped:
            self._trouble = Lagging(
                f"the pipeline forgot up to {batch.num_skipped} messages that this reader had not "
                "read. Read faster, or give its publish output a larger store."
            )

    def _with_trouble(self, arrivals: list[Arrival]) -> list[Arrival]:
        if arrivals and self._trouble:
            arrivals[0] = replace(arrivals[0], error=self._trouble)
            self._trouble = None
        return arrivals


def _read_cursor(text: str | None) -> tuple[str, int]:
    if text is None:
        return "", -1
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a cursor: take `subscriber.cursor` of an earlier reader")
    return match[1], int(match[2])
