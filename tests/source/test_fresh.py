"""What damage leaves in FFmpeg's decoder does not reach the next key frame."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from rtsp_server import clip

from streamvis.source import fresh
from streamvis.source.pictures import NO_TIME, Coded, Packet, PictureSource, packet_of
from streamvis.types import CameraInfo, CaptureTime, Frame

SIZE, GOP, NUM_FRAMES = (320, 192), 10, 900
UNSEEN = 8  # grey levels: the last bits of a slice make no more


class Damaged:
    """Packets of which one slice in twelve is cut short."""

    info = CameraInfo(*SIZE, 30.0, "h264")
    time_base = Fraction(1, 30)
    first_index = 0

    def __init__(self, seed: int, share: float) -> None:
        self.context = av.CodecContext.create("h264", "r")
        self.context.thread_count = 1
        self._rng = np.random.default_rng(seed)
        self._share = share
        self._coming = iter([*enumerate(clip(SIZE, GOP, NUM_FRAMES)), None])

    def read(self) -> Coded | None:
        due = next(self._coming)
        if due is None:
            return None
        index, nals = due
        packet = packet_of(b"".join(b"\0\0\0\1" + self._cut(nal) for nal in nals))
        packet.pts = packet.dts = index
        packet.is_keyframe = index % GOP == 0
        return Coded(packet)

    def capture_time(self, index: int, pts: int) -> CaptureTime:
        del index, pts
        return NO_TIME

    def close(self) -> None: ...

    def _cut(self, nal: bytes) -> bytes:
        is_slice = nal[0] & 31 in (1, 5)
        if not is_slice or self._rng.random() >= self._share:
            return nal
        return nal[: int(self._rng.integers(len(nal) // 4, len(nal)))]


def frames_of(seed: int, share: float = 1 / 12) -> list[Frame]:
    source = PictureSource(Damaged(seed, share), "gate", SIZE)
    frames = []
    while source.grab() is not None:
        frames += filter(None, [source.retrieve(0)])
    return frames


def unseen_damage(seed: int) -> list[int]:
    sound = {frame.pts: frame.image.astype(int) for frame in frames_of(0, share=0)}
    assert len(sound) == NUM_FRAMES
    found = [frame for frame in frames_of(seed) if not frame.is_corrupt]
    assert len(found) > NUM_FRAMES / 4
    return [f.pts for f in found if np.abs(f.image - sound[f.pts]).max() >= UNSEEN]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_whatever_is_not_called_damaged_is_sound(seed: int) -> None:
    assert unseen_damage(seed) == []


def test_one_decoder_for_all_would_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The day that it does, this test fails, and the fresh ones can go."""
    monkeypatch.setattr(fresh, "needs_nothing_before", lambda *_: False)
    assert any(unseen_damage(seed) for seed in range(3))


def test_a_recovery_point_is_no_beginning() -> None:
    context = av.CodecContext.create("h264", "r")
    for head, is_one in ((b"\x65", True), (b"\x41", False)):
        packet: Packet = packet_of(b"\0\0\0\1\x67abc\0\0\0\1" + head + b"slice")
        packet.is_keyframe = True
        assert fresh.needs_nothing_before(context, packet) is is_one
