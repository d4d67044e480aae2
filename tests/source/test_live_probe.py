"""`streamvis probe`: what it measures is so, and what is bad for a live camera is said."""

from __future__ import annotations

import json
import time

import pytest
from conftest import STREET, write_clip
from rtsp_server import RtspCamera
from typer.testing import CliRunner

from streamvis.cli.app import app
from streamvis.errors import SourceError
from streamvis.source.config import LiveConfig
from streamvis.source.probe import ProbeReport, probe

SIZE = (320, 192)


def look(uri: str, duration_s: float = 1.0) -> ProbeReport:
    return probe(uri, LiveConfig(timeout="5s"), duration_s, SIZE)


def test_a_camera_is_measured():
    with RtspCamera(fps=15, gop=5) as camera:
        report = look(camera.url, duration_s=1.5)
    assert (report.codec, report.width, report.height) == ("h264", 320, 192)
    assert report.profile == "Constrained Baseline"
    assert report.fps == pytest.approx(15, rel=0.05)
    assert report.gop_frames == 5
    assert report.gop_s == pytest.approx(1 / 3, abs=0.01)
    assert not report.has_b_frames
    assert report.has_motion_vectors
    assert report.capture_source == "rtcp"
    assert report.num_pictures == report.num_packets
    assert 0 < report.open_s <= report.first_picture_s < 10
    assert report.advice == ()


def test_what_is_bad_for_a_live_camera_is_said():
    with RtspCamera(fps=60, gop=120, sends_rtcp=False) as camera:
        report = look(camera.url)
    said = " ".join(report.advice)
    assert "fewer than two key frames" in said
    assert "arrival" in said
    with RtspCamera(fps=30, clock_offset_s=500) as camera:
        said = " ".join(look(camera.url, duration_s=1.5).advice)
    assert "NTP" in said
    assert "declares 15 frames/s and sends 30" in said


def test_a_file_is_looked_at_by_its_own_time(tmp_path):
    began_s = time.monotonic()
    report = look(str(write_clip(tmp_path / "a.mp4", num_frames=50)), duration_s=2.0)
    assert report.num_packets == pytest.approx(21, abs=1)
    assert time.monotonic() - began_s < 2, "faster than it was taken"
    assert report.capture_source == "none"
    assert report.fps == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize(
    ("uri", "state"),
    [
        ("srt://127.0.0.1:9", "codec_unsupported"),
        ("/no/such/file.mp4", "not_found"),
        (str(STREET), "no_video"),
        ("rtsp://root:s3cr3t@127.0.0.1:1/cam", "refused"),
    ],
)
def test_what_cannot_be_probed_is_one_sentence(uri, state):
    with pytest.raises(SourceError) as caught:
        look(uri)
    assert caught.value.state == state
    assert "\n" not in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_the_command_line_prints_json_without_the_password():
    with RtspCamera(fps=30, credentials="root:s3cr3t") as camera:
        result = CliRunner().invoke(app, ["probe", camera.url, "--seconds", "0.5", "--json"])
    assert result.exit_code == 0
    assert "s3cr3t" not in result.output
    assert json.loads(result.output)["codec"] == "h264"
