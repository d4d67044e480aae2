"""A camera that sends MPEG-TS over UDP, whether anybody listens or not."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np

from streamvis.source import framecode

_TICKS = 90_000  # a second
_WRAP = 1 << 33  # of a time stamp in MPEG-TS


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class TsCamera:
    """Sends to `port`; its frames' numbers are in their pixels. `codec` and `size` may change
    while it runs."""

    port: int
    fps: float = 20.0
    codec: str = "libx264"
    size: tuple[int, int] = (320, 192)
    first_pts: int = 0  # ticks of 90 kHz
    sent_ns: list[int] = field(default_factory=list)  # Unix time, by frame

    def __enter__(self) -> TsCamera:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            target = f"udp://127.0.0.1:{self.port}?pkt_size=1316"
            options = {"mpegts_copyts": "1"}  # else it begins with a delay of its own
            with suppress(OSError), av.open(target, "w", "mpegts", options=options) as out:
                self._send(out)

    def _send(self, out: av.container.OutputContainer) -> None:
        """Until something changes."""
        made_as = self.codec, self.size
        stream = out.add_stream(self.codec, rate=Fraction(self.fps).limit_denominator(1000))
        stream.width, stream.height = self.size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.options = (
            {"preset": "ultrafast", "tune": "zerolatency"} if self.codec == "libx264" else {}
        )
        stream.codec_context.gop_size = 5
        stream.codec_context.max_b_frames = 0
        stream.codec_context.bit_rate = 1_000_000
        begun_s, begun = time.monotonic(), len(self.sent_ns)
        while (self.codec, self.size) == made_as:
            number = len(self.sent_ns)
            if self._over.wait(max(0.0, begun_s + (number - begun) / self.fps - time.monotonic())):
                return
            self.sent_ns.append(time.time_ns())
            picture = av.VideoFrame.from_ndarray(self._picture(number), format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1) / Fraction(self.fps)
            for packet in stream.encode(picture):
                self._stamp(packet, number)
                out.mux(packet)

    def _stamp(self, packet: av.Packet, number: int) -> None:
        ticks = self.first_pts + round(number * _TICKS / self.fps)
        packet.time_base = Fraction(1, _TICKS)
        packet.pts = packet.dts = ticks

    def _picture(self, number: int) -> np.ndarray:
        image = np.full((self.size[1], self.size[0], 3), 90, np.uint8)
        framecode.write(image, number, 0)
        return image
