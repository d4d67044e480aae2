"""The tile stream between a front and a back, over ZeroMQ (DEALER to ROUTER).

Measured on two cores a 640x384 I packet costs a fraction of a millisecond of CPU this way, and
several through a Ray actor call: benchmarks/data_plane.py.

Between hosts both ends need the run's keys: the stream is encrypted, and only this run's cameras
are let in. An address that others can reach is refused without.
"""

from __future__ import annotations

import logging
import time

import zmq

from streamvis import wire
from streamvis.address import Address
from streamvis.client.curve import RunKeys
from streamvis.errors import AddressError, WireError
from streamvis.publish.bind import bind, check_hop
from streamvis.publish.gate import Gate
from streamvis.types import Feedback, SourceCounts, TilePacket
from streamvis.wire import End, FromFront

log = logging.getLogger(__name__)

_LINGER_MS = 1000
_COMPLAIN_S = 60.0
_SEND_TIMEOUT_MS = 10_000  # only a link whose keys were refused takes nothing


class FrontLink:
    """A camera's end: packets out, the feedback to each of them back. One thread only."""

    def __init__(self, endpoint: str, camera: str, keys: RunKeys | None = None) -> None:
        """Raises AddressError if the endpoint is another host's and there are no keys."""
        check_hop(Address.parse(endpoint), keys)
        self._camera = camera
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, camera.encode())
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.setsockopt(zmq.SNDTIMEO, _SEND_TIMEOUT_MS)
        self._socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_PART_BYTES)
        if keys:
            keys.of_client.secure(self._socket)
        self._socket.connect(endpoint)

    def send(self, packet: TilePacket) -> None:
        """The packet's tiles are sent from where they lie: do not change them afterwards. Raises
        AddressError if the back will not have them."""
        try:
            self._socket.send_multipart(wire.encode_packet(packet), copy=False)
        except zmq.Again:
            raise AddressError(
                f"camera {self._camera}: its worker takes no packets: gone, or of another run."
            ) from None

    def receive(self, timeout_ms: int) -> Feedback | None:
        """The feedback to the packet sent last; None when none came in time."""
        if not self._socket.poll(timeout_ms):
            return None
        return wire.decode_feedback(self._socket.recv_multipart())

    def end(self, counts: SourceCounts) -> None:
        """The last message: these were all the frames of this camera."""
        self._socket.send_multipart(wire.encode_end(End(self._camera, counts)))

    def close(self) -> None:
        self._socket.close()

    def drop(self) -> None:
        """Close it, and forget what has not gone out: another link takes its name over."""
        self._socket.close(linger=0)


class BackLink:
    """A worker's end, for all the cameras pinned to it. One thread only."""

    def __init__(self, endpoint: str, keys: RunKeys | None = None) -> None:
        """Binds; raises AddressError if it cannot, or if others could reach it and there are no
        keys."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        address = Address.parse(endpoint)
        check_hop(address, keys)
        self.num_bad = 0  # messages that were none of ours
        self._complained_s = -_COMPLAIN_S
        self._socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_HANDOVER, 1)  # a restarted camera takes its name over
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_PART_BYTES)
        self._gate = Gate(context)
        if keys:
            self._gate.guard(self._socket, keys.server, "tiles", keys.client.public.__eq__)
        self.endpoint = bind(self._socket, address)  # with the real port

    def receive(self, timeout_ms: int) -> FromFront | None:
        """The next message of any camera; None when none came in time. Tiles are views of the
        message's own memory. What cannot be read is counted, and its sender asked for a whole
        picture."""
        if not self._socket.poll(timeout_ms):
            return None
        identity, *frames = self._socket.recv_multipart(copy=False)
        try:
            return wire.decode_from_front([frame.buffer for frame in frames])
        except WireError as error:
            self._refuse(identity.bytes, error)
            return None

    def reply(self, camera: str, feedback: Feedback) -> None:
        self._socket.send_multipart([camera.encode(), *wire.encode_feedback(feedback)])

    def close(self) -> None:
        self._socket.close()
        self._gate.stop()

    def _refuse(self, identity: bytes, error: WireError) -> None:
        """A front waits for an answer to whatever it sent."""
        self.num_bad += 1
        if time.monotonic() - self._complained_s > _COMPLAIN_S:
            self._complained_s = time.monotonic()
            log.warning("a bad message of a camera (%d so far): %s", self.num_bad, error)
        self._socket.send_multipart([identity, *wire.encode_feedback(Feedback(need_i=True))])
