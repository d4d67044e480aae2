"""H.264's own count of pictures: whether some never came (ITU-T H.264, 7.3.2.1, 7.3.3, 8.2.5.2).

FFmpeg calls the parts of a picture damaged that are missing. Of a picture that is missing as a
whole it says nothing, and predicts the next one from an older one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_START = re.compile(rb"\x00\x00\x01")
_SLICE, _IDR, _PARAMETERS = 1, 5, 7
_WITH_CHROMA = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}  # profiles
_MAX_BYTES = 512  # what is read here lies before


class FrameCount:
    """Of one stream's packets, in Annex-B and decode order.

    Not seen is the loss of exactly one cycle of the numbers, 16 pictures or more. A stream that
    sets them to 0 without a key frame (memory_management_control_operation 5) has a gap there.
    """

    def __init__(self, extradata: bytes) -> None:
        self._formats: dict[int, _Format] = {}  # by the id of its parameter set
        self._last: int | None = None  # number of the last picture that others may need
        self.has_gap(extradata)

    def begin(self) -> None:
        """Anew: whatever was before the next packet is not missed."""
        self._last = None

    def has_gap(self, data: bytes) -> bool:
        """Whether pictures that others may need are missing before this packet. What is damaged
        beyond reading has none."""
        for start in _START.finditer(data):
            unit = data[start.end() : start.end() + _MAX_BYTES]
            kind = unit[0] & 31 if unit else 0
            if kind == _PARAMETERS:
                self._note_format(unit[1:])
            elif kind == _IDR:
                self._last = 0
                return False
            elif kind == _SLICE:
                return self._follow(unit)
        return False

    def _note_format(self, data: bytes) -> None:
        found = _read(_format, data)
        if found is not None:
            self._formats[found[0]] = found[1]

    @property
    def _format(self) -> _Format | None:
        """None where it depends on the picture: which one it has is told where we do not look."""
        formats = set(self._formats.values())
        return formats.pop() if len(formats) == 1 else None

    def _follow(self, unit: bytes) -> bool:
        form, before = self._format, self._last
        number = _read(form.frame_num, unit[1:]) if form else None
        if unit[0] >> 5 & 3:  # others may need it
            self._last = number
        if form is None or number is None or before is None or form.may_have_gaps:
            return False
        return number not in (before, (before + 1) % (1 << form.frame_num_bits))


class _Damaged(Exception):
    pass


class _Bits:
    """What a NAL unit says, without the bytes that keep start codes out of it."""

    def __init__(self, data: bytes) -> None:
        data = data.replace(b"\0\0\3", b"\0\0")
        self._value, self._num_left = int.from_bytes(data, "big"), 8 * len(data)

    def u(self, count: int) -> int:
        if count > self._num_left:
            raise _Damaged
        self._num_left -= count
        return self._value >> self._num_left & ((1 << count) - 1)

    def ue(self) -> int:
        """Exp-Golomb."""
        num_zeros = 0
        while not self.u(1):
            num_zeros += 1
        return (1 << num_zeros) - 1 + self.u(num_zeros)

    def se(self) -> int:
        value = self.ue()
        return (value + 1) // 2 if value % 2 else -(value // 2)


@dataclass(frozen=True)
class _Format:
    frame_num_bits: int
    has_planes: bool  # coded apart
    may_have_gaps: bool  # on purpose

    def frame_num(self, bits: _Bits) -> int:
        for _ in ("first_mb_in_slice", "slice_type", "pic_parameter_set_id"):
            bits.ue()
        if self.has_planes:
            bits.u(2)
        return bits.u(self.frame_num_bits)


def _read(what: Callable[[_Bits], T], data: bytes) -> T | None:
    try:
        return what(_Bits(data))
    except _Damaged:
        return None


def _format(bits: _Bits) -> tuple[int, _Format]:
    """With its id."""
    profile = bits.u(8)
    bits.u(16)  # constraints, level
    set_id = bits.ue()
    has_planes = _skip_chroma(bits) if profile in _WITH_CHROMA else False
    frame_num_bits = bits.ue() + 4
    if frame_num_bits > 16 or set_id > 31:
        raise _Damaged
    _skip_order(bits)
    bits.ue()  # number of reference frames
    return set_id, _Format(frame_num_bits, has_planes, may_have_gaps=bool(bits.u(1)))


def _skip_chroma(bits: _Bits) -> bool:
    """Returns whether colour planes are coded apart."""
    chroma = bits.ue()
    has_planes = chroma == 3 and bool(bits.u(1))
    bits.ue(), bits.ue()  # bit depths
    bits.u(1)
    if bits.u(1):
        for index in range(12 if chroma == 3 else 8):
            if bits.u(1):
                _skip_scaling(bits, 16 if index < 6 else 64)
    return has_planes


def _skip_scaling(bits: _Bits, size: int) -> None:
    last = now = 8
    for _ in range(size):
        if now:
            now = (last + bits.se()) % 256
        last = now or last


def _skip_order(bits: _Bits) -> None:
    """How the order of display is coded."""
    kind = bits.ue()
    if kind == 0:
        bits.ue()
    elif kind == 1:
        bits.u(1)
        bits.se(), bits.se()
        for _ in range(bits.ue()):
            bits.se()
