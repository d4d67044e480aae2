"""A small RTSP camera for the tests (RFC 2326, RFC 6184): it serves, and fails on command.

H.264 over RTP, interleaved in the RTSP connection or over UDP, with RTCP sender reports. The
number of each frame is in its pixels (`source/framecode.py`), modulo the clip's length. It plays
a clip of its own making, or a video file, again and again.
"""

from __future__ import annotations

import base64
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Literal

import av
import numpy as np

from streamvis.source import framecode

CLIP_FRAMES = 120
GOP = 5
SQUARE_STEP_PX = 8  # a frame, to the right
_MTU = 1400
_CLOCK_HZ = 90_000
_NTP_EPOCH_S = 2_208_988_800  # of 1970 in NTP's count from 1900
_SSRC = 0x5EED
_START_CODE = re.compile(rb"\x00\x00\x00?\x01")
_REASON = {200: "OK", 401: "Unauthorized", 404: "Not Found", 454: "Session Not Found"}

Mode = Literal[
    "serve",
    "mute",  # accepts connections and answers nothing
    "freeze",  # answers, and sends no more media
]


@cache
def clip(size: tuple[int, int] = (320, 192), gop: int = GOP, num_frames: int = CLIP_FRAMES):
    """Access units, each a list of NAL units; key frames carry their parameter sets."""
    width, height = size
    square = np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8)
    square = square.repeat(8, 0).repeat(8, 1)  # [40, 40, 3]: where it moves to is plain to see

    def draw(index: int) -> av.VideoFrame:
        image = np.full((height, width, 3), 90, np.uint8)
        image[60:100, SQUARE_STEP_PX * index % (width - 40) :][:, :40] = square
        framecode.write(image, index, 0)
        return av.VideoFrame.from_ndarray(image, format="rgb24")

    return _encode(map(draw, range(num_frames)), size, gop)


@cache
def film(path: Path, gop: int):
    """The same of a video file, forth and back: where it begins again nothing jumps."""
    with av.open(str(path)) as container:
        planes = [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]
        stream = container.streams.video[0]
        size = stream.width, stream.height
    both = [*planes, *reversed(planes)]
    if len(both) % gop:
        raise ValueError(f"{path.name}: {len(both)} frames are no whole number of GOPs of {gop}")
    frames = (av.VideoFrame.from_ndarray(plane, format="yuv420p") for plane in both)
    return _encode(frames, size, gop)


def _encode(frames: Iterable[av.VideoFrame], size: tuple[int, int], gop: int) -> list[list[bytes]]:
    encoder = av.CodecContext.create("libx264", "w")
    (encoder.width, encoder.height), encoder.pix_fmt = size, "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(15), Fraction(1, 15)
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:repeat-headers=1",
    }
    units = [unit for frame in chain(frames, [None]) for unit in encoder.encode(frame)]
    return [[nal for nal in _START_CODE.split(bytes(unit)) if nal] for unit in units]


