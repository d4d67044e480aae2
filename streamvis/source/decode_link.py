"""Between a camera's source and its decode process: small messages over a socket, pictures
through shared memory.

The process reads what comes from the network, so it is not trusted: messages are JSON and are
checked. Each is one datagram, so that a process that is stopped in mid-message blocks nobody.
The memory is anonymous: nothing is left behind, however either side dies.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from streamvis.types import (
    MOTION_BLOCK_PX,
    AccessUnit,
    CameraInfo,
    CaptureSource,
    CaptureTime,
    Frame,
    LetterBox,
)

_UNIT_PATIENCE_S = 2.0  # for all of an access unit: the thread does nothing else meanwhile
_SEND_PATIENCE_S = 2.0  # for a process that reads nothing
_MAX_INTEGER = 1 << 63
NUM_SLOTS = 4  # pictures on their way: what comes while all are taken is dropped
_CHUNK_BYTES = 1 << 16
_MESSAGE_BYTES = 1 << 17
_MAX_UNIT_BYTES = 1 << 26
_COUNT_BYTES = 64  # before the slots: how many packets were read, alone in its cache line
_SIZE_BYTES = 8


class LinkBroken(Exception):
    """The other side is gone, or what it says makes no sense."""


@dataclass(frozen=True)
class Order:
    """Read this camera."""

    uri: str  # with its credentials: it travels in this socket only
    transport: str
    timeout_s: float
    is_low_delay: bool
    options: Mapping[str, str]
    zero_ns: int | None  # monotonic: when media time 0 came in; None if this is what sets it
    last_ns: int  # media time of the last frame before; what follows must be later
    wants_units: bool
    with_motion: bool = False  # frames carry the codec's motion where it tells
    is_verifying: bool = True  # that a TLS server is who it says

    @property
    def is_again(self) -> bool:
        """Not the first connection: it begins with a discontinuity."""
        return self.zero_ns is not None


@dataclass(frozen=True)
class Over:
    """The connection has ended, or never came about."""

    state: str  # "lost" is what any camera may go through; else why another try may not help
    error: str
    num_packets: int = 0
    lost_decode: int = 0


@dataclass(frozen=True)
class Dropped:
    """A frame was decoded and all slots were taken."""

    index: int
    lost_decode: int


Report: TypeAlias = CameraInfo | Frame | AccessUnit | Dropped | Over


class Slots:
    """The shared memory: a packet counter, and room for a few pictures with their motion."""

    def __init__(self, fd: int, input_size: tuple[int, int]) -> None:
        """`input_size` is (width, height) px. `fd` stays the caller's."""
        width, height = input_size
        self.shape = height, width, 3
        self._memory = mmap.mmap(fd, self.num_bytes(input_size))
        self._pictures = self._array(np.uint8, self.shape, _COUNT_BYTES)
        after_pictures = _COUNT_BYTES + self._pictures.nbytes
        self._motion = self._array(np.int16, _motion_shape(input_size), after_pictures)
        self._count = np.frombuffer(self._memory, np.int64, count=1)

    @staticmethod
    def num_bytes(input_size: tuple[int, int]) -> int:
        pictures = NUM_SLOTS * 3 * input_size[0] * input_size[1]
        return _COUNT_BYTES + pictures + NUM_SLOTS * 2 * math.prod(_motion_shape(input_size))

    @property
    def num_packets(self) -> int:
        return int(self._count[0])

    @num_packets.setter
    def num_packets(self, count: int) -> None:
        self._count[0] = count

    def write(
        self, slot: int, image: NDArray[np.uint8], motion: NDArray[np.int16] | None = None
    ) -> None:
        self._pictures[slot] = image
        if motion is not None:
            self._motion[slot] = motion

    def read(self, slot: int) -> NDArray[np.uint8]:
        """A copy."""
        picture: NDArray[np.uint8] = self._pictures[slot].copy()
        return picture

    def read_motion(self, slot: int) -> NDArray[np.int16]:
        """A copy."""
        motion: NDArray[np.int16] = self._motion[slot].copy()
        return motion

    def _array(self, dtype: type, shape: tuple[int, ...], offset: int) -> NDArray[Any]:
        """[NUM_SLOTS, *shape] of the memory."""
        count = NUM_SLOTS * math.prod(shape)
        flat: NDArray[Any] = np.frombuffer(self._memory, dtype, count, offset)
        return flat.reshape(NUM_SLOTS, *shape)


