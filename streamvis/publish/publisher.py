"""A worker's way to the subscribers: results in, numbered messages to the proxy out."""

from __future__ import annotations

import itertools
import logging
from collections import defaultdict
from collections.abc import Iterator
from time import monotonic

import zmq

from streamvis import wire
from streamvis.address import Address
from streamvis.client.curve import RunKeys
from streamvis.errors import AddressError
from streamvis.publish.bind import check_hop
from streamvis.publish.outlet import Outlet
from streamvis.types import AccessUnit, FrameResult, TilePacket
from streamvis.wire import (
    AnyMessage,
    DetMessage,
    EmbMessage,
    ImgMessage,
    Origin,
    PlanMessage,
    SemMessage,
    VidMessage,
)

log = logging.getLogger(__name__)

# [BYE, epoch] tells the proxy that nothing more comes, and the proxy sends the epoch back. It is
# needed: libzmq forgets what a paused receiver has not read when the sender closes.
BYE = b"bye"

_GOODBYE_S = 2.0
_REPEAT_MS = 100
_QUEUE_LENGTH = 256  # messages towards the proxy, which reads at once unless it must wait itself
_LOSSLESS_PATIENCE_S = 20.0  # longer than the proxy's own, so that it is the one to give up


class Publisher:
    """Sends to the proxy at `endpoint`; one a worker, and one a camera that sends its bitstream.
    Used by one thread.

    Raises AddressError if no proxy answers within `timeout_s`: an XPUB that has not heard from
    its proxy would drop everything it is given.
    """

    def __init__(
        self,
        pipeline: str,
        endpoint: str,
        context: zmq.Context[zmq.Socket[bytes]],
        *,
        epoch: str | None = None,
        is_lossless: bool = False,
        timeout_s: float = 5.0,
        run_keys: RunKeys | None = None,
    ) -> None:
        check_hop(Address.parse(endpoint), run_keys)
        self.origin = Origin.here(pipeline, epoch)
        self._seq: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)
        self._socket = context.socket(zmq.XPUB)
        patience_s = _LOSSLESS_PATIENCE_S if is_lossless else 0.0
        self._goodbye_s = _GOODBYE_S + patience_s
        self._socket.setsockopt(zmq.SNDHWM, _QUEUE_LENGTH)
        if run_keys:
            run_keys.of_client.secure(self._socket)
        self._outlet = Outlet(self._socket, patience_s)
        self._connect(endpoint, timeout_s)

    @property
    def epoch(self) -> str:
        return self.origin.epoch

    @property
    def num_overflows(self) -> int:
        """How often the proxy fell so far behind that messages were dropped."""
        return self._outlet.num_overflows

    def send(self, result: FrameResult) -> None:
        """Publish one frame's `det` and `emb` messages, and `sem` if it has tokens."""
        kinds: tuple[type[DetMessage | EmbMessage | SemMessage], ...] = (DetMessage, EmbMessage)
        if result.tokens is not None:
            kinds = (*kinds, SemMessage)
        for message in kinds:
            seq = self._next_seq(message.kind, result.camera)
            self._send(message.of(result, self.origin, seq))

    def send_image(self, camera: str, frame_index: int, jpeg: bytes) -> None:
        """Publish the picture that the encoder saw, as an `img` message."""
        seq = self._next_seq(ImgMessage.kind, camera)
        self._send(
            ImgMessage(
                origin=self.origin, camera=camera, seq=seq, frame_index=frame_index, jpeg=jpeg
            )
        )

    def send_unit(self, camera: str, unit: AccessUnit) -> None:
        """Publish one picture of the camera's own bitstream, as a `vid` message."""
        seq = self._next_seq(VidMessage.kind, camera)
        self._send(VidMessage(origin=self.origin, camera=camera, seq=seq, unit=unit))

    def send_plan(self, packet: TilePacket, batch: int) -> None:
        """Publish which tiles of a frame were encoded, as a `plan` message."""
        seq = self._next_seq(PlanMessage.kind, packet.camera)
        self._send(PlanMessage.of(packet, batch, self.origin, seq))

    def close(self) -> None:
        """Returns when the proxy has everything that was sent, or does not answer for 2 s."""
        if self._socket.closed:
            return
        if not self._say_goodbye():
            log.warning("the proxy did not answer a goodbye: the last results may be lost")
        self._socket.close(linger=0)

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _connect(self, endpoint: str, timeout_s: float) -> None:
        self._socket.connect(endpoint)
        if not self._socket.poll(round(timeout_s * 1000)):
            self._socket.close(linger=0)
            raise AddressError(
                f"no proxy answers at {endpoint} within {timeout_s:g} s. "
                "The publishing side of the pipeline is not running."
            )
        self._socket.recv()  # its subscription to everything

    def _say_goodbye(self) -> bool:
        """Repeated, because after an overflow libzmq skips the proxy until it has caught up."""
        epoch = self.epoch.encode()
        deadline = monotonic() + self._goodbye_s
        while monotonic() < deadline:
            self._outlet.send([BYE, epoch])
            if self._socket.poll(_REPEAT_MS) and self._socket.recv() == epoch:
                return True
        return False

    def _next_seq(self, kind: str, camera: str) -> int:
        return next(self._seq[wire.topic_prefix(kind, self.origin.pipeline, camera)])

    def _send(self, message: AnyMessage) -> None:
        self._outlet.send(wire.encode(message))