@dataclass
class RtspCamera:
    """Serves `rtsp://127.0.0.1:PORT/cam`. What may change while it runs are plain attributes."""

    fps: float = 60.0
    gop: int = 5
    size: tuple[int, int] = (320, 192)
    film: Path | None = None  # a video file, instead of a clip of this size
    credentials: str = ""  # "user:password"; empty lets everybody in
    path: str = "/cam"
    codec: str = "H264"  # as the SDP says
    mode: Mode = "serve"
    sends_rtcp: bool = True
    clock_offset_s: float = 0.0  # of the camera's clock to this host's
    spoil: Callable[[bytes], bytes | None] | None = None  # every RTP packet; None drops it
    rtp_jump: int = 0  # added to every RTP time stamp
    arrivals_s: list[float] = field(default_factory=list)  # monotonic, of each connection
    udp_via: Callable[[int], int] | None = None  # (client's port) -> where its media is sent
    num_plays: int = 0
    num_teardowns: int = 0
    clip_frames: int = CLIP_FRAMES  # the numbers in the pixels begin again after so many
    plays: list[list[int]] = field(default_factory=list)  # the frames that each PLAY was sent
    _listener: socket.socket | None = None
    _open: set[socket.socket] = field(default_factory=set)
    _threads: list[threading.Thread] = field(default_factory=list)
    _port: int = 0

    def __enter__(self) -> RtspCamera:
        self.began_s = time.monotonic()
        self.up()
        return self

    def __exit__(self, *exc: object) -> None:
        self.down()

    @property
    def url(self) -> str:
        return self.url_as(self.credentials)

    def url_as(self, credentials: str) -> str:
        login = f"{credentials}@" if credentials else ""
        return f"rtsp://{login}127.0.0.1:{self._port}{self.path}"

    @property
    def port(self) -> int:
        return self._port

    def up(self) -> None:
        """Listen, always on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self._port), backlog=8)
        self._port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def down(self) -> None:
        """Refuse connections and break those that are open."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def hang_up(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def num_connections(self) -> int:
        return len(self.arrivals_s)

    @property
    def units(self) -> list[list[bytes]]:
        if self.film:
            return film(self.film, self.gop)
        return clip(self.size, self.gop, self.clip_frames)

    @property
    def frames_sent(self) -> list[int]:
        """All clients together."""
        return [frame for play in self.plays for frame in play]

    def frame_now(self) -> int:
        """The number of the newest frame since the camera was switched on."""
        return int((time.monotonic() - self.began_s) * self.fps)

    def _start(self, target: Callable[[socket.socket], None], connection: socket.socket) -> None:
        thread = threading.Thread(target=target, args=(connection,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._open.add(connection)
            self.arrivals_s.append(time.monotonic())
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            _Client(self, connection).run()
        self._open.discard(connection)


class _Client:
    """One connection: answers requests, and between them sends what is due."""

    def __init__(self, camera: RtspCamera, connection: socket.socket) -> None:
        self._camera = camera
        self._connection = connection
        self._pending = b""
        self._udp: tuple[socket.socket, int, int] | None = None
        self._next: int | None = None  # the frame to send next; None before PLAY
        self._rtp_seq = 0
        self._sent: list[int] = []

    def run(self) -> None:
        while True:
            due_s = self._due_in_s()
            readable, _, _ = select.select([self._connection], [], [], due_s)
            if readable:
                data = self._connection.recv(65536)
                if not data:
                    return
                self._pending += data
                for request in self._requests():
                    self._answer(request)
            elif self._next is not None and self._camera.mode == "serve":
                self._send_frame(self._next)
                self._next += 1

    def _due_in_s(self) -> float:
        camera = self._camera
        if self._next is None or camera.mode != "serve":
            if self._next is not None:
                self._next = self._next_key()
            return 0.02
        return max(0.0, camera.began_s + self._next / camera.fps - time.monotonic())

    def _next_key(self) -> int:
        """Not one that somebody was sent already: so each number is sent once."""
        after = max(self._camera.frames_sent, default=-1) + 1
        return -(-max(self._camera.frame_now(), after) // self._camera.gop) * self._camera.gop

    def _requests(self) -> Iterator[str]:
        while self._pending:
            if self._pending[:1] == b"$":  # RTCP from the client
                length = int.from_bytes(self._pending[2:4], "big")
                if len(self._pending) < 4 + length:
                    return
                self._pending = self._pending[4 + length :]
                continue
            head, end, rest = self._pending.partition(b"\r\n\r\n")
            if not end:
                return
            self._pending = rest
            yield head.decode()

    def _answer(self, request: str) -> None:
        camera = self._camera
        if camera.mode == "mute":
            return
        method, url, _ = request.split("\r\n", 1)[0].split(" ")
        headers = dict(re.findall(r"^([\w-]+): *(.*?)\r?$", request, re.MULTILINE))
        if method == "OPTIONS":
            self._reply(headers, 200, Public="DESCRIBE, SETUP, PLAY, TEARDOWN, OPTIONS")
        elif not self._is_allowed(headers):
            self._reply(headers, 401, **{"WWW-Authenticate": 'Basic realm="camera"'})
        elif not re.sub(r"^rtsp://[^/]*", "", url).startswith(camera.path):
            self._reply(headers, 404)
        elif method == "DESCRIBE":
            self._reply(headers, 200, self._sdp(), **{"Content-Type": "application/sdp"})
        elif method == "SETUP":
            self._reply(headers, 200, Session="1;timeout=60", Transport=self._set_up(headers))
        elif method == "PLAY":
            camera.num_plays += 1
            self._next = self._next_key()
            camera.plays.append(self._sent)
            rtp_time = self._rtp_time(self._next)
            info = f"url={url};seq={self._rtp_seq};rtptime={rtp_time}"
            self._reply(headers, 200, Session="1", Range="npt=now-", **{"RTP-Info": info})
            self._send_report()
        else:
            camera.num_teardowns += method == "TEARDOWN"
            self._reply(headers, 200, Session="1")

    def _is_allowed(self, headers: dict[str, str]) -> bool:
        wanted = self._camera.credentials
        given = headers.get("Authorization", "").removeprefix("Basic ")
        return not wanted or base64.b64decode(given).decode() == wanted

    def _reply(self, asked: dict[str, str], status: int, body: str = "", **headers: str) -> None:
        lines = [f"RTSP/1.0 {status} {_REASON[status]}", f"CSeq: {asked.get('CSeq', 0)}"]
        lines += [f"{key}: {value}" for key, value in headers.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self._connection.sendall("\r\n".join([*lines, "", body]).encode())

    def _sdp(self) -> str:
        sps, pps = (
            base64.b64encode(nal).decode() for nal in self._camera.units[0] if nal[0] & 31 in (7, 8)
        )
        return "\r\n".join(
            [
                "v=0",
                "o=- 0 0 IN IP4 127.0.0.1",
                "s=camera",
                "t=0 0",
                "m=video 0 RTP/AVP 96",
                "c=IN IP4 0.0.0.0",
                f"a=rtpmap:96 {self._camera.codec}/{_CLOCK_HZ}",
                f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sps},{pps}",
                "a=control:track1",
                "",
            ]
        )

    def _set_up(self, headers: dict[str, str]) -> str:
        ports = re.search(r"client_port=(\d+)-(\d+)", headers["Transport"])
        if ports is None:
            return "RTP/AVP/TCP;unicast;interleaved=0-1"
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind(("127.0.0.1", 0))
        own = sender.getsockname()[1]
        via = self._camera.udp_via
        self._udp = sender, via(int(ports[1])) if via else int(ports[1]), int(ports[2])
        return f"RTP/AVP;unicast;client_port={ports[1]}-{ports[2]};server_port={own}-{own + 1}"

    def _rtp_time(self, frame: int) -> int:
        ticks = round(frame * _CLOCK_HZ / self._camera.fps)
        return (ticks + self._camera.rtp_jump) % (1 << 32)

    def _send_frame(self, frame: int) -> None:
        units = self._camera.units
        self._sent.append(frame)
        nals = units[frame % len(units)]
        for nal in nals:
            for payload, is_last in _fragments(nal):
                self._send_rtp(payload, frame, is_end=is_last and nal is nals[-1])
        if frame % round(self._camera.fps) == 0:
            self._send_report()

    def _send_rtp(self, payload: bytes, frame: int, is_end: bool) -> None:
        spoil = self._camera.spoil
        spoiled = spoil(payload) if spoil else payload
        head = struct.pack(
            ">BBHII", 0x80, 96 | is_end << 7, self._rtp_seq, self._rtp_time(frame), _SSRC
        )
        self._rtp_seq = (self._rtp_seq + 1) % (1 << 16)
        if spoiled is not None:
            self._send(0, head + spoiled)

    def _send_report(self) -> None:
        """An RTCP sender report: this moment on the camera's clock, and in RTP's count."""
        camera = self._camera
        if not camera.sends_rtcp:
            return
        ntp_s = time.time() + camera.clock_offset_s + _NTP_EPOCH_S
        ticks = round((time.monotonic() - camera.began_s) * _CLOCK_HZ) + camera.rtp_jump
        whole, fraction = int(ntp_s), int(ntp_s % 1 * (1 << 32))
        report = struct.pack(
            ">BBHIIIIII", 0x80, 200, 6, _SSRC, whole, fraction, ticks % (1 << 32), 0, 0
        )
        self._send(1, report)

    def _send(self, channel: int, data: bytes) -> None:
        if self._udp is not None:
            sender, *ports = self._udp
            sender.sendto(data, ("127.0.0.1", ports[channel]))
        else:
            self._connection.sendall(struct.pack(">cBH", b"$", channel, len(data)) + data)


def _fragments(nal: bytes) -> Iterator[tuple[bytes, bool]]:
    """RTP payloads of one NAL unit, and whether each is its last: FU-A where it is too long."""
    if len(nal) <= _MTU:
        yield nal, True
        return
    indicator, kind = nal[0] & 0xE0 | 28, nal[0] & 31
    for start in range(1, len(nal), _MTU):
        part = nal[start : start + _MTU]
        is_first, is_last = start == 1, start + _MTU >= len(nal)
        yield bytes([indicator, is_first << 7 | is_last << 6 | kind]) + part, is_last
