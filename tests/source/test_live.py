"""Live cameras against our own RTSP server: states, times, numbers, and who is to blame."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import psutil
import pytest
from live_samples import SIZE, live_source, reader, take, wait_for
from matrix import contract
from rtsp_server import CLIP_FRAMES, GOP, SQUARE_STEP_PX, RtspCamera

from streamvis.source import framecode
from streamvis.source.config import SourceConfig
from streamvis.source.open import open_source

MAX_GROWTH_BYTES = 12_000_000  # allocators' noise: a picture that stays each time makes more


def number_in(frame) -> int:
    code = framecode.read(frame.image)
    assert code is not None, "the picture is damaged"
    return code.index


def test_frames_come_in_order_numbered_with_the_cameras_own_time():
    with RtspCamera(fps=15) as camera, live_source(camera.url) as source:
        began_ns = time.time_ns() - time.monotonic_ns() + round(camera.began_s * 1e9)
        frames = take(source, 25)
        assert source.live.condition.state == "live"
        assert source.live.rate_hz == pytest.approx(15, rel=0.02)
        assert source.info is not None
        assert (source.info.width, source.info.height, source.info.codec) == (320, 192, "h264")
    numbers = [number_in(frame) for frame in frames]
    indexes = [frame.index for frame in frames]
    assert indexes[0] == 0
    # What the pixels say and what the books say differ by where we joined, and by nothing else.
    assert len({number - index for number, index in zip(numbers, indexes, strict=True)}) == 1
    media_s = [float(frame.pts * frame.time_base) for frame in frames]
    assert np.diff(media_s) == pytest.approx(np.diff(indexes) / 15, abs=1e-3)
    known = [pair for pair in zip(frames, numbers, strict=True) if pair[0].capture.source == "rtcp"]
    assert len(known) >= 8, "a report comes every second"
    for frame, number in known:
        taken_ns = began_ns + round(number / 15 * 1e9)
        assert abs(frame.capture.t_ns - taken_ns) < frame.capture.uncertainty_ns + 20_000_000
        assert frame.t_ingest_ns <= frame.t_decoded_ns <= time.monotonic_ns()


def test_without_rtcp_the_moment_of_arrival_stands_for_the_capture():
    with RtspCamera(sends_rtcp=False) as camera, live_source(camera.url) as source:
        frame = take(source, 12)[-1]
    assert frame.capture.source == "arrival"
    assert abs(frame.capture.t_ns - time.time_ns()) < 2e9


@contract("host_clock")
def test_a_camera_whose_clock_was_never_set_is_as_uncertain_as_it_is_wrong():
    with RtspCamera(clock_offset_s=-3600) as camera, live_source(camera.url) as source:
        frame = take(source, 65)[-1]
    assert frame.capture.source == "rtcp"
    assert frame.capture.uncertainty_ns == pytest.approx(3600e9, rel=0.01)


def test_frames_carry_the_codecs_motion_for_who_asks():
    with RtspCamera() as camera, live_source(camera.url, with_motion=True) as source:
        frames = take(source, 12)
    assert [frame.motion is None for frame in frames] == [
        number_in(frame) % GOP == 0 for frame in frames
    ], "key frames have none"
    furthest = [frame.motion[4:6, :, 0].min() for frame in frames if frame.motion is not None]
    assert np.median(furthest) == -4 * SQUARE_STEP_PX, "the square comes from the left"
    with RtspCamera() as camera, live_source(camera.url) as source:
        assert all(frame.motion is None for frame in take(source, 6))


def test_media_over_udp():
    with RtspCamera() as camera, live_source(camera.url, {"transport": "udp"}) as source:
        frames = take(source, 15)
    assert [number_in(f) - f.index for f in frames] == [number_in(frames[0])] * 15


@contract("none_at_start")
@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ({"credentials": "root:secret"}, "auth_failed"),
        ({"path": "/other"}, "not_found"),
        ({"mode": "mute"}, "timeout"),
        ({"mode": "freeze"}, "timeout"),
        ({"codec": "VVVV"}, "codec_unsupported"),
    ],
)
def test_why_a_camera_does_not_come_is_a_typed_state(fault, state):
    with RtspCamera() as camera:
        url = camera.url
        for name, value in fault.items():
            setattr(camera, name, value)
        with live_source(url) as source, reader(source) as frames:
            wait_for(lambda: source.live.condition.state == state)
            assert url in source.live.condition.error
            assert "\n" not in source.live.condition.error
            assert not frames


@contract("none_at_start")
def test_nothing_that_listens_is_not_found_and_it_is_tried_again():
    with RtspCamera() as camera:
        camera.down()
        with live_source(camera.url) as source, reader(source) as frames:
            wait_for(lambda: source.live.condition.state == "not_found")
            camera.up()
            wait_for(lambda: len(frames) > 0)
            assert source.live.condition.state == "live"
            assert source.live.condition.error == ""


@contract("rtsp_server", "c")
def test_a_server_that_dies_and_returns_is_found_again_and_numbers_and_time_go_on():
    with RtspCamera(fps=30) as camera, live_source(camera.url) as source, reader(source) as frames:
        wait_for(lambda: len(frames) >= 20)
        camera.down()
        wait_for(lambda: source.live.condition.state == "reconnecting")
        num_before = len(frames)
        camera.up()
        wait_for(lambda: len(frames) >= num_before + 20)
        assert source.live.num_connections == 2
    first, *_ = again = frames[num_before:]
    assert first.is_discont
    assert not any(frame.is_discont for frame in [*frames[:num_before], *again[1:]])
    assert np.all(np.diff([frame.index for frame in frames]) >= 1)
    assert np.all(np.diff([frame.pts * frame.time_base for frame in frames]) > 0)
    assert frames[-1].index + 1 == len(frames) + source.lost_decode + source.live.num_dropped
    gap = int(first.pts * first.time_base * 30) - int(frames[num_before - 1].pts / 90_000 * 30)
    missed = (number_in(first) - number_in(frames[num_before - 1])) % CLIP_FRAMES
    assert gap == pytest.approx(missed, abs=20), "media time went on while nobody was connected"


@contract("rtsp_server")
def test_a_silent_camera_is_stale_then_gone_then_live_again():
    with RtspCamera() as camera, live_source(camera.url) as source, reader(source) as frames:
        wait_for(lambda: len(frames) >= 10)
        camera.mode = "freeze"
        wait_for(lambda: source.live.condition.state == "stale")
        wait_for(lambda: source.live.condition.state in ("reconnecting", "timeout"))
        camera.mode, num_before = "serve", len(frames)
        wait_for(lambda: len(frames) > num_before)
        assert source.live.condition.state == "live"


@contract("timestamps")
def test_a_jump_of_the_cameras_clock_is_taken_out_and_flagged():
    with RtspCamera(fps=30) as camera, live_source(camera.url) as source, reader(source) as frames:
        wait_for(lambda: len(frames) >= 10)
        camera.rtp_jump = -40 * 90_000
        num_before = len(frames)
        wait_for(lambda: len(frames) >= num_before + 20)
    assert sum(frame.is_discont for frame in frames) == 1
    assert np.all(np.diff([frame.pts for frame in frames]) > 0)
    jump = next(i for i, frame in enumerate(frames) if frame.is_discont)
    assert frames[jump].capture.source == "arrival", "the anchor belongs to the old zero"
    assert (frames[jump].pts - frames[jump - 1].pts) / 90_000 < 1


@contract("new_stream")
def test_a_change_of_the_pictures_size_is_a_discontinuity():
    with RtspCamera() as camera, live_source(camera.url) as source, reader(source) as frames:
        wait_for(lambda: len(frames) >= 10)
        camera.size = (480, 256)
        wait_for(lambda: bool(frames) and frames[-1].letterbox.source_width == 480)
        assert source.info is not None
        assert (source.info.width, source.info.height) == (480, 256)
    (change,) = (index for index, frame in enumerate(frames) if frame.is_discont)
    assert frames[change].letterbox.source_width == 480
    assert frames[change - 1].letterbox.source_width == 320


@contract("bitstream", "cg")
def test_a_damaged_stream_recovers_and_the_books_stay_exact():
    rng = np.random.default_rng(3)

    def spoil(payload: bytes) -> bytes | None:
        if rng.random() < 0.1:
            return None
        data = bytearray(payload)
        if len(data) > 40 and rng.random() < 0.3:
            data[int(rng.integers(20, len(data)))] ^= 0xFF
        return bytes(data)

    with RtspCamera(fps=60) as camera, live_source(camera.url) as source, reader(source) as frames:
        wait_for(lambda: len(frames) >= 5)
        camera.spoil = spoil
        num_before = len(frames)
        wait_for(lambda: len(frames) >= num_before + 40)
        camera.spoil = None
        num_before = len(frames)
        wait_for(lambda: len(frames) >= num_before + 30)
        last = frames[-5:]
        assert all(framecode.read(frame.image) for frame in last)
    assert frames[-1].index + 1 == len(frames) + source.lost_decode + source.live.num_dropped
    assert any(frame.is_corrupt for frame in frames)


@contract("decode_process", "c")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_a_decode_process_that_dies_or_hangs_is_replaced(number):
    with RtspCamera(fps=30) as camera, live_source(camera.url) as source, reader(source) as frames:
        wait_for(lambda: len(frames) >= 10)
        first = source.decoder_pid
        assert first is not None
        os.kill(first, number)
        wait_for(lambda: source.live.num_connections == 2)
        num_before = len(frames)
        wait_for(lambda: len(frames) >= num_before + 10)
        assert source.decoder_pid not in (None, first)
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)
    assert frames[-1].index + 1 == len(frames) + source.lost_decode + source.live.num_dropped
    assert sum(frame.is_discont for frame in frames) == 1


@contract("none_at_start")
def test_every_state_can_be_stopped_soon():
    with RtspCamera(mode="mute") as camera, live_source(camera.url, {"timeout": "60s"}) as source:
        with reader(source):
            wait_for(lambda: camera.num_connections == 1)
            began_s = time.monotonic()
        source.close()
        assert time.monotonic() - began_s < 3


def test_a_camera_is_told_that_we_leave():
    with RtspCamera() as camera, live_source(camera.url) as source:
        take(source, 3)
        source.close()
        wait_for(lambda: camera.num_teardowns == 1)


@contract("rtsp_server", "cf")
def test_many_reconnections_leave_nothing_behind(note):
    """Within the life of one decode process: after 100 connections it is replaced."""
    warm_up, count = 5, 90
    with RtspCamera(fps=200) as camera, live_source(camera.url) as source, reader(source) as frames:
        wait_for(lambda: source.live.num_connections == 1)
        num_forgotten = 0
        processes = psutil.Process(), psutil.Process(source.decoder_pid)
        for cycle in range(2, 2 + warm_up + count):
            camera.hang_up()
            wait_for(lambda cycle=cycle: source.live.num_connections == cycle)
            num_old = len(frames) - 1
            del frames[:num_old]  # their pictures are what takes memory here
            num_forgotten += num_old
            if cycle == warm_up:
                before = [footprint(one) for one in processes]
        wait_for(lambda: footprint(processes[0])[0] <= before[0][0] + 1)
        after = [footprint(one) for one in processes]
    num_frames = num_forgotten + len(frames)
    assert frames[-1].index + 1 == num_frames + source.lost_decode + source.live.num_dropped
    assert after[1][0] <= before[1][0] + 1
    for name, (_, old), (_, new) in zip(("source", "decoder"), before, after, strict=True):
        assert new - old < MAX_GROWTH_BYTES
        note(f"{name}: RSS after {count} reconnections", (new - old) / 1e6, "MB more")


def footprint(process: psutil.Process) -> tuple[int, int]:
    """(open files, bytes of memory)"""
    return process.num_fds(), process.memory_info().rss


def test_the_bitstream_is_handed_out_with_the_frames_numbers():
    units = []
    with RtspCamera() as camera, live_source(camera.url) as source:
        source.on_unit = units.append
        frames = take(source, 12)
    by_index = {unit.index: unit for unit in units}
    assert list(by_index) == list(range(len(units)))
    assert units[0].is_key
    assert units[0].data[:5] in (b"\0\0\0\1\x67", b"\0\0\0\1\x06")
    for frame in frames:
        unit = by_index[frame.index]
        assert (unit.pts, unit.capture) == (frame.pts, frame.capture)


def test_max_frames_ends_a_live_camera():
    with RtspCamera() as camera, live_source(camera.url, max_frames=4) as source:
        assert len(take(source, 10)) == 4


def test_a_live_uri_opens_without_its_camera():
    source = open_source("gate", SourceConfig(uri="rtsp://127.0.0.1:1/cam"), SIZE)
    assert source.live is not None
    assert source.info is None
    source.close()
