"""Live cameras that fail in every way: what a subscriber sees, and what the ledger says."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import ExitStack
from itertools import pairwise

import av
import numpy as np
import pytest
from live_samples import PATIENCE_S, live_source, reader, wait_for
from live_session import (
    KINDS,
    SIZE,
    check_no_gap,
    check_pixels,
    decode_process,
    first_result_after,
    ledger_of,
    live_config,
    seconds_to_result,
    wait_for_state,
)
from matrix import contract
from relay import TcpRelay, UdpRelay
from reuse_camera import Camera, check_equal
from rtsp_server import RtspCamera
from running import check_books, running
from ts_camera import TsCamera, free_port

from streamvis.back import PerceptionBack, build_back
from streamvis.detect.config import DetectorConfig
from streamvis.encode.config import EncoderConfig
from streamvis.source import framecode
from streamvis.source.decode_link import Order
from streamvis.source.pictures import PictureSource, packet_of
from streamvis.source.stream import StreamPackets
from streamvis.track.config import TrackerConfig
from streamvis.types import Frame
from streamvis.wire import InfoMessage

HOUR_NS = 3_600_000_000_000
RECOVERY_S = 2.0  # promise (b)
ENCODER = EncoderConfig(input_size=SIZE, dtype="fp32", device="cpu")
SCHEDULING_NS = 20_000_000  # of the camera in this test, not of what is tested
UNSEEN = 8  # grey levels: the last bits of a slice make no more
FAULTS = ("down", "cut", "silent", "frozen")


def suffer(run, camera: RtspCamera, fault: str, away_s: float) -> None:
    """One fault from its beginning to its end."""
    if fault == "cut":
        camera.hang_up()
        wait_for_state(run, "gate", "reconnecting")
        return
    if fault == "down":
        camera.down()
    else:
        camera.mode = "mute" if fault == "silent" else "freeze"
    wait_for_state(run, "gate", "stale", "reconnecting", "timeout")
    threading.Event().wait(away_s)
    if fault == "down":
        camera.up()
    camera.mode = "serve"


@contract("rtsp_server", "bc")
def test_a_server_that_fails_and_returns_is_served_again_in_two_seconds(tmp_path, times, note):
    rng, rounds = np.random.default_rng(7), times(1, 10)
    seconds = {fault: [] for fault in FAULTS}
    with (
        RtspCamera(fps=15, clip_frames=600 + 600 * rounds) as camera,
        running(live_config(tmp_path, {"gate": camera.url}, {"timeout": "1s"}), kinds=KINDS) as run,
    ):
        run.more_results("gate", 5)
        for fault in FAULTS * rounds:
            suffer(run, camera, fault, away_s=float(rng.uniform(0, 1.5)))
            seconds[fault].append(seconds_to_result(run, "gate", camera))
            run.more_results("gate", 5)
        camera.spoil = lambda payload: payload[: len(payload) // 2]
        run.until(lambda: run.results("gate")[-1].is_corrupt, "a damaged picture")
        camera.spoil = None
        run.until(lambda: not run.results("gate")[-1].is_corrupt, "a sound one")
        run.more_results("gate", 5)
        summary = run.stop()
    unread = check_pixels(run, summary, "gate", camera)
    for fault, found in seconds.items():
        note(f"{fault}: p50", float(np.median(found)), "s")
        note(f"{fault}: max", max(found), "s")
    note("sent and never read", unread / len(camera.plays), "frames a connection")
    # A server that answers nothing is given up after `timeout`, and until then not tried again.
    assert max(seconds.pop("silent")) < RECOVERY_S + 1
    assert max(max(found) for found in seconds.values()) < RECOVERY_S


@contract("decode_process", "a1ce")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_a_decode_process_that_dies_or_hangs_is_only_its_own_cameras_loss(
    number, tmp_path, times, note
):
    seconds, rounds = [], times(1, 10)
    clip_frames = 300 + 300 * rounds
    with (
        RtspCamera(fps=8, clip_frames=clip_frames) as gate,
        RtspCamera(fps=8, clip_frames=clip_frames) as yard,
    ):
        uris = {"gate": gate.url, "yard": yard.url}
        with running(live_config(tmp_path, uris, {"timeout": "1s"}), kinds=KINDS) as run:
            run.more_results("gate", 5)
            run.more_results("yard", 5)
            fault_ns = time.monotonic_ns()
            for _ in range(rounds):
                victim = decode_process(gate)
                began_ns = time.monotonic_ns()
                victim.send_signal(number)
                wait_for_state(run, "gate", "stale", "reconnecting")
                first_result_after(run, "gate", began_ns + 200_000_000)
                seconds.append((time.monotonic_ns() - began_ns) / 1e9)
                run.more_results("gate", 5)
            summary = run.stop()
    unread = check_pixels(run, summary, "gate", gate)
    check_pixels(run, summary, "yard", yard)
    check_no_gap(run, "yard", fault_ns)
    lost = ledger_of(summary, "gate").lost
    assert lost["decode"] <= 4 * len(seconds), "what the process had in hand"
    assert max(seconds) < 15
    name = "killed" if number == signal.SIGKILL else "hung"
    note(f"{name}: results again", max(seconds), "s")
    note(f"{name}: lost in decode", lost["decode"] / len(seconds), "frames")
    note(f"{name}: sent and never read", unread / len(seconds), "frames")


@contract("none_at_start", "g")
def test_no_camera_comes_and_the_pipeline_is_up_with_a_typed_state_for_each(tmp_path, note):
    with (
        RtspCamera(credentials="root:secret") as locked,
        RtspCamera(mode="mute") as mute,
        RtspCamera(mode="freeze") as frozen,
        RtspCamera(codec="VVVV") as strange,
        RtspCamera(path="/door") as elsewhere,
        RtspCamera() as gone,
    ):
        gone.down()
        states = {
            "locked": (locked.url_as("root:wrong"), "auth_failed"),
            "mute": (mute.url, "timeout"),
            "frozen": (frozen.url, "timeout"),
            "strange": (strange.url, "codec_unsupported"),
            "elsewhere": (elsewhere.url.replace("door", "gate"), "not_found"),
            "gone": (gone.url, "not_found"),
            "nothing": ("udp://127.0.0.1:9", "timeout"),
            "device": ("/dev/video-none", "not_found"),
        }
        uris = {name: uri for name, (uri, _) in states.items()}
        with running(live_config(tmp_path, uris, {"timeout": "1s"})) as run:
            wanted = {name: state for name, (_, state) in states.items()}
            run.until(lambda: run.states() == wanted, "every camera's state")
            began_s = time.monotonic()
            summary = run.stop()
            took_s = time.monotonic() - began_s
    note("stop", took_s, "s")
    assert took_s < 5
    assert summary.exit_code == 3
    assert {status.camera: status.state for status in summary.cameras} == wanted
    assert all(status.error for status in summary.cameras)
    assert "wrong" not in repr(summary)


def flip(payload: bytes, rng: np.random.Generator) -> bytes | None:
    data = bytearray(payload)
    if len(data) > 40:
        data[int(rng.integers(20, len(data)))] ^= 1 << int(rng.integers(8))
    return bytes(data)


def truncate(payload: bytes, rng: np.random.Generator) -> bytes | None:
    return payload[: int(rng.integers(len(payload) // 4, len(payload)))]


def lose(payload: bytes, rng: np.random.Generator) -> bytes | None:
    del payload, rng


def without_parameters(payload: bytes, rng: np.random.Generator) -> bytes | None:
    """Neither SPS nor PPS, and key frames that need them are damaged besides."""
    kind = payload[0] & 31
    return None if kind in (7, 8) else truncate(payload, rng) if kind == 5 else payload


@pytest.fixture(scope="module")
def back() -> PerceptionBack:
    return build_back(ENCODER, DetectorConfig(score=0.01), TrackerConfig(), epoch="e")


def number_of(frame: Frame) -> int:
    """In its pixels; -1 if they are damaged."""
    code = framecode.read(frame.image)
    return -1 if code is None else code.index


def sound_pictures(camera: RtspCamera) -> list[np.ndarray]:
    """What an undamaged stream gives, by the number in the pixels."""
    decoder = av.CodecContext.create("h264", "r")
    packets = [packet_of(b"".join(b"\0\0\0\1" + nal for nal in nals)) for nals in camera.units]
    pictures = [picture for packet in [*packets, None] for picture in decoder.decode(packet)]
    return [picture.to_ndarray(format="rgb24") for picture in pictures]


def is_sound(frame: Frame, sound: list[np.ndarray]) -> bool:
    number = number_of(frame)
    return number >= 0 and np.abs(frame.image.astype(int) - sound[number]).max() < UNSEEN


def check_reuse(frames: list[Frame], back: PerceptionBack, name: str) -> int:
    """Nothing builds on a damaged picture: what is sent for it, and for the first sound one after
    it, is everything, and the outputs are the dense run's. Returns how often that was."""
    reuse = Camera(back, f"reuse {name}", ENCODER, policy="threshold")
    dense = Camera(back, f"dense {name}", ENCODER)
    num_reused = num_resyncs = 0
    for before, frame in pairwise(frames):
        found, want = reuse.step(frame), dense.step(frame)
        num_reused += found.tiles.encoded < found.tiles.total
        if before.is_corrupt or frame.is_corrupt:
            check_equal(reuse, found, dense, want)
            num_resyncs += not frame.is_corrupt
    assert num_reused > 0
    return num_resyncs


