"""A demuxed packet -> an access unit that can be decoded without its container."""

from __future__ import annotations

import re
from fractions import Fraction

import av
from av.bitstream import BitStreamFilterContext

from streamvis.source.pictures import NO_TIME, Packet, packet_of
from streamvis.types import AccessUnit, CaptureTime

# ISO/IEC 14496-15: a length-prefixed stream's extradata is a configuration record, whose first
# byte is its version. Annex-B begins with a start code, 00 00 01 or 00 00 00 01.
_RECORD_VERSION = 1
_TO_ANNEX_B = {
    "h264": "h264_mp4toannexb,dump_extra=freq=keyframe",
    "hevc": "hevc_mp4toannexb,dump_extra=freq=keyframe",
}
_PARAMETER_SET = {  # a start code and the header of a sequence parameter set
    "h264": re.compile(rb"\x00\x00\x01[\x07\x27\x47\x67]"),
    "hevc": re.compile(rb"\x00\x00\x01[\x42\x43]"),
}


class UnitWriter:
    """Annex-B for H.264 and HEVC, with parameter sets at every key frame; other codecs as is."""

    def __init__(self, stream: av.VideoStream) -> None:
        context = stream.codec_context
        self.codec = context.name
        self._parameters = bytes(context.extradata or b"")
        self._is_nal = self.codec in _TO_ANNEX_B
        self._filter: BitStreamFilterContext | None = None
        if self._is_nal and self._parameters[:1] == bytes([_RECORD_VERSION]):
            self._filter = BitStreamFilterContext(_TO_ANNEX_B[self.codec], stream)

    def unit(
        self,
        packet: Packet,
        context: av.VideoCodecContext,
        index: int,
        time_base: Fraction,
        capture: CaptureTime,
        is_discont: bool = False,
    ) -> AccessUnit:
        """`context` decodes it. `capture` is that of the picture to come out next: with B-frames
        it is another one's."""
        is_reordered = bool(context.has_b_frames)
        return AccessUnit(
            index=index,
            codec=self.codec,
            data=self.data(packet),
            extradata=self.extradata,
            is_key=packet.is_keyframe,
            is_reordered=is_reordered,
            pts=packet.pts,
            dts=packet.dts,
            time_base=time_base,
            size=(context.width, context.height),
            capture=NO_TIME if is_reordered else capture,
            is_discont=is_discont,
            is_discard=packet.is_discard,
        )

    @property
    def extradata(self) -> bytes:
        """What a decoder needs beforehand."""
        return b"" if self._is_nal else self._parameters

    def data(self, packet: Packet) -> bytes:
        """The packet itself stays as it is."""
        if self._filter is not None:
            return self._filtered(packet)
        data = bytes(packet)
        if self._is_nal and packet.is_keyframe and not _PARAMETER_SET[self.codec].search(data):
            return self._parameters + data
        return data

    def _filtered(self, packet: Packet) -> bytes:
        assert self._filter is not None
        try:
            return b"".join(bytes(out) for out in self._filter.filter(_copy(packet)))
        except av.FFmpegError:  # damaged beyond its lengths: no decoder makes more of it
            self._filter.flush()
            return bytes(packet)


def _copy(packet: Packet) -> Packet:
    """A filter empties the packet that it is given."""
    copy = packet_of(bytes(packet))
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    copy.is_keyframe = packet.is_keyframe
    return copy