class SourceEnd:
    """Gives orders, gets reports. One thread only."""

    def __init__(self, link: socket.socket, slots: Slots, camera: str) -> None:
        self._socket = link
        self._slots = slots
        self._camera = camera

    @property
    def num_packets(self) -> int:
        """Read so far in this connection; also when the process is dead."""
        return self._slots.num_packets

    def give(self, order: Order) -> None:
        self._slots.num_packets = 0
        plain = {**vars(order), "options": dict(order.options)}
        _send(self._socket, plain, _SEND_PATIENCE_S)

    def receive(self, timeout_s: float) -> Report | None:
        """The next report; None when none came in time. Raises LinkBroken."""
        message = _receive(self._socket, timeout_s)
        if message is None:
            return None
        try:
            plain = json.loads(message)
            if not isinstance(plain, dict):
                raise ValueError(f"expected an object, got {type(plain).__name__}")
            return self._read(plain)
        except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
            raise LinkBroken(f"its decode process sent nonsense ({error!r})") from None

    def close(self) -> None:
        self._socket.close()

    def _read(self, message: dict[str, Any]) -> Report:
        kind = message.pop("kind")
        if kind == "frame":
            return self._read_frame(message)
        if kind == "unit":
            return self._read_unit(message)
        if kind == "info":
            return _read_info(message)
        if kind == "dropped":
            return Dropped(*_integers([message["index"], message["lost_decode"]]))
        if kind == "over":
            counts = _integers([message["num_packets"], message["lost_decode"]])
            return Over(str(message["state"]), str(message["error"]), *counts)
        raise ValueError(f"no such report: {kind!r}")

    def _read_frame(self, message: dict[str, Any]) -> Frame:
        slot = message.pop("slot")
        image = self._slots.read(slot)
        motion = self._slots.read_motion(slot) if message.pop("has_motion") else None
        _send_raw(self._socket, bytes([slot]), _SEND_PATIENCE_S)
        letterbox = LetterBox(*_integers(message.pop("letterbox")))
        time_base = Fraction(*_integers(message.pop("time_base")))
        capture = _read_capture(message.pop("capture"))
        _integers(message.values())
        return Frame(
            image=image,
            camera=self._camera,
            letterbox=letterbox,
            time_base=time_base,
            capture=capture,
            motion=motion,
            **message,
        )

    def _read_unit(self, message: dict[str, Any]) -> AccessUnit:
        """Its bytes follow in datagrams of their own: the process sends them at once."""
        sizes = _integers(message.pop("num_bytes"))
        if min(sizes) < 0 or sum(sizes) > _MAX_UNIT_BYTES:
            raise ValueError(f"an access unit of {sizes} bytes")
        deadline_s = time.monotonic() + _UNIT_PATIENCE_S
        data, extradata = (self._read_bytes(size, deadline_s) for size in sizes)
        width, height = _integers(message.pop("size"))
        _integers([message["index"], message["pts"] or 0, message["dts"] or 0])
        return AccessUnit(
            data=data,
            extradata=extradata,
            time_base=Fraction(*_integers(message.pop("time_base"))),
            capture=_read_capture(message.pop("capture")),
            size=(width, height),
            **message,
        )

    def _read_bytes(self, count: int, deadline_s: float) -> bytes:
        parts = []
        while count > 0:
            left_s = deadline_s - time.monotonic()
            part = _receive(self._socket, left_s) if left_s > 0 else None
            if part is None:
                raise LinkBroken("its decode process stopped in the middle of an access unit")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


