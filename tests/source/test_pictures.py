"""Packets of a camera that was joined in the middle of its stream."""

from __future__ import annotations

from fractions import Fraction

import av
from rtsp_server import clip

from streamvis.source.pictures import NO_TIME, Coded, PictureSource, packet_of
from streamvis.types import AccessUnit, CameraInfo, CaptureTime


class H264Packets:
    """As FFmpeg hands them out where nothing told it the size: it is in the stream only."""

    def __init__(self, numbers: range) -> None:
        self.context = av.CodecContext.create("h264", "r")
        self.info = CameraInfo(0, 0, 15.0, "h264")
        self.time_base = Fraction(1, 15)
        self.first_index = 0
        self._numbers = iter(numbers)

    def read(self) -> Coded | None:
        number = next(self._numbers, None)
        if number is None:
            return None
        data = b"".join(b"\x00\x00\x00\x01" + nal for nal in clip()[number])
        packet = packet_of(data)
        packet.pts = packet.dts = number
        return Coded(packet)

    def unit(self, packet: av.Packet, index: int) -> AccessUnit:
        size = (self.context.width, self.context.height)
        times = {"pts": packet.pts, "dts": packet.dts, "time_base": self.time_base}
        return AccessUnit(
            index, "h264", bytes(packet), b"", False, False, size=size, capture=NO_TIME, **times
        )

    def capture_time(self, index: int, pts: int) -> CaptureTime:
        del index, pts
        return NO_TIME

    def close(self) -> None:
        pass


def test_a_unit_is_handed_out_once_the_size_of_its_picture_is_known() -> None:
    """Nobody could read a message with a size of 0 x 0, and a recorder gave up over it."""
    source = PictureSource(H264Packets(range(3, 8)), "front", (320, 192))
    units: list[AccessUnit] = []
    source.on_unit = units.append
    while source.grab() is not None:
        source.retrieve(0)
    assert [(unit.index, unit.size) for unit in units] == [(i, (320, 192)) for i in (2, 3, 4)]
