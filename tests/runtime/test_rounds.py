"""Rounds: reproducible in a replay, bounded waiting when live."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from conftest import make_frame

from streamvis.runtime.feed import follow
from streamvis.runtime.rounds import Inbox, Rounds
from streamvis.types import Frame


def test_replay_waits_for_every_open_camera_and_keeps_their_order():
    rounds: Rounds[str] = Rounds(["a", "b"], "replay")
    rounds.put("b", "b0", now_ns=0)
    assert rounds.due_in_ns(10**12) is None
    assert not rounds.takes("b"), "nothing may be displaced in a replay"
    rounds.put("a", "a0", now_ns=1)
    assert rounds.due_in_ns(1) == 0
    assert rounds.take() == ["a0", "b0"]


def test_replay_goes_on_without_a_camera_that_ended():
    rounds: Rounds[str] = Rounds(["a", "b"], "replay")
    rounds.put("a", "a0", now_ns=0)
    rounds.close("b")
    assert rounds.due_in_ns(0) == 0
    assert rounds.take() == ["a0"]
    rounds.close("a")
    assert rounds.is_over


def test_the_last_item_of_a_closed_camera_is_still_handed_out():
    rounds: Rounds[str] = Rounds(["a"], "replay")
    rounds.put("a", "a0", now_ns=0)
    rounds.close("a")
    assert not rounds.is_over
    assert rounds.due_in_ns(0) == 0
    assert rounds.take() == ["a0"]
    assert rounds.is_over


MS = 1_000_000


def after_a_round(*cameras: str, window_ns: int, step_ns: int = 1) -> tuple[Rounds[str], int]:
    """Two rounds of all of them were taken, the newest at the time that is returned."""
    rounds: Rounds[str] = Rounds(cameras, "live", window_ns)
    for now_ns in (0, step_ns):
        for camera in cameras:
            rounds.put(camera, f"{camera}-", now_ns)
        rounds.take()
    return rounds, step_ns


def test_live_waits_no_longer_than_its_window_and_the_newest_wins():
    rounds, _ = after_a_round("a", "b", window_ns=100)
    rounds.put("a", "a0", now_ns=1000)
    assert rounds.due_in_ns(1040) == 60
    rounds.put("a", "a1", now_ns=1050)
    assert rounds.due_in_ns(1100) == 0
    assert rounds.take() == ["a1"]
    assert rounds.due_in_ns(1200) is None


@pytest.mark.parametrize(("step_ms", "silent_ms"), [(33, 101), (200, 601), (60_000, 1001)])
def test_live_does_not_wait_for_a_camera_that_fell_silent(step_ms, silent_ms):
    """Judged by its own pace, and never longer than a second."""
    rounds, last_ns = after_a_round("a", "b", window_ns=4 * MS, step_ns=step_ms * MS)
    rounds.put("a", "a0", last_ns + (silent_ms - 2) * MS)
    assert rounds.due_in_ns(last_ns + (silent_ms - 2) * MS) == 4 * MS
    rounds.put("a", "a1", last_ns + silent_ms * MS)
    assert rounds.due_in_ns(last_ns + silent_ms * MS) == 0
    rounds.put("b", "b0", last_ns + silent_ms * MS)
    assert rounds.take() == ["a1", "b0"], "it may come again"
    rounds.put("a", "a2", last_ns + (silent_ms + 30) * MS)
    assert rounds.due_in_ns(last_ns + (silent_ms + 30) * MS) == 4 * MS, "and is waited for again"


def test_live_does_not_wait_for_a_camera_that_never_came():
    rounds: Rounds[str] = Rounds(["a", "down"], "live", window_ns=4 * MS)
    rounds.put("a", "a0", now_ns=0)
    assert rounds.due_in_ns(0) == 0


def test_a_discontinuity_is_not_displaced_with_its_frame():
    inbox: Inbox[Frame] = Inbox(["front"], "live", displace=follow)
    inbox.put("front", replace(make_frame(0), is_discont=True))
    inbox.put("front", make_frame(1))
    inbox.put("front", make_frame(2))
    assert [(f.index, f.is_discont) for f in inbox.take_round()] == [(2, True)]
    inbox.put("front", make_frame(3))
    assert not inbox.take_round()[0].is_discont


def test_live_does_not_wait_when_all_are_there():
    rounds, _ = after_a_round("a", "b", window_ns=10**9)
    rounds.put("a", "a0", now_ns=0)
    rounds.put("b", "b0", now_ns=1)
    assert rounds.due_in_ns(1) == 0


def test_the_inbox_gives_a_replay_every_item_of_every_thread():
    inbox: Inbox[tuple[str, int]] = Inbox(["a", "b"], "replay")

    def feed(camera: str, count: int) -> None:
        for i in range(count):
            inbox.put(camera, (camera, i))
        inbox.close(camera)

    threads = [threading.Thread(target=feed, args=args) for args in (("a", 3), ("b", 5))]
    for thread in threads:
        thread.start()
    rounds = []
    while taken := inbox.take_round():
        rounds.append(taken)
    for thread in threads:
        thread.join(5)
    assert rounds[0] == [("a", 0), ("b", 0)]
    assert rounds[-1] == [("b", 4)]
    assert sum(map(len, rounds)) == 8


def test_closing_frees_a_waiting_camera():
    inbox: Inbox[int] = Inbox(["a"], "replay")
    inbox.put("a", 0)
    waiting = threading.Thread(target=inbox.put, args=("a", 1))
    waiting.start()
    inbox.close("a")
    waiting.join(5)
    assert not waiting.is_alive()
    assert inbox.take_round() == [0]
    assert inbox.take_round() == []


def test_recorded_batches_are_made_again_whatever_comes_first():
    rounds: Rounds[str] = Rounds(["a", "b"], "replay", batches=[["a"], ["b", "a"], ["b"]])
    rounds.put("b", "b0", now_ns=0)
    assert rounds.due_in_ns(0) is None, "b is not in the first batch"
    rounds.put("a", "a0", now_ns=0)
    assert rounds.take() == ["a0"]
    assert rounds.due_in_ns(0) is None
    rounds.put("a", "a1", now_ns=0)
    assert rounds.take() == ["a1", "b0"]
    rounds.put("b", "b1", now_ns=0)
    assert rounds.due_in_ns(0) == 0, "without waiting for a"
    assert rounds.take() == ["b1"]


def test_a_batch_does_not_wait_for_a_camera_that_is_over():
    rounds: Rounds[str] = Rounds(["a", "b"], "replay", batches=[["a", "b"], ["b"], ["a"]])
    rounds.put("a", "a0", now_ns=0)
    rounds.close("b")
    assert rounds.due_in_ns(0) == 0
    assert rounds.take() == ["a0"]
    rounds.put("a", "a1", now_ns=0)
    assert rounds.due_in_ns(0) == 0, "the batch of b alone is left out"
    assert rounds.take() == ["a1"]


def test_after_the_recorded_batches_rounds_are_as_ever():
    rounds: Rounds[str] = Rounds(["a", "b"], "replay", batches=[["a"]])
    rounds.put("a", "a0", now_ns=0)
    assert rounds.take() == ["a0"]
    rounds.put("a", "a1", now_ns=0)
    assert rounds.due_in_ns(0) is None
    rounds.put("b", "b0", now_ns=0)
    assert rounds.take() == ["a1", "b0"]


def test_cameras_that_came_and_went_are_forgotten():
    rounds: Rounds[str] = Rounds(["a"], "live")
    for i in range(100):
        rounds.open(f"b{i}")
        if i % 2:
            rounds.put(f"b{i}", "item", now_ns=i)
        rounds.close(f"b{i}")
    assert len(rounds.take()) == 50
    assert rounds._order == ["a"]
