"""What live sources are made of, without a camera: back-off, watchdog, link, redaction."""

from __future__ import annotations

import errno
import json
import os
import pickle
import random
import re
import threading
import time
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from conftest import make_frame
from hypothesis import given
from hypothesis import strategies as st
from matrix import contract
from pydantic import ValidationError

from streamvis.errors import ConfigError, SourceError
from streamvis.redact import redact
from streamvis.runtime.changes import find_changes
from streamvis.source import decode_link
from streamvis.source.config import LiveConfig, SourceConfig
from streamvis.source.decode_link import (
    NUM_SLOTS,
    DecoderEnd,
    Dropped,
    LinkBroken,
    Order,
    Over,
    Slots,
    SourceEnd,
    make_memory,
    make_pair,
)
from streamvis.source.decoder import Decoder
from streamvis.source.live import LiveSource, _Connection
from streamvis.source.reconnect import Backoff
from streamvis.source.stream import StreamPackets
from streamvis.source.watchdog import Watchdog
from streamvis.topology import PipelineConfig
from streamvis.types import AccessUnit, CameraInfo, Frame

S = 1_000_000_000
SIZE = (640, 384)


@contract("rtsp_server")
def test_waits_double_to_their_limit_and_differ_from_camera_to_camera():
    config = LiveConfig(retry_after="100ms", retry_at_most="1s")
    waits = [
        [backoff.next_ns("reconnecting", 0) for _ in range(8)]
        for backoff in (Backoff(config, random.Random(seed)) for seed in range(20))
    ]
    steps = [0.1, 0.2, 0.4, 0.8, 1, 1, 1, 1]
    for column, step in zip(np.array(waits).T / S, steps, strict=True):
        assert column.min() >= 0.5 * step
        assert column.max() <= step
        assert column.std() > 0.05 * step, "cameras of one switch must not come back together"


def test_what_was_live_is_tried_soon_and_a_wrong_password_seldom():
    backoff = Backoff(LiveConfig(retry_after="100ms", retry_at_most="1s"), random.Random(1))
    for _ in range(6):
        backoff.next_ns("reconnecting", 0)
    assert backoff.next_ns("reconnecting", 6 * S) <= 0.1 * S
    assert backoff.next_ns("auth_failed", 0) >= 10 * S


def test_the_watchdog_bites_what_stopped_and_nothing_else():
    dog = Watchdog(timeout_ns=5 * S, now_ns=0)
    assert dog.complaint(20 * S) == ""
    assert "opened" in dog.complaint(31 * S)
    dog.opened(40 * S)
    for second in range(40, 60):
        dog.see_packets(second, second * S)
        dog.see_picture(second * S)
        assert dog.complaint(second * S) == ""
    assert dog.complaint(65 * S) == ""
    assert "hung" in dog.complaint(67 * S)
    for second in range(60, 90):
        dog.see_packets(second, second * S)
    assert "no picture" in dog.complaint(89 * S)


