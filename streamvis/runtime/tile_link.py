"""The tile stream between a front and a back, over ZeroMQ (DEALER to ROUTER).

Measured on two cores a 640x384 I packet costs a fraction of a millisecond of CPU this way, and
several through a Ray actor call: benchmarks/data_plane.py.
"""

from __future__ import annotations

import zmq

from streamvis import wire
from streamvis.types import Feedback, SourceCounts, TilePacket
from streamvis.wire import End, FromFront

_LINGER_MS = 1000


class FrontLink:
    """A camera's end: packets out, the feedback to each of them back. One thread only."""

    def __init__(self, endpoint: str, camera: str) -> None:
        self._camera = camera
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, camera.encode())
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.connect(endpoint)

    def send(self, packet: TilePacket) -> None:
        """The packet's tiles are sent from where they lie: do not change them afterwards."""
        self._socket.send_multipart(wire.encode_packet(packet), copy=False)

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


class BackLink:
    """A worker's end, for all the cameras pinned to it. One thread only."""

    def __init__(self, endpoint: str) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_HANDOVER, 1)  # a restarted camera takes its name over
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.bind(endpoint)

    def receive(self, timeout_ms: int) -> FromFront | None:
        """The next message of any camera; None when none came in time. Tiles are views of the
        message's own memory."""
        if not self._socket.poll(timeout_ms):
            return None
        _identity, *frames = self._socket.recv_multipart(copy=False)
        return wire.decode_from_front([frame.buffer for frame in frames])

    def reply(self, camera: str, feedback: Feedback) -> None:
        self._socket.send_multipart([camera.encode(), *wire.encode_feedback(feedback)])

    def close(self) -> None:
        self._socket.close()
