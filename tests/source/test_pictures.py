"""Packets of a camera that was joined in the middle of its stream."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import av
import numpy as np
import pytest
from matrix import contract
from rtsp_server import clip

from streamvis.source.pictures import NO_TIME, Coded, PictureSource, packet_of
from streamvis.types import AccessUnit, CameraInfo, CaptureTime, Frame


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


REFRESH = 20  # frames from one recovery point to the next


@cache
def refreshed_clip() -> list[bytes]:
    """Coded with intra refresh: no key frame after the first."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 320, 192, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 15), 15
    refresh = f"intra-refresh=1:keyint={REFRESH}:bframes=0:ref=1"
    encoder.options = {"preset": "fast", "tune": "zerolatency", "x264-params": refresh}
    scene = np.random.default_rng(0).integers(0, 255, (192, 800, 3), np.uint8)
    packets = []
    for number in range(6 * REFRESH):
        image = np.ascontiguousarray(scene[:, number : number + 320])
        picture = av.VideoFrame.from_ndarray(image, format="rgb24")
        picture.pts = number
        packets += encoder.encode(picture)
    return [bytes(packet) for packet in [*packets, *encoder.encode(None)]]


class RefreshedPackets(H264Packets):
    """Of them, this one is damaged beyond decoding."""

    def __init__(self, first: int, damaged: int | None = None) -> None:
        super().__init__(range(first, len(refreshed_clip())))
        self._damaged = damaged

    def read(self) -> Coded | None:
        number = next(self._numbers, None)
        if number is None:
            return None
        packet = packet_of(b"x" if number == self._damaged else refreshed_clip()[number])
        packet.pts = packet.dts = number
        packet.is_keyframe = number % REFRESH == 0  # as FFmpeg's parser says
        return Coded(packet)


def frames_of(packets: H264Packets) -> dict[int, Frame]:
    """By pts."""
    source = PictureSource(packets, "front", (320, 192))
    frames = {}
    while source.grab() is not None:
        frame = source.retrieve(0)
        if frame is not None:
            frames[frame.pts] = frame
    return frames


@contract("bitstream")
@pytest.mark.parametrize("damaged", [25, 45])
def test_a_camera_with_intra_refresh_is_sound_again_after_two_recovery_points(damaged) -> None:
    sound = frames_of(RefreshedPackets(0))
    assert not any(frame.is_corrupt for frame in sound.values())
    frames = frames_of(RefreshedPackets(0, damaged))
    corrupt = {pts for pts, frame in frames.items() if frame.is_corrupt}
    assert corrupt
    assert min(corrupt) > damaged
    assert max(corrupt) < damaged + 2 * REFRESH
    wrong = {
        pts for pts, frame in frames.items() if not np.array_equal(frame.image, sound[pts].image)
    }
    assert wrong
    assert wrong <= corrupt


def test_a_camera_with_intra_refresh_that_is_joined_anywhere_is_sound() -> None:
    sound, frames = frames_of(RefreshedPackets(0)), frames_of(RefreshedPackets(25))
    assert len(frames) > REFRESH
    for pts, frame in frames.items():
        assert not frame.is_corrupt
        assert np.array_equal(frame.image, sound[pts].image)


def test_a_unit_is_handed_out_once_the_size_of_its_picture_is_known() -> None:
    """Nobody could read a message with a size of 0 x 0, and a recorder gave up over it."""
    source = PictureSource(H264Packets(range(3, 8)), "front", (320, 192))
    units: list[AccessUnit] = []
    source.on_unit = units.append
    while source.grab() is not None:
        source.retrieve(0)
    assert [(unit.index, unit.size) for unit in units] == [(i, (320, 192)) for i in (2, 3, 4)]
