"""Other ways to a camera: another maker's RTSP server, MPEG-TS over UDP, HTTP and HLS, devices."""

from __future__ import annotations

import functools
import http.server
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import REPO, write_clip
from live_samples import live_source, reader, take, wait_for
from matrix import contract

SYSTEM_PYTHON = "/usr/bin/python3"
_CHECK = "import gi; gi.require_version('GstRtspServer', '1.0'); gi.require_version('Gst', '1.0')"
_X264 = "; from gi.repository import Gst; Gst.init(None); assert Gst.ElementFactory.find('x264enc')"


@functools.cache
def gstreamer_lacks() -> str:
    """Why its tests cannot run; "" if they can."""
    if not Path(SYSTEM_PYTHON).exists():
        return f"there is no {SYSTEM_PYTHON}"
    run = subprocess.run([SYSTEM_PYTHON, "-c", _CHECK + _X264], capture_output=True, text=True)
    lines = run.stderr.strip().splitlines()
    return lines[-1] if run.returncode and lines else ""


needs_gstreamer = pytest.mark.skipif(
    bool(gstreamer_lacks()),
    reason="apt install gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good "
    f"gstreamer1.0-plugins-ugly python3-gi: {gstreamer_lacks()}",
)


@contextmanager
def gstreamer_camera(codec: str, user: str = "", password: str = "") -> Iterator[int]:
    """Its port, on the loopback."""
    script = REPO / "tests/gst_rtsp_camera.py"
    with subprocess.Popen(
        [SYSTEM_PYTHON, str(script), codec, user, password], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@needs_gstreamer
def test_gstreamers_server_over_tcp_and_udp_with_a_password():
    with gstreamer_camera("H264", "root", "p@ss:word") as port:
        uri = "rtsp://{}@127.0.0.1:" + f"{port}/cam"
        for transport in ("tcp", "udp"):
            slow = {"transport": transport, "timeout": "8s"}
            with live_source(uri.format("root:p@ss:word"), slow) as source:
                frames = take(source, 15)
                assert source.live.condition.state == "live"
                assert source.live.rate_hz == pytest.approx(15, rel=0.1)
            assert np.all(np.diff([frame.pts for frame in frames]) > 0)
            num_dropped = source.lost_decode + source.live.num_dropped
            assert frames[-1].index + 1 == len(frames) + num_dropped
        with live_source(uri.format("root:wrong"), slow) as source, reader(source):
            wait_for(lambda: source.live.condition.state == "auth_failed")
            assert "wrong" not in source.live.condition.error


@needs_gstreamer
def test_gstreamers_server_with_b_frames():
    with (
        gstreamer_camera("H264B") as port,
        live_source(f"rtsp://127.0.0.1:{port}/cam", {"timeout": "8s"}) as source,
    ):
        frames = take(source, 20)
    assert np.all(np.diff([frame.pts for frame in frames]) > 0)
    assert not any(frame.is_discont for frame in frames)


@needs_gstreamer
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_motion_jpeg_over_rtsp(transport):
    """Every picture is a key frame, and what is lost harms no other."""
    slow = {"timeout": "8s", "transport": transport}
    with (
        gstreamer_camera("MJPEG") as port,
        live_source(f"rtsp://127.0.0.1:{port}/cam", slow) as source,
    ):
        frames = take(source, 20)
        assert source.info is not None
        assert source.info.codec == "mjpeg"
        assert source.live.rate_hz == pytest.approx(15, rel=0.1)
    assert np.all(np.diff([frame.pts for frame in frames]) > 0)
    assert not any(frame.is_discont or frame.is_corrupt for frame in frames)
    assert frames[-1].index + 1 == len(frames) + source.lost_decode + source.live.num_dropped


@contract("timestamps")
def test_mpeg_ts_over_udp(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", num_frames=60, size=(320, 180))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    is_over = threading.Event()

    def send() -> None:
        target = f"udp://127.0.0.1:{port}?pkt_size=1316"
        with av.open(str(clip)) as film, av.open(target, "w", format="mpegts") as out:
            stream = out.add_stream_from_template(film.streams.video[0])
            for packet in film.demux(film.streams.video[0]):
                if packet.dts is None or is_over.wait(0.02):
                    return
                packet.stream = stream
                out.mux(packet)

    def send_again() -> None:
        while not is_over.is_set():
            send()

    sender = threading.Thread(target=send_again)
    sender.start()
    try:
        with live_source(f"udp://127.0.0.1:{port}", {"timeout": "5s"}) as source:
            frames = take(source, 70)
    finally:
        is_over.set()
        sender.join()
    assert len(frames) == 70
    assert {frame.capture.source for frame in frames} == {"arrival"}
    assert np.all(np.diff([frame.pts for frame in frames]) > 0), "also where the film begins anew"


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            del args

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def write_playlist(folder: Path, is_over: bool) -> None:
    """Segments of half a second; a live playlist lacks its last line."""
    write_clip(folder / "a.mp4", num_frames=30, size=(320, 180), fps=20)
    options = {"hls_time": "0.25", "hls_list_size": "0", "hls_segment_type": "mpegts"}
    with (
        av.open(str(folder / "a.mp4")) as film,
        av.open(str(folder / "live.m3u8"), "w", format="hls", options=options) as out,
    ):
        stream = out.add_stream_from_template(film.streams.video[0])
        for packet in film.demux(film.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    text = (folder / "live.m3u8").read_text()
    assert text.rstrip().endswith("#EXT-X-ENDLIST")
    if not is_over:
        (folder / "live.m3u8").write_text(text.replace("#EXT-X-ENDLIST\n", ""))


def test_a_film_over_hls_is_paced_and_ends(tmp_path):
    write_playlist(tmp_path, is_over=True)
    slow = {"timeout": "5s"}
    with web_server(tmp_path) as address, live_source(f"{address}/live.m3u8", slow) as source:
        frames = take(source, 100)
        assert source.live.condition.state == "ended"
    assert len(frames) == 30
    media_s = float((frames[-1].pts - frames[0].pts) * frames[0].time_base)
    took_s = (frames[-1].t_ingest_ns - frames[0].t_ingest_ns) / 1e9
    assert took_s == pytest.approx(media_s, rel=0.25), "as it was taken, not as fast as it came"


def test_a_live_playlist_begins_at_its_end(tmp_path):
    write_playlist(tmp_path, is_over=False)
    slow = {"timeout": "5s"}
    with web_server(tmp_path) as address, live_source(f"{address}/live.m3u8", slow) as source:
        frames = take(source, 3)
        assert source.live.condition.state == "live"
    assert len(frames) == 3


def test_a_playlist_may_not_name_files_of_this_host(tmp_path):
    write_playlist(tmp_path, is_over=True)
    playlist = tmp_path / "live.m3u8"
    playlist.write_text(re.sub(r"(?m)^(.*\.ts)$", rf"file://{tmp_path}/\1", playlist.read_text()))
    with (
        web_server(tmp_path) as address,
        live_source(f"{address}/live.m3u8") as source,
        reader(source) as frames,
    ):
        wait_for(lambda: source.live.condition.error != "")
        assert not frames


def test_a_page_that_is_not_there(tmp_path):
    with (
        web_server(tmp_path) as address,
        live_source(f"{address}/no.m3u8") as source,
        reader(source),
    ):
        wait_for(lambda: source.live.condition.state == "not_found")


def test_a_device_that_is_not_there():
    with live_source("/dev/video-none") as source, reader(source):
        wait_for(lambda: source.live.condition.state == "not_found")
        assert "/dev/video-none" in source.live.condition.error