@contract("bitstream", "cg")
@pytest.mark.parametrize("damage", [flip, truncate, lose, without_parameters])
def test_a_damaged_stream_is_flagged_counted_and_never_reused(damage, back, times, note):
    rng, count = np.random.default_rng(11), times(50, 1500)
    patience_s = PATIENCE_S + count / 20

    def spoil(payload: bytes) -> bytes | None:
        return damage(payload, rng) if rng.random() < 0.08 else payload

    with (
        RtspCamera(fps=120, gop=10, clip_frames=2 * count + 600) as camera,
        live_source(camera.url, patience_s=patience_s) as source,
        reader(source) as frames,
    ):
        wait_for(lambda: len(frames) >= 10)
        camera.spoil = spoil
        wait_for(lambda: len(frames) >= 10 + count, patience_s)
        camera.spoil = None
        sound_from = camera.frames_sent[-1] + 1 + camera.gop  # a key frame lies between
        wait_for(lambda: number_of(frames[-1]) > sound_from + 10)
        assert source.live.num_connections == 1
        num_sent = len(camera.frames_sent)
    assert frames[-1].index + 1 == len(frames) + source.lost_decode + source.live.num_dropped
    sound = sound_pictures(camera)
    last = [frame for frame in frames if number_of(frame) >= sound_from]
    assert all(not frame.is_corrupt and is_sound(frame, sound) for frame in last)
    if damage is not flip:  # one that leaves another valid picture nobody can see
        assert all(frame.is_corrupt or is_sound(frame, sound) for frame in frames)
    num_damaged = sum(frame.is_corrupt for frame in frames)
    assert num_damaged > 0
    assert check_reuse(frames, back, damage.__name__) > 0
    name = damage.__name__.replace("_", " ")
    note(f"{name}: flagged", num_damaged / len(frames) * 100, "%")
    note(f"{name}: sent and not in the books", num_sent - 1 - frames[-1].index, "frames")