class DecoderEnd:
    """Gets orders, sends reports. One thread only."""

    def __init__(self, link: socket.socket, slots: Slots) -> None:
        self._socket = link
        self._slots = slots
        self._free = list(range(NUM_SLOTS))
        self._is_anew = False  # a frame that was dropped began anew

    def next_order(self) -> Order:
        """Wait for it; raises LinkBroken when there will be no more."""
        self._free = list(range(NUM_SLOTS))
        while True:
            message = _receive(self._socket, None)
            assert message is not None
            if len(message) > 1:  # else a slot of the connection before
                return Order(**json.loads(message))

    def note_packets(self, count: int) -> None:
        self._slots.num_packets = count

    def take_back_slots(self) -> None:
        """Raises LinkBroken when the source is gone."""
        while (message := _receive(self._socket, 0)) is not None:
            self._free.append(message[0])

    def send_info(self, info: CameraInfo) -> None:
        self._say("info", dict(vars(info)))

    def send_frame(self, frame: Frame) -> None:
        """Or only that it was dropped, if there is no room."""
        self.take_back_slots()
        self._is_anew |= frame.is_discont
        if not self._free:
            self._say("dropped", {"index": frame.index, "lost_decode": frame.lost_decode})
            return
        slot = self._free.pop()
        self._slots.write(slot, frame.image, frame.motion)
        plain = {**vars(frame), "slot": slot, "has_motion": frame.motion is not None}
        plain["is_discont"], self._is_anew = self._is_anew, False
        del plain["image"], plain["motion"], plain["camera"]
        self._say("frame", {**plain, "letterbox": list(vars(frame.letterbox).values())})

    def send_unit(self, unit: AccessUnit) -> None:
        plain = dict(vars(unit))
        parts = [plain.pop("data"), plain.pop("extradata")]
        self._say("unit", {**plain, "num_bytes": [len(part) for part in parts]})
        for part in parts:
            for chunk in _chunks(part):
                _send_raw(self._socket, chunk)

    def send_over(self, over: Over) -> None:
        self._say("over", dict(vars(over)))

    def _say(self, kind: str, message: dict[str, Any]) -> None:
        plain = {key: _to_plain(value) for key, value in message.items()}
        _send(self._socket, {"kind": kind, **plain})


def make_pair() -> tuple[socket.socket, socket.socket]:
    """(source's, decoder's)"""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def make_memory(input_size: tuple[int, int]) -> int:
    """A file descriptor of memory that `Slots` fits into."""
    fd = os.memfd_create("streamvis-slots")
    try:
        os.ftruncate(fd, Slots.num_bytes(input_size))
    except OSError:
        os.close(fd)
        raise
    return fd


def _motion_shape(input_size: tuple[int, int]) -> tuple[int, int, int]:
    """Of Frame.motion."""
    width, height = input_size
    return height // MOTION_BLOCK_PX, width // MOTION_BLOCK_PX, 2


def _integers(values: Collection[object]) -> list[int]:
    checked = [v for v in values if isinstance(v, int) and -_MAX_INTEGER <= v < _MAX_INTEGER]
    if len(checked) != len(values):
        raise ValueError("expected integers of 64 bits")
    return checked


def _read_info(message: dict[str, Any]) -> CameraInfo:
    width, height = _integers([message["width"], message["height"]])
    fps = float(message["fps"])
    if not math.isfinite(fps):
        raise ValueError(f"a frame rate of {fps}")
    return CameraInfo(width, height, fps, str(message["codec"]))


def _read_capture(message: dict[str, Any]) -> CaptureTime:
    t_ns, uncertainty_ns = _integers([message["t_ns"], message["uncertainty_ns"]])
    if message["source"] not in get_args(CaptureSource):
        raise ValueError(f"no source of capture times: {message['source']!r}")
    return CaptureTime(t_ns, message["source"], uncertainty_ns)


def _to_plain(value: object) -> object:
    if isinstance(value, Fraction):
        return [value.numerator, value.denominator]
    if isinstance(value, CaptureTime):
        return dict(vars(value))
    return value


def _chunks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _CHUNK_BYTES):
        yield data[start : start + _CHUNK_BYTES]


def _send(link: socket.socket, message: Mapping[str, Any], timeout_s: float | None = None) -> None:
    _send_raw(link, json.dumps(message).encode(), timeout_s)


def _send_raw(link: socket.socket, data: bytes, timeout_s: float | None = None) -> None:
    try:
        link.settimeout(timeout_s)
        link.send(data)
    except TimeoutError:
        raise LinkBroken("its decode process takes nothing any more") from None
    except OSError as error:
        raise LinkBroken(f"its decode process is gone ({error.strerror})") from None


def _receive(link: socket.socket, timeout_s: float | None) -> bytes | None:
    """One datagram; None when none came in time, LinkBroken at the end."""
    try:
        link.settimeout(timeout_s)
        data = link.recv(_MESSAGE_BYTES)
    except (TimeoutError, BlockingIOError):
        return None
    except OSError as error:
        raise LinkBroken(f"its decode process is gone ({error.strerror})") from None
    if not data:
        raise LinkBroken("its decode process died")
    return data
