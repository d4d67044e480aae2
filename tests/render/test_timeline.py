from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamvis.render.timeline import Timeline

MS = 1_000_000
Event = tuple[int, str, int]  # time in ms, camera, item


def at_rate(camera: str, period_ms: int, stop_ms: int, start_ms: int = 0) -> list[Event]:
    return [(t, camera, i) for i, t in enumerate(range(start_ms, stop_ms, period_ms))]


def play(cameras: list[str], events: list[Event]) -> tuple[list[dict[str, int]], Fraction]:
    timeline: Timeline[int] = Timeline(cameras)
    ticks = [
        tick for t_ms, camera, i in events for tick in timeline.add(camera, t_ms * MS, i)
    ]  # fmt: skip
    ticks += timeline.flush()
    return ticks, timeline.fps


def test_equal_cameras_go_together() -> None:
    events = sorted(at_rate("a", 100, 5000) + at_rate("b", 100, 5000, start_ms=40))
    ticks, fps = play(["a", "b"], events)
    assert fps == 10
    assert ticks == [{"a": k, "b": k} for k in range(50)]


def test_the_fastest_camera_sets_the_rate() -> None:
    events = sorted(at_rate("slow", 200, 4000) + at_rate("fast", 40, 4000))
    ticks, fps = play(["slow", "fast"], events)
    assert fps == 25
    assert ticks == [{"slow": k // 5, "fast": k} for k in range(100)]


@pytest.mark.parametrize(("period_ms", "fps"), [(33.37, 30), (80, Fraction(25, 2)), (200, 5)])
def test_rates_are_round_numbers(period_ms: float, fps: Fraction) -> None:
    timeline: Timeline[int] = Timeline(["a"])
    for k in range(20):
        list(timeline.add("a", round(k * period_ms * MS), k))
    assert timeline.fps == fps


def test_a_wanted_rate_overrides() -> None:
    timeline: Timeline[int] = Timeline(["a"], fps=5)
    ticks = [t for t_ms, c, i in at_rate("a", 100, 3000) for t in timeline.add(c, t_ms * MS, i)]
    assert timeline.fps == 5
    assert [tick["a"] for tick in ticks[:4]] == [1, 3, 5, 7]


def test_jitter_moves_nothing() -> None:
    jitter = [0, 17, -14, 9, -18, 3, -9, 14, -2, 18]
    events = [(100 * k + jitter[k % 10], "a", k) for k in range(60)]
    ticks, _ = play(["a"], events)
    assert ticks == [{"a": k} for k in range(60)]


def test_a_dropped_frame_shows_the_one_before() -> None:
    events = [event for event in at_rate("a", 100, 3000) if event[2] not in (10, 11)]
    ticks, _ = play(["a"], events)
    assert [tick["a"] for tick in ticks] == [k if k not in (10, 11) else 9 for k in range(30)]


def test_a_camera_that_ends_disappears_after_a_second() -> None:
    events = sorted(at_rate("a", 100, 6000) + at_rate("b", 100, 3000))
    ticks, _ = play(["a", "b"], events)
    assert len(ticks) == 60
    assert [k for k, tick in enumerate(ticks) if "b" in tick] == list(range(39))
    assert all(tick["a"] == k for k, tick in enumerate(ticks))


def test_a_camera_that_never_comes_stops_nobody() -> None:
    timeline: Timeline[int] = Timeline(["a", "never"])
    ticks = [t for t_ms, c, i in at_rate("a", 100, 10_000) for t in timeline.add(c, t_ms * MS, i)]
    assert ticks == [{"a": k} for k in range(len(ticks))]
    assert 60 <= len(ticks) < 100  # the rest waits, and memory is bounded
    assert len(ticks + list(timeline.flush())) == 100


def test_a_long_silence_is_cut_out() -> None:
    events = at_rate("a", 100, 2000) + at_rate("a", 100, 3_602_000, start_ms=3_600_000)
    ticks, _ = play(["a"], events)
    assert [tick["a"] for tick in ticks] == [*range(20), *range(20)]


def test_a_late_item_does_not_turn_the_picture_back() -> None:
    slow, fast = at_rate("slow", 200, 6000), at_rate("fast", 50, 6000)
    late = slow.pop(15)
    events = sorted(slow + fast, key=lambda event: event[0] + 150 * (event[1] == "fast"))
    events.insert(events.index((4050, "fast", 81)) + 1, late)  # between (4000) and (4200, slow)
    ticks, _ = play(["slow", "fast"], events)
    shown = [tick["slow"] for tick in ticks]
    assert 15 not in shown
    assert shown == sorted(shown)


def test_a_single_frame_is_a_tick() -> None:
    assert play(["a", "b"], [(0, "a", 7)]) == ([{"a": 7}], 10)


def test_nothing() -> None:
    assert list(Timeline(["a"]).flush()) == []


@settings(deadline=None)
@given(st.fixed_dictionaries({"a": st.integers(0, 1500), "b": st.integers(0, 1500)}))
def test_the_order_of_arrival_does_not_matter(lag_ms: dict[str, int]) -> None:
    """Each camera in order, but any of them up to 1.5 s behind the others."""
    cameras = {"a": at_rate("a", 100, 3000), "b": at_rate("b", 50, 3000, start_ms=30)}
    straight = sorted(cameras["a"] + cameras["b"])
    late = sorted(straight, key=lambda event: event[0] + lag_ms[event[1]])
    assert play(["a", "b"], late) == play(["a", "b"], straight)