@contract("new_stream", "a1c")
def test_another_size_or_codec_re_initialises_that_camera_alone(tmp_path, note):
    port = free_port()
    with (
        RtspCamera(fps=10, clip_frames=900) as gate,
        RtspCamera(fps=10, clip_frames=900) as yard,
        TsCamera(port, fps=25) as belt,
    ):
        uris = {"gate": gate.url, "yard": yard.url, "belt": f"udp://127.0.0.1:{port}"}
        with running(live_config(tmp_path, uris), kinds=KINDS) as run:
            for name in uris:
                run.more_results(name, 5)
            fault_ns = time.monotonic_ns()
            gate.size = (480, 256)
            run.until(lambda: run.results("gate")[-1].source_size == (480, 256), "the new size")
            wait_for_info(run, "gate", width=480, height=256, codec="h264")
            belt.codec = "mpeg4"
            began_ns = time.monotonic_ns()
            wait_for_state(run, "belt", "stale", "reconnecting")
            wait_for_info(run, "belt", width=320, height=192, codec="mpeg4")
            again = first_result_after(run, "belt", began_ns + 1_000_000_000)
            seconds = (time.monotonic_ns() - began_ns) / 1e9
            run.more_results("belt", 5)
            summary = run.stop()
    check_no_gap(run, "yard", fault_ns)
    check_pixels(run, summary, "yard", yard)
    for name in ("gate", "belt"):
        check_books(run, summary, name)
        (change,) = (m for m in run.results(name)[1:] if m.is_discont)
        assert change.packet_kind == "I"
    assert again.is_discont
    sizes = [m.source_size for m in run.results("gate")]
    assert list(dict.fromkeys(sizes)) == [(320, 192), (480, 256)]
    note("results of the new codec", seconds, "s")
    assert seconds < 5


def wait_for_info(run, camera: str, **wanted: object) -> None:
    def is_told() -> bool:
        infos = [m for m in run.messages if isinstance(m, InfoMessage) and camera in m.cameras]
        return bool(infos) and wanted.items() <= vars(infos[-1].cameras[camera]).items()

    run.until(is_told, f"{camera} as {wanted}")


