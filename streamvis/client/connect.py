"""Sockets of a client."""

from __future__ import annotations

from contextlib import suppress

import zmq

from streamvis import wire
from streamvis.address import Address
from streamvis.client.curve import ClientKeys
from streamvis.errors import AddressError
from streamvis.wire import Request

_RECEIVE_BUFFER_BYTES = 1 << 18  # what lies in the kernel is old news that no queue limit counts


def connect(
    kind: int, address: Address, queue_length: int, keys: ClientKeys | None = None
) -> zmq.Socket[bytes]:
    """A SUB or DEALER; raises AddressError if the address makes no sense here."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVHWM, queue_length)
    socket.setsockopt(zmq.RCVBUF, _RECEIVE_BUFFER_BYTES)
    socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_PART_BYTES)
    if keys:
        keys.secure(socket)
    try:
        socket.connect(address.endpoint)
    except zmq.ZMQError as error:
        socket.close()
        raise AddressError(f"{address} cannot be connected to: {error}.") from None
    return socket


def tell(socket: zmq.Socket[bytes], request: Request) -> None:
    """Never waits: libzmq drops a connection whose keys were refused, and would wait for another
    one for ever. Whoever asked asks again when no answer comes."""
    with suppress(zmq.Again):
        socket.send_multipart(wire.encode_request(request), zmq.DONTWAIT)


def subscribe(
    address: Address, topics: list[str], queue_length: int, keys: ClientKeys | None = None
) -> zmq.Socket[bytes]:
    socket = connect(zmq.SUB, address, queue_length, keys)
    for topic in topics:
        socket.subscribe(topic)
    return socket
