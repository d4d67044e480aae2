"""A camera's decode process: reads what the network or a driver gives, and may hang or die of it.

    python -m streamvis.source.decode_process SOCKET_FD MEMORY_FD WIDTH HEIGHT

It does one connection after the other, as it is told. No torch, and no decision, is made here.
"""

from __future__ import annotations

import gc
import signal
import socket
import sys
import time

import av

from streamvis.errors import SourceError
from streamvis.redact import redact
from streamvis.source.decode_link import DecoderEnd, LinkBroken, Order, Over, Slots
from streamvis.source.pictures import PictureSource
from streamvis.source.stream import StreamPackets


def main() -> None:
    socket_fd, memory_fd, width, height = map(int, sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the source to handle
    av.logging.set_level(None)  # FFmpeg's own lines name URIs with their passwords
    slots = Slots(memory_fd, (width, height))
    end = DecoderEnd(socket.socket(fileno=socket_fd), slots)
    try:
        while True:
            end.send_over(_carry_out(end.next_order(), end, (width, height)))
    except LinkBroken:
        return


def _carry_out(order: Order, end: DecoderEnd, size: tuple[int, int]) -> Over:
    """One connection, from its beginning to its end."""
    packets: StreamPackets | None = None
    source: PictureSource | None = None
    state, error = "ended", ""
    try:
        packets = StreamPackets(order)
        source = PictureSource(packets, "", size, with_motion=order.with_motion)
        _read(source, packets, order, end)
    except SourceError as reason:
        state, error = reason.state, str(reason)
    except LinkBroken:
        raise
    except Exception as bug:  # told to the source; its traceback might show the uri
        state, error = "lost", redact(f"{order.uri}: decoding broke off ({bug!r})")
    finally:
        if packets is not None:
            packets.close()
        gc.collect()  # FFmpeg's contexts are large, and Python knows nothing of their size
    num_packets = packets.num_packets if packets else 0
    return Over(state, error, num_packets, source.lost_decode if source else 0)


def _read(source: PictureSource, packets: StreamPackets, order: Order, end: DecoderEnd) -> None:
    end.send_info(packets.info)
    if order.wants_units:
        source.on_unit = end.send_unit
    pace = _Pace(order)
    while (media_ns := source.grab()) is not None:
        end.note_packets(packets.num_packets)
        pace.wait(media_ns)
        frame = source.retrieve(time.monotonic_ns())
        if frame is not None:
            end.send_frame(frame)
        else:
            end.take_back_slots()


class _Pace:
    """HTTP hands out whole segments at once: their pictures are let through one by one, as they
    were taken. All else comes when it is taken."""

    def __init__(self, order: Order) -> None:
        self._is_needed = order.uri.startswith(("http://", "https://"))
        self._zero_ns: int | None = None  # monotonic, of media time 0

    def wait(self, media_ns: int) -> None:
        if not self._is_needed:
            return
        now_ns = time.monotonic_ns()
        if self._zero_ns is None or not -_BEHIND_NS < self._zero_ns + media_ns - now_ns < _AHEAD_NS:
            self._zero_ns = now_ns - media_ns
        time.sleep(max(0, self._zero_ns + media_ns - now_ns) / 1e9)


_BEHIND_NS = 1_000_000_000  # the network was slow: what is late now stays late
_AHEAD_NS = 1_000_000_000


if __name__ == "__main__":
    main()