CLOCKS = {
    "declared 15, is 7": {"fps": 7},
    "declared 15, is 40": {"fps": 40},
    "wraps after 2 s": {"rtp_jump": (1 << 32) - 2 * 90_000},
}


@contract("timestamps", "c")
@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("sends_rtcp", [True, False], ids=["rtcp", "arrival"])
def test_capture_times_are_right_within_what_they_say(clock, sends_rtcp, note):
    options = {"fps": 20.0, **CLOCKS[clock]}
    camera = RtspCamera(sends_rtcp=sends_rtcp, clip_frames=900, **options)
    with camera, live_source(camera.url) as source, reader(source) as frames:
        to_unix_ns = time.time_ns() - time.monotonic_ns()
        wait_for(lambda: bool(frames) and frames[-1].index >= 3.5 * camera.fps)
    assert not any(frame.is_discont for frame in frames)
    assert np.all(np.diff([frame.pts for frame in frames]) > 0)
    assert source.live.rate_hz == pytest.approx(camera.fps, rel=0.05)
    assert frames[-1].capture.source == ("rtcp" if sends_rtcp else "arrival")
    errors_ns = [frame.capture.t_ns - taken_ns(camera, frame) - to_unix_ns for frame in frames]
    for frame, error_ns in zip(frames, errors_ns, strict=True):
        assert abs(error_ns) < frame.capture.uncertainty_ns + SCHEDULING_NS
    kind = frames[-1].capture.source
    note(f"{kind}, {clock}: largest error", max(map(abs, errors_ns)) / 1e6, "ms")


@contract("timestamps", "c")
def test_the_time_stamps_of_mpeg_ts_wrap_and_nobody_sees_it(note):
    port = free_port()
    soon = (1 << 33) - 2 * 90_000
    with (
        TsCamera(port, fps=20, first_pts=soon) as camera,
        live_source(f"udp://127.0.0.1:{port}", {"timeout": "5s"}) as source,
        reader(source) as frames,
    ):
        wait_for(lambda: len(frames) >= 70)
    assert not any(frame.is_discont for frame in frames)
    assert np.diff([frame.pts for frame in frames]) == pytest.approx(90_000 / 20, abs=1)
    errors_ns = [abs(frame.capture.t_ns - camera.sent_ns[number_of(frame)]) for frame in frames]
    for frame, error_ns in zip(frames, errors_ns, strict=True):
        assert error_ns < frame.capture.uncertainty_ns + SCHEDULING_NS
    note("mpeg-ts wraps: largest error", max(errors_ns) / 1e6, "ms")


def taken_ns(camera: RtspCamera, frame: Frame) -> int:
    """Monotonic."""
    return round((camera.began_s + number_of(frame) / camera.fps) * 1e9)


class Clocks:
    """Stands for the module `time`; the wall clock can be set."""

    def __init__(self) -> None:
        self.set_by_ns = 0
        self.monotonic, self.monotonic_ns = time.monotonic, time.monotonic_ns

    def time_ns(self) -> int:
        return time.time_ns() + self.set_by_ns


@contract("host_clock", "c")
@pytest.mark.parametrize("hours", [1, -1])
@pytest.mark.parametrize("sends_rtcp", [True, False], ids=["rtcp", "arrival"])
def test_when_the_hosts_clock_is_set_capture_times_say_how_far_off_they_may_be(
    hours, sends_rtcp, monkeypatch
):
    clocks = Clocks()
    monkeypatch.setattr("streamvis.source.stream.time", clocks)
    with RtspCamera(fps=60, sends_rtcp=sends_rtcp) as camera:
        to_unix_ns = time.time_ns() - time.monotonic_ns()
        source = PictureSource(StreamPackets(order_for(camera.url)), "gate", SIZE)
        frames = [take_one(source) for _ in range(20)]
        clocks.set_by_ns = hours * HOUR_NS
        frames += [take_one(source) for _ in range(20)]
        source.close()
    for frame in frames:
        error_ns = abs(frame.capture.t_ns - taken_ns(camera, frame) - to_unix_ns)
        assert error_ns < frame.capture.uncertainty_ns + SCHEDULING_NS
    assert max(frame.capture.uncertainty_ns for frame in frames[:15]) < 1_000_000_000
    assert min(frame.capture.uncertainty_ns for frame in frames[-15:]) > 0.99 * HOUR_NS
    assert not any(frame.is_discont for frame in frames), "media time knows nothing of it"


def order_for(uri: str) -> Order:
    return Order(uri, "tcp", 5.0, True, {}, zero_ns=None, last_ns=0, wants_units=False)