def test_the_watchdog_sees_soon_that_pictures_ended_and_lets_slow_cameras_be():
    """Another codec in mid-stream: packets come, and nothing can be made of them."""
    dog = Watchdog(timeout_ns=5 * S, now_ns=0)
    dog.opened(0)
    for tenth in range(100):
        dog.see_packets(tenth, tenth * S // 10)
        assert dog.complaint(tenth * S // 10) == "", "no key frame came yet"
    dog.see_picture(10 * S)
    for packet in range(24):
        dog.see_packets(100 + packet, 10 * S + packet * S)
        assert dog.complaint(10 * S + packet * S) == "", "a few of a slow camera"
    dog.see_packets(124, 34 * S)
    assert "no picture any more" in dog.complaint(34 * S)


@pytest.fixture
def link():
    own, others = make_pair()
    memory = make_memory(SIZE)
    slots = Slots(memory, SIZE), Slots(memory, SIZE)
    with own, others, os.fdopen(memory, "rb"):
        yield SourceEnd(own, slots[0], "front"), DecoderEnd(others, slots[1]), others


def test_frames_pass_unchanged_with_and_without_motion(link):
    source, decoder, _ = link
    fields = np.random.default_rng(0).integers(-999, 999, (3, 24, 40, 2), np.int16)
    frames = [replace(make_frame(i), motion=motion) for i, motion in enumerate(fields)]
    for sent in [*frames, make_frame(7)]:  # the last in a slot that held another's motion
        decoder.send_frame(sent)
        got = source.receive(1)
        assert isinstance(got, Frame)
        assert np.array_equal(got.image, sent.image)
        assert (got.motion is None) == (sent.motion is None)
        assert np.array_equal(got.motion, sent.motion)
        plain = {"image": 0, "motion": 0}
        assert {**vars(got), **plain} == {**vars(sent), **plain}


def test_units_and_what_else_is_said_pass_unchanged(link):
    source, decoder, _ = link
    sent = make_frame(7)
    unit = AccessUnit(
        index=3,
        codec="h264",
        data=bytes(range(256)) * 700,
        extradata=b"",
        is_key=True,
        is_reordered=False,
        pts=5,
        dts=None,
        time_base=sent.time_base,
        size=(640, 360),
        capture=sent.capture,
    )
    decoder.send_unit(unit)
    assert source.receive(1) == unit
    info = CameraInfo(640, 360, 15.0, "h264")
    decoder.send_info(info)
    assert source.receive(1) == info
    decoder.send_over(Over("lost", "gone", 8, 1))
    assert source.receive(1) == Over("lost", "gone", 8, 1)
    assert source.receive(0) is None


def test_frames_that_nobody_takes_are_dropped_and_said_to_be(link):
    source, decoder, _ = link
    for index in range(NUM_SLOTS + 2):
        decoder.send_frame(make_frame(index))
    got = [source.receive(1) for _ in range(NUM_SLOTS + 2)]
    assert [type(item) for item in got] == [Frame] * NUM_SLOTS + [Dropped] * 2
    decoder.send_frame(make_frame(9))
    assert isinstance(source.receive(1), Frame), "the slots came back"


def test_a_discontinuity_is_not_dropped_with_its_frame(link):
    source, decoder, _ = link
    for index in range(NUM_SLOTS):
        decoder.send_frame(make_frame(index))
    decoder.send_frame(replace(make_frame(NUM_SLOTS), is_discont=True))
    for _ in range(NUM_SLOTS + 1):
        source.receive(1)
    for index in (8, 9):
        decoder.send_frame(make_frame(index))
    assert [source.receive(1).is_discont for _ in range(2)] == [True, False]


KINDS = ("frame", "unit", "info", "over", "dropped")
KEYS = ("slot", "letterbox", "num_bytes", "size", "index", "lost_decode", "state", "error")


def messages(values):
    fields = st.dictionaries(st.sampled_from(KEYS), values, max_size=4)
    return st.builds(lambda kind, rest: {"kind": kind, **rest}, st.sampled_from(KINDS), fields)


NONSENSE = st.one_of(
    st.binary(min_size=1, max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | messages(inner),
    ).map(lambda value: json.dumps(value).encode()),
)


@contract("hostile_bytes", "g")
@given(data=NONSENSE)
def test_whatever_a_decode_process_sends_is_refused_or_harmless(data):
    own, others = make_pair()
    memory = make_memory((32, 32))
    with own, others, os.fdopen(memory, "rb"):
        source = SourceEnd(own, Slots(memory, (32, 32)), "front")
        others.send(data)
        others.close()
        with suppress(LinkBroken):
            report = source.receive(0.1)
            assert isinstance(report, CameraInfo | Frame | AccessUnit | Dropped | Over)


@contract("hostile_bytes", "g")
@pytest.mark.parametrize(
    "message",
    [
        {"kind": "info", "width": 1, "height": 1, "fps": 10**400, "codec": ""},
        {"kind": "info", "width": 1, "height": 1, "fps": float("inf"), "codec": ""},
        {"kind": "dropped", "index": 10**400, "lost_decode": 0},
        {"kind": "unit", "num_bytes": [2**40, -(2**40)]},
        {"kind": "unit", "num_bytes": [-1, 1]},
        {"kind": "unit", "num_bytes": [1.5, 0]},
    ],
)
def test_numbers_that_cannot_be_are_refused(link, message):
    source, _, others = link
    others.send(json.dumps(message).encode())
    with pytest.raises(LinkBroken, match="nonsense"):
        source.receive(1)


def _give_many(source: SourceEnd, order: Order) -> None:
    for _ in range(100):
        source.give(order)


@contract("hostile_bytes", "g")
def test_a_unit_that_drips_and_a_process_that_never_reads_hold_nobody(link, monkeypatch):
    source, _, others = link
    monkeypatch.setattr(decode_link, "_UNIT_PATIENCE_S", 0.3)
    monkeypatch.setattr(decode_link, "_SEND_PATIENCE_S", 0.3)
    others.send(json.dumps({"kind": "unit", "num_bytes": [1000, 0]}).encode())
    dripping = threading.Event()

    def drip() -> None:
        with suppress(OSError):
            while not dripping.wait(0.05):
                others.send(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    began_s = time.monotonic()
    with pytest.raises(LinkBroken, match="in the middle"):
        source.receive(1)
    assert time.monotonic() - began_s < 2
    dripping.set()
    thread.join()
    order = Order("rtsp://h/c", "tcp", 5.0, True, {"x": "y" * 50_000}, None, 0, wants_units=False)
    with pytest.raises(LinkBroken, match="takes nothing"):
        _give_many(source, order)


@contract("decode_process", "a1")
@pytest.mark.parametrize(
    "error", [OSError(errno.EMFILE, "Too many open files"), LinkBroken("gone")]
)
def test_a_camera_outlives_a_host_that_has_no_process_left_for_it(error, monkeypatch):
    config = SourceConfig.model_validate(
        {"uri": "rtsp://h/c", "live": {"retry_after": "1ms", "retry_at_most": "1ms"}}
    )
    source = LiveSource("front", config, (64, 32))
    tries = []

    def give(_: Decoder, order: Order) -> None:
        tries.append(order)
        if len(tries) == 5:
            source.live.stop()
        raise error

    monkeypatch.setattr(Decoder, "give", give)
    assert source.grab() is None
    assert len(tries) == 5
    assert source.live.condition.state == "connecting"
    assert "no decode process" in source.live.condition.error
    source.close()


def test_a_decoder_that_could_not_start_leaves_no_files_behind(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("subprocess.Popen", refuse)
    decoder = Decoder("front", (64, 32))
    order = Order("rtsp://h/c", "tcp", 5.0, True, {}, None, 0, wants_units=False)
    before = os.listdir("/proc/self/fd")
    for _ in range(5):
        with pytest.raises(OSError, match="temporarily"):
            decoder.give(order)
        decoder.kill()
    decoder.close()
    assert len(os.listdir("/proc/self/fd")) == len(before)


SECRETS = [
    "rtsp://root:s3cr3t@10.0.0.5/cam",
    "rtsp://root:s3cr3t@x/y@10.0.0.5:554/cam?channel=1",
    "rtsp://s3cr3t@10.0.0.5/cam",
    "http://10.0.0.5/snap?user=root&pwd=s3cr3t&channel=2",
    "https://host/live.m3u8?access_token=s3cr3t",
    "rtsp://10.0.0.5:554/user=admin_password=s3cr3t_channel=1_stream=0.sdp",
    "rtsp://10.0.0.5/user=s3cr3t&password=s3cr3t&channel=1&stream=0.sdp?",
]


@pytest.mark.parametrize("uri", SECRETS)
def test_credentials_are_taken_out_of_every_text(uri):
    for text in (uri, f"[Errno 1] Cannot open '{uri}': no", f"{uri}: it is not there"):
        assert "s3cr3t" not in redact(text)
        assert "s3cr3t" not in str(SourceError(text))
        assert "s3cr3t" not in str(ConfigError(text))
    assert re.search(r"10\.0\.0\.5|host/live", redact(uri)), "what is not secret stays"


@pytest.mark.parametrize("uri", SECRETS)
def test_a_pipeline_file_is_never_written_down_with_its_credentials(uri):
    config = PipelineConfig.model_validate(
        {"version": 1, "name": "p", "defaults": {"uri": uri}, "sources": {"a": {"uri": uri}}}
    )
    assert config.sources["a"].uri == uri, "the camera needs them"
    for text in (config.model_dump_json(), config.resolved_json(), repr(config), str(config)):
        assert "s3cr3t" not in text
    other = PipelineConfig.from_resolved(config.resolved_json())
    assert other.sources["a"].uri == redact(uri)
    assert other.resolved_json() == config.resolved_json()


@pytest.mark.parametrize(
    "options",
    [{"headers": "Authorization: Bearer s3cr3t"}, {"http_proxy": "http://me:s3cr3t@proxy:3128"}],
)
def test_ffmpegs_options_reach_the_camera_and_are_never_written_down(options):
    entry = {"uri": "https://h/live.m3u8", "live": {"options": options}}
    config = PipelineConfig.model_validate(
        {"version": 1, "name": "p", "defaults": {"live": entry["live"]}, "sources": {"a": entry}}
    )
    for text in (config.model_dump_json(), config.resolved_json(), repr(config), str(config)):
        assert "s3cr3t" not in text
    assert pickle.loads(pickle.dumps(config)).sources["a"].live.options == options
    other = PipelineConfig.model_validate(
        {"version": 1, "name": "p", "sources": {"a": {"uri": entry["uri"]}}}
    )
    assert find_changes(other, config).changed == ("a",)
    again = PipelineConfig.from_resolved(config.resolved_json())
    assert again.resolved_json() == config.resolved_json()


@pytest.mark.parametrize(
    "uri", ["rtsp:/root:s3cr3t@cam/1", "rtsp:root:s3cr3t@cam", "/here/rtsp:/root:s3cr3t@cam/1"]
)
def test_a_mistyped_uri_with_a_login_is_refused_and_not_shown(uri):
    with pytest.raises(ValidationError, match="a login without scheme://") as refused:
        SourceConfig.model_validate({"uri": uri})
    assert "s3cr3t" not in str(refused.value)


def test_a_mistyped_uri_is_not_shown_by_who_does_not_read_it():
    said = str(SourceError("rtsp:/root:s3cr3t@cam/1: there is no such file"))
    assert said == "rtsp:/***@cam/1: there is no such file"


def test_a_folder_may_be_called_anything():
    uri = "/data/user=3/a@b/clip.mp4"
    assert SourceConfig.model_validate({"uri": uri}).model_dump(mode="json")["uri"] == uri


@pytest.mark.parametrize("text", ["a plain text", "tcp://127.0.0.1:7700", "/data/a@b/c.mp4", ""])
def test_what_holds_no_credentials_stays_as_it_is(text):
    assert redact(text) == text


@pytest.mark.parametrize(
    ("entry", "hint"),
    [
        ({"uri": "srt://h:1"}, "built without SRT"),
        ({"uri": "gopher://h"}, "is not read"),
        ({"uri": "rtsp://h/c", "loop": True}, "no start, end or loop"),
        ({"uri": "rtsp://h/c", "live": {"timeout": "0s"}}, "greater than 0"),
        ({"uri": "rtsp://h/c", "live": {"retry_after": "5s"}}, "must not be shorter"),
        ({"uri": "rtsp://h/c", "live": {"transport": "quic"}}, "'tcp' or 'udp'"),
    ],
)
def test_a_wrong_camera_is_refused_with_a_reason(entry, hint):
    with pytest.raises(ValidationError, match=hint):
        SourceConfig.model_validate(entry)


def test_a_live_camera_cannot_be_replayed():
    with pytest.raises(ValidationError, match="cannot be replayed"):
        PipelineConfig.model_validate(
            {
                "version": 1,
                "name": "p",
                "clock": "replay",
                "sources": {"a": {"uri": "rtsp://h/cam"}},
            }
        )


@pytest.mark.parametrize(("uri", "state"), [("/dev/video0", "auth_failed"), ("rtsp://h/c", "lost")])
def test_not_permitted_is_a_devices_mode_and_no_cameras_login(uri, state, monkeypatch):
    """FFmpeg says so of a connection that broke off, too: that one is tried again soon."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("av.open", refuse)
    order = Order(uri, "tcp", 5.0, True, {}, zero_ns=None, last_ns=0, wants_units=False)
    with pytest.raises(SourceError) as refused:
        StreamPackets(order)
    assert refused.value.state == state


@contract("bitstream", "c")
def test_numbers_go_on_behind_a_connection_that_gave_more_pictures_than_packets() -> None:
    source = LiveSource("gate", SourceConfig(uri="rtsp://127.0.0.1:9/cam"), (64, 32))
    connection = _Connection(Watchdog(timeout_ns=5_000_000_000, now_ns=0))
    connection.index = 7
    source._over(connection, Over("lost", "its server is gone", num_packets=7))
    assert source._num_before == 8
    source.close()
