"""Coded packets -> letter-boxed frames: what files and recordings have in common."""

from __future__ import annotations

import time
from bisect import insort
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, TypeAlias

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from streamvis.errors import SourceError
from streamvis.source import fresh
from streamvis.source.base import LetterBoxer, OnUnit
from streamvis.source.frame_count import FrameCount
from streamvis.source.motion import ask_for_vectors, motion_field
from streamvis.types import AccessUnit, CameraInfo, CaptureTime, Frame, LetterBox

Packet: TypeAlias = "av.Packet[Any]"
NO_TIME = CaptureTime(0, "none", 0)
_PICTURE_A_PACKET = ("h264", "hevc")  # others send what is never shown, too


def packet_of(data: bytes) -> Packet:
    """A packet with the zeros behind it that decoders read. av.Packet(data) has none: what
    MPEG-4's decoder makes of it is left to chance."""
    packet: Packet = av.Packet(len(data))
    packet.update(data)
    return packet


@dataclass(frozen=True)
class Coded:
    """A packet on its way to the decoder."""

    packet: Packet  # an empty one is the end: it fetches what the decoder still holds
    num_missing: int = 0  # frames of the source that are known to be lost before it
    is_discont: bool = False  # the stream begins anew
    is_discard: bool = False  # only others need it: its picture does not count as decoded
    unit: AccessUnit | None = None  # what it was made from, if that is how it came
    is_jump: bool = False  # time jumped before it, and nothing else


class Packets(Protocol):
    """Where packets come from, in decode order, and what is known beside them."""

    info: CameraInfo
    context: av.VideoCodecContext  # decodes them; the reader may put a fresh one in its place
    time_base: Fraction  # of their times, seconds
    first_index: int  # of the source's frame that the first packet holds

    def read(self) -> Coded | None:
        """The next one; the empty packet at the end, then None, or a SourceError that says why
        the end comes early."""

    def unit(self, packet: Packet, index: int) -> AccessUnit:
        """The packet for others: as it came, in the form of AccessUnit."""

    def capture_time(self, index: int, pts: int) -> CaptureTime:
        """Of the frame with this index."""

    def close(self) -> None: ...


