"""Is the decode process still at work? Judged from outside it, on the monotonic clock."""

from __future__ import annotations

# FFmpeg has its own time-outs within the process, so this is reached only if they fail: a decoder
# that hangs, a stopped process, a driver that never returns.
_GRACE_NS = 2_000_000_000
_OPENING_NS = 20_000_000_000  # a busy machine may take long to start a process
_PICTURE_NS = 20_000_000_000  # packets without any picture: longer than any sane key frame interval
# After there were pictures: the codec changed, or the decoder never finds back into the stream.
_LOST_NS, _LOST_PACKETS = 2_000_000_000, 25


class Watchdog:
    """Times are monotonic ns, passed in."""

    def __init__(self, timeout_ns: int, now_ns: int) -> None:
        self._timeout_ns = timeout_ns
        self._packet_ns = self._picture_ns = self._began_ns = now_ns
        self._num_packets = 0
        self._num_at_picture: int | None = None  # packets read when the newest picture came
        self._is_open = False

    def opened(self, now_ns: int) -> None:
        """The camera answers: packets are due."""
        self._is_open = True
        self._packet_ns = self._picture_ns = now_ns

    def see_packets(self, num_packets: int, now_ns: int) -> None:
        """How many it has read so far."""
        if num_packets != self._num_packets:
            self._num_packets, self._packet_ns = num_packets, now_ns

    def see_picture(self, now_ns: int) -> None:
        self._picture_ns, self._num_at_picture = now_ns, self._num_packets

    def complaint(self, now_ns: int) -> str:
        """What is wrong, or "" while it is at work."""
        if not self._is_open:
            limit_ns = 2 * self._timeout_ns + _OPENING_NS
            return "it could not be opened in time" if now_ns - self._began_ns > limit_ns else ""
        if now_ns - self._packet_ns > self._timeout_ns + _GRACE_NS:
            return "its decoder hung and was replaced"
        if now_ns - self._picture_ns > self._timeout_ns + _PICTURE_NS:
            return "it sends packets that give no picture; look at its key frame interval"
        if self._is_lost(now_ns):
            return "what it sends gives no picture any more; the next attempt looks at it anew"
        return ""

    def _is_lost(self, now_ns: int) -> bool:
        if self._num_at_picture is None:
            return False
        is_long_ago = now_ns - self._picture_ns > _LOST_NS
        return is_long_ago and self._num_packets - self._num_at_picture >= _LOST_PACKETS
