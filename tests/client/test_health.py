from __future__ import annotations

import pytest

from streamvis.client.health import CameraHealth

SECOND = 1_000_000_000


def at_rate(hz: float, seconds: float = 3.0) -> tuple[CameraHealth, int]:
    """A camera whose results came at this rate until now, where 10 Hz are expected."""
    camera = CameraHealth()
    camera.rate_hz = 10.0
    now_ns = 0
    for i in range(round(hz * seconds)):
        now_ns = round(i / hz * SECOND)
        camera.arrived(now_ns, is_corrupt=False)
    return camera, now_ns


def test_a_camera_at_its_rate_is_sound() -> None:
    camera, now_ns = at_rate(10)
    health = camera.check(now_ns, heartbeat_ns=now_ns)
    assert (health.is_alive, health.is_freq_ok, health.is_valid) == (True, True, True)


@pytest.mark.parametrize(("hz", "is_ok"), [(8.2, True), (7.5, False), (30, True)])
def test_the_rate_may_fall_to_four_fifths(hz: float, is_ok: bool) -> None:
    camera, now_ns = at_rate(hz)
    assert camera.check(now_ns, now_ns).is_freq_ok is is_ok


def test_a_camera_without_results_for_a_second_is_not_alive() -> None:
    camera, now_ns = at_rate(10)
    assert camera.check(now_ns + SECOND, now_ns + SECOND).is_alive
    late = camera.check(now_ns + SECOND + 1, now_ns + SECOND)
    assert (late.is_alive, late.is_freq_ok, late.is_valid) == (False, False, False)


def test_a_slow_camera_is_given_ten_periods() -> None:
    camera = CameraHealth()
    camera.rate_hz = 0.5
    camera.arrived(0, is_corrupt=False)
    assert camera.check(19 * SECOND, 19 * SECOND).is_alive
    assert not camera.check(21 * SECOND, 21 * SECOND).is_alive


def test_without_heartbeats_nothing_is_alive() -> None:
    camera, now_ns = at_rate(10)
    assert not camera.check(now_ns, heartbeat_ns=None).is_alive
    assert not camera.check(now_ns, heartbeat_ns=now_ns - 4 * SECOND).is_alive


def test_a_corrupt_frame_is_alive_but_not_valid() -> None:
    camera, now_ns = at_rate(10)
    camera.arrived(now_ns, is_corrupt=True)
    health = camera.check(now_ns, now_ns)
    assert (health.is_alive, health.is_valid) == (True, False)


def test_a_camera_never_heard_of_is_unknown() -> None:
    health = CameraHealth().check(0, 0)
    assert (health.is_alive, health.state) == (False, "unknown")