class PictureSource:
    """A Source over packets, decoded straight to the encoder's letter-boxed RGB input.

    swscale converts and scales in one pass, so no full-size RGB picture is ever made.
    """

    live = None

    def __init__(
        self,
        packets: Packets,
        camera: str,
        input_size: tuple[int, int],
        max_frames: int | None = None,
        with_motion: bool = False,
    ) -> None:
        """`with_motion`: frames carry the codec's motion where it tells."""
        self.info = packets.info
        self.on_unit: OnUnit | None = None
        self._packets = packets
        self._with_motion = with_motion
        if with_motion:
            ask_for_vectors(packets.context)
        self._camera = camera
        self._boxer = LetterBoxer(input_size)
        self._max_frames = max_frames
        self._held: Coded | None = None
        self._reformatter = VideoReformatter()
        self._decoded: deque[av.VideoFrame] = deque()
        self._first_time_ns: int | None = None
        self._last_pts: int | None = None
        self._last_size: tuple[int, int] | None = None
        self._order = _FrameOrder(packets.first_index)
        self._num_units = packets.first_index
        self._is_anew = False  # the next picture is a discontinuity
        self._anew: set[int] = set()  # pts of decoded pictures that are
        self._discarded: set[int] = set()  # pts of pictures that only others need
        self._num_unseen = 0  # frames that the source should have had after its end
        self._damage = _Damage()
        self._has_traces = False  # the decoder, of damage
        self._count = _count_of(packets.context)

    @property
    def lost_source(self) -> int:
        return self._order.num_missing + self._num_unseen

    @property
    def lost_decode(self) -> int:
        return self._order.num_lost

    def grab(self) -> int | None:
        if self._max_frames is not None and self._order.num_seen >= self._max_frames:
            return None
        if self._decoded:
            return self._media_time_ns(self._decoded[0].pts)
        coded = self._held = self._held or self._read()
        if coded is None:
            self._close_account()
            return None
        packet = coded.packet
        return self._media_time_ns(packet.dts if packet.dts is not None else packet.pts)

    def retrieve(self, t_ingest_ns: int) -> Frame | None:
        if not self._decoded:
            coded, self._held = self._held, None
            assert coded is not None, "grab() comes before retrieve()"
            self._take(coded)
        if not self._decoded:
            return None
        return self._to_frame(self._decoded.popleft(), t_ingest_ns)

    def close(self) -> None:
        self._packets.close()

    def _read(self) -> Coded | None:
        try:
            return self._packets.read()
        except SourceError:
            self._close_account()
            raise

    def _take(self, coded: Coded) -> None:
        packet = coded.packet
        if coded.is_discont:
            self._restart()
        if self._has_traces and fresh.needs_nothing_before(self._packets.context, packet):
            self._renew()
        if packet.is_keyframe:
            self._damage.note_refresh(packet.pts)
        if self._count and self._count.has_gap(bytes(packet)):
            self._damage.note_gap(packet.dts if packet.dts is not None else packet.pts)
        self._is_anew |= coded.is_jump
        if packet.size:
            self._order.push(packet.pts, packet.dts, coded.num_missing)
        if coded.is_discard and packet.pts is not None:
            self._discarded.add(packet.pts)
        self._decode(packet)  # which may tell the size of the pictures for the first time
        if packet.size:
            self._hand_out(coded)

    def _decode(self, packet: Packet | None) -> None:
        try:
            for picture in self._packets.context.decode(packet):
                self._has_traces |= picture.is_corrupt
                if picture.pts not in self._discarded:
                    self._decoded.append(picture)
                    self._note_anew(picture)
        except av.FFmpegError:  # what gives no picture stays in the order, and is counted
            self._has_traces = True

    def _note_anew(self, picture: av.VideoFrame) -> None:
        if self._is_anew and picture.pts is not None:
            self._anew.add(picture.pts)
        self._is_anew = False

    def _restart(self) -> None:
        """The pictures that the decoder holds are of the old round."""
        self._decode(None)
        self._packets.context.flush_buffers()
        self._damage.begin()
        if self._count:
            self._count.begin()
        self._is_anew = True

    def _renew(self) -> None:
        self._decode(None)
        self._packets.context = fresh.like(self._packets.context)
        if self._with_motion:
            ask_for_vectors(self._packets.context)
        self._has_traces = False

    def _hand_out(self, coded: Coded) -> None:
        if self.on_unit:
            unit = coded.unit or self._packets.unit(coded.packet, self._num_units)
            if 0 not in unit.size:  # else it comes before all that a decoder needs
                self.on_unit(unit)
        self._num_units += 1

    def _close_account(self) -> None:
        """At the end: packets that gave no picture, and frames that never came."""
        self._order.close()
        if self.info.num_frames is not None:
            self._num_unseen = max(0, self.info.num_frames - self._order.num_seen)

    def _media_time_ns(self, timestamp: int | None) -> int:
        time_ns = round((timestamp or 0) * self._packets.time_base * 1_000_000_000)
        if self._first_time_ns is None:
            self._first_time_ns = time_ns
        return time_ns - self._first_time_ns

    def _to_frame(self, picture: av.VideoFrame, t_ingest_ns: int) -> Frame:
        letterbox = self._boxer.box(picture.width, picture.height)
        width, height = letterbox.content_size
        scaled = self._reformatter.reformat(
            picture, width=width, height=height, format="rgb24", interpolation="BILINEAR"
        )
        image = self._boxer.place(scaled.to_ndarray().astype(np.uint8, copy=False))
        pts = picture.pts or 0
        lost_before = self._order.num_lost
        index = self._order.pop(pts)
        frame = Frame(
            camera=self._camera,
            index=index,
            image=image,
            letterbox=letterbox,
            pts=pts,
            time_base=self._packets.time_base,
            capture=self._packets.capture_time(index, pts),
            t_ingest_ns=t_ingest_ns,
            t_decoded_ns=time.monotonic_ns(),
            lost_decode=self._order.num_lost,
            num_skipped=self._packets.first_index,
            is_discont=self._is_discont(pts, (picture.width, picture.height)),
            is_corrupt=self._is_corrupt(picture, has_gap=self._order.num_lost > lost_before),
            motion=self._motion(picture, letterbox),
        )
        self._last_pts, self._last_size = pts, (picture.width, picture.height)
        return frame

    def _is_corrupt(self, picture: av.VideoFrame, has_gap: bool) -> bool:
        """A packet that gave no picture is damage where each has one."""
        is_gap = has_gap and self._packets.context.name in _PICTURE_A_PACKET
        return self._damage.see(picture, is_gap)

    def _motion(self, picture: av.VideoFrame, letterbox: LetterBox) -> NDArray[np.int16] | None:
        """Of streams with B-frames none: their vectors are not from the picture shown before."""
        if not self._with_motion or self._packets.context.has_b_frames:
            return None
        return motion_field(picture, letterbox)

    def _is_discont(self, pts: int, size: tuple[int, int]) -> bool:
        is_anew = pts in self._anew
        self._anew.discard(pts)
        went_back = self._last_pts is not None and pts <= self._last_pts
        return went_back or is_anew or self._last_size not in (None, size)