def take_one(source: PictureSource) -> Frame:
    while source.grab() is not None:
        frame = source.retrieve(time.monotonic_ns())
        if frame is not None:
            return frame
    raise AssertionError("it ended")


@contract("host_clock", "c")
def test_watchdogs_and_time_outs_see_nothing_of_the_hosts_clock(tmp_path, monkeypatch):
    real_s, real_ns = time.time, time.time_ns
    with RtspCamera(fps=10, clip_frames=600) as camera:
        uris = {"gate": camera.url}
        with running(live_config(tmp_path, uris, {"timeout": "1s"}), kinds=KINDS) as run:
            run.more_results("gate", 10)
            fault_ns = time.monotonic_ns()
            for hours in (1, -1, 0):
                monkeypatch.setattr(time, "time", lambda h=hours: real_s() + 3600 * h)
                monkeypatch.setattr(time, "time_ns", lambda h=hours: real_ns() + HOUR_NS * h)
                run.more_results("gate", 10)
            summary = run.stop()
    check_no_gap(run, "gate", fault_ns)
    check_pixels(run, summary, "gate", camera)
    latencies = [m.stamps_ns["tracked"] - m.stamps_ns["ingest"] for m in run.results("gate")]
    assert 0 < min(latencies) <= max(latencies) < 10_000_000_000


@contract("network", "c")
def test_delay_and_jitter_over_tcp_lose_nothing(note):
    slow = {"timeout": "5s", "stale_after": "2s"}
    with (
        RtspCamera(fps=20, clip_frames=900) as camera,
        TcpRelay(camera.port, delay_ms=80, jitter_ms=60) as relay,
        live_source(camera.url.replace(f":{camera.port}", f":{relay.port}"), slow) as source,
        reader(source) as frames,
    ):
        to_unix_ns = time.time_ns() - time.monotonic_ns()
        wait_for(lambda: len(frames) >= 40)
        num_before = len(frames)
        relay.cut()
        wait_for(lambda: len(frames) >= num_before + 40)
    assert source.live.num_connections == 2
    assert frames[-1].index + 1 == len(frames) + source.lost_decode + source.live.num_dropped
    (change,) = (at for at, frame in enumerate(frames) if frame.is_discont)
    damaged = {at for at, frame in enumerate(frames) if frame.is_corrupt}
    assert damaged <= {change - 1}  # the one that was on its way when the connection was cut
    for part in (frames[:change], frames[change:]):
        numbers = [number_of(frame) - frame.index for frame in part]
        assert len(set(numbers)) == 1
    errors_ns = []
    for frame in frames:
        errors_ns.append(abs(frame.capture.t_ns - taken_ns(camera, frame) - to_unix_ns))
        assert errors_ns[-1] < frame.capture.uncertainty_ns + SCHEDULING_NS
    note("tcp, 80 to 140 ms: capture off by at most", max(errors_ns) / 1e6, "ms")


@contract("network", "c")
def test_loss_over_udp_is_flagged_and_the_books_stay_exact(note):
    with ExitStack() as stack:
        relays: list[UdpRelay] = []

        def via(port: int) -> int:
            relays.append(stack.enter_context(UdpRelay(port, delay_ms=20, seed=3)))
            return relays[-1].port

        camera = stack.enter_context(RtspCamera(fps=60, gop=10, clip_frames=900, udp_via=via))
        source = stack.enter_context(live_source(camera.url, {"transport": "udp"}))
        frames = stack.enter_context(reader(source))
        wait_for(lambda: len(frames) >= 20)
        relays[-1].loss, num_before = 0.05, len(frames)
        wait_for(lambda: len(frames) >= num_before + 120)
        relays[-1].loss, num_lossy = 0.0, len(frames)
        sound_from = camera.frames_sent[-1] + 1 + camera.gop
        wait_for(lambda: number_of(frames[-1]) > sound_from + 10)
        sound = sound_pictures(camera)
        num_sent = len(camera.frames_sent)
    lossy = frames[num_before:num_lossy]
    assert relays[-1].num_lost > 0
    assert frames[-1].index + 1 == len(frames) + source.lost_decode + source.live.num_dropped
    assert all(frame.is_corrupt or is_sound(frame, sound) for frame in frames)
    assert not any(frame.is_corrupt for frame in frames if number_of(frame) >= sound_from)
    note("udp, 5 % lost: packets", relays[-1].num_lost, "")
    note("frames flagged", 100 * sum(f.is_corrupt for f in lossy) / len(lossy), "%")
    note("frames in no book", num_sent - 1 - frames[-1].index, "")