def _count_of(context: av.VideoCodecContext) -> FrameCount | None:
    """None where packets are no Annex-B: in files, from which no network loses any."""
    extradata = bytes(context.extradata or b"")
    is_annex_b = context.name == "h264" and extradata[:1] != b"\1"
    return FrameCount(extradata) if is_annex_b else None


class _Damage:
    """FFmpeg tells of the damaged picture only, and not of those that are predicted from it.

    A key frame ends it. Cameras with intra refresh send none after the first: part by part all of
    the picture is sent anew, from one recovery point to, at the latest, the next. FFmpeg calls
    these packets key frames, and their pictures not.
    """

    def __init__(self) -> None:
        self._is_damaged = False
        self._num_refreshes = 0  # that began since it was
        self._refreshes: set[int] = set()  # pts of pictures where one begins
        self._gaps: set[int] = set()  # times from which on others are missing
        self._is_first = True

    def begin(self) -> None:
        """The decoder starts anew: it hands out nothing before the picture is whole."""
        self._is_first = True
        self._gaps.clear()
        self._refreshes.clear()

    def note_refresh(self, pts: int | None) -> None:
        if pts is not None:
            self._refreshes.add(pts)

    def note_gap(self, dts: int | None) -> None:
        if dts is not None:
            self._gaps.add(dts)

    def see(self, picture: av.VideoFrame, is_gap: bool) -> bool:
        """Whether this picture is damaged, or predicted from one that is."""
        pts = picture.pts or 0
        is_gap |= any(due <= pts for due in self._gaps)
        if picture.is_corrupt or (is_gap and not (self._is_first or picture.key_frame)):
            self._is_damaged, self._num_refreshes = True, 0
        elif picture.key_frame:
            self._is_damaged = False
        if pts in self._refreshes and not picture.is_corrupt:
            self._num_refreshes += 1
            self._is_damaged &= self._num_refreshes < 2
        self._refreshes = {later for later in self._refreshes if later > pts}
        self._gaps = {later for later in self._gaps if later > pts}
        self._is_first = False
        return self._is_damaged


class _FrameOrder:
    """Numbers decoded pictures by the packets they come from, so that a picture the decoder
    swallowed leaves a gap in the numbers and not a shift."""

    def __init__(self, first_index: int = 0) -> None:
        self.num_seen = first_index  # frames of the source, lost ones included
        self.num_lost = 0  # by the decoder
        self.num_missing = 0  # packets that never came
        # (segment, pts, frames missing before it) of packets without a picture yet
        self._waiting: list[tuple[int, int, int]] = []
        self._segment = 0  # times of one segment only grow
        self._last_dts: int | None = None

    def push(self, pts: int | None, dts: int | None, num_missing: int = 0) -> None:
        if dts is not None:
            self._segment += self._last_dts is not None and dts < self._last_dts
            self._last_dts = dts
        due = pts if pts is not None else dts or 0
        insort(self._waiting, (self._segment, due, num_missing))

    def pop(self, pts: int) -> int:
        """The index of the picture with this pts; those due before it are lost."""
        place = next((i for i, (_, due, _) in enumerate(self._waiting) if due == pts), 0)
        self._settle(place + 1)
        self.num_lost += place
        self.num_seen += place + 1
        return self.num_seen - 1

    def close(self) -> None:
        """No more pictures: what still waits is lost."""
        self.num_lost += len(self._waiting)
        self.num_seen += len(self._waiting)
        self._settle(len(self._waiting))

    def _settle(self, count: int) -> None:
        missing = sum(gap for _, _, gap in self._waiting[:count])
        self.num_missing += missing
        self.num_seen += missing
        del self._waiting[:count]
