"""The books: sum(lost) + in_flight + published = source_frames, whatever happened."""

from __future__ import annotations

from dataclasses import replace

import pytest
from wire_samples import make_result

from streamvis import wire
from streamvis.runtime.ledger import RunLedger
from streamvis.runtime.report import CameraReport
from streamvis.types import LOSS_STAGES, Ledger, SourceCounts

ORIGIN = wire.Origin.here("test", epoch="e" * 32)
NOTHING_LOST = dict.fromkeys(LOSS_STAGES, 0)


def seen(frames: int, published: int, in_flight: int = 0, **lost: int) -> wire.Observed:
    """A `det` message of camera front that brings these counts."""
    result = replace(
        make_result(), ledger=Ledger(frames, published, in_flight, NOTHING_LOST | lost)
    )
    return wire.peek(wire.encode(wire.DetMessage.of(result, ORIGIN, seq=published)))


@pytest.fixture
def books() -> RunLedger:
    return RunLedger(ORIGIN, ["front"], period_ns=10**9)


def ledger(books: RunLedger) -> Ledger:
    return books.status()[0].ledger


def test_nothing_seen_is_nothing_owed(books):
    assert ledger(books) == Ledger(0, 0, 0, NOTHING_LOST)


def test_what_is_under_way_is_in_flight(books):
    books.see(seen(frames=3, published=1, in_flight=2))
    assert (ledger(books).published, ledger(books).in_flight) == (1, 2)


def test_a_result_that_was_made_and_never_came_is_lost_in_publish(books):
    books.see(seen(frames=1, published=1))
    books.see(seen(frames=3, published=3))
    assert ledger(books).lost["publish"] == 1
    assert ledger(books).published == 2


def test_a_cameras_report_counts_only_when_it_is_over(books):
    books.see(seen(frames=2, published=1, in_flight=1))
    counts = SourceCounts(frames=9, lost_source=2, lost_policy=5)
    books.update(CameraReport("front", "live", counts))
    assert ledger(books).source_frames == 2
    books.update(CameraReport("front", "ended_early", counts))
    assert ledger(books).lost["policy"] == 5
    assert ledger(books).in_flight == 1


def test_a_live_camera_that_tries_again_is_not_over_whatever_its_state(books):
    books.see(seen(frames=2, published=1, in_flight=1))
    counts = SourceCounts(frames=9, lost_policy=8)
    for state in ("auth_failed", "not_found", "timeout", "codec_unsupported"):
        books.update(CameraReport("front", state, counts, is_last=False))
        assert (ledger(books).source_frames, ledger(books).lost["policy"]) == (2, 0)
    books.update(CameraReport("front", "timeout", counts))
    assert (ledger(books).source_frames, ledger(books).lost["policy"]) == (9, 8)


def test_what_is_in_flight_at_the_end_was_lost_on_the_way(books):
    books.see(seen(frames=4, published=1, in_flight=3))
    list(books.finish())
    assert ledger(books).lost["infer"] == 3
    assert ledger(books).in_flight == 0


def test_a_camera_that_is_cut_off_may_have_sent_what_its_report_takes_for_dropped(books):
    books.update(CameraReport("front", "cut_off", SourceCounts(frames=9, lost_policy=7)))
    books.see(seen(frames=9, published=3, policy=5, infer=1))
    assert ledger(books).published == 1
    assert sum(ledger(books).lost.values()) == 8


def test_a_camera_that_begins_again_goes_on_with_its_books(books):
    books.see(seen(frames=5, published=2, in_flight=1, policy=2))
    books.see(seen(frames=6, published=3, in_flight=1, policy=2))
    books.update(CameraReport("front", "live", SourceCounts(frames=8)))
    before = books.begin_life("front")
    assert (before.source_frames, before.published, before.in_flight) == (8, 2, 0)
    assert before.lost == NOTHING_LOST | {"policy": 2, "infer": 3, "publish": 1}
    assert ledger(books) == before
    books.see(seen(frames=7, published=4, in_flight=1, policy=2))
    after = ledger(books)
    assert (after.source_frames, after.published) == (8, 3)
    assert sum(after.lost.values()) == 5, "what was given up came after all"
    books.see(seen(frames=9, published=4, in_flight=0, policy=2, infer=3))
    assert (ledger(books).published, ledger(books).in_flight) == (4, 0)


def test_a_removed_camera_keeps_its_books_and_says_nothing_more(books):
    books.see(seen(frames=3, published=1, in_flight=2))
    books.end_camera("front")
    assert ledger(books).lost["infer"] == 2
    assert books.status()[0].state == "removed"
    assert list(books.tick(now_ns=10**9)) == []


def test_the_stat_message_carries_the_same_ledger(books):
    books.see(seen(frames=3, published=1, in_flight=2))
    (stat,) = books.tick(now_ns=10**9)
    assert stat.ledger == ledger(books)
    assert list(books.tick(now_ns=10**9 + 1)) == [], "one a period"


def test_a_camera_that_comes_later_or_again_leaves_no_gap_in_its_stat_messages(books):
    numbers = {"front": [], "guest": []}

    def tick(t_s: int) -> None:
        for message in books.tick(t_s * 10**9):
            numbers[message.camera].append(message.seq)

    tick(1)
    books.begin_life("guest")
    tick(2)
    books.end_camera("guest")
    tick(3)
    books.begin_life("guest")
    tick(4)
    assert numbers == {"front": [0, 1, 2, 3], "guest": [0, 1]}


def test_the_newest_frames_are_the_ones_that_count(books, monkeypatch):
    monkeypatch.setattr("streamvis.runtime.ledger._KEPT_FRAMES", 4)
    books.begin_life("left")
    books.see(replace(seen(frames=1, published=1), camera="left"))
    assert books.status()[1].latency_p50_ms is not None
    for count in range(2, 12):
        books.see(replace(seen(frames=count, published=count), camera="left"))
    times_ns = books._books["left"]._times.newest(9)
    assert len(times_ns) == 4
    assert (times_ns[1:, -1] >= times_ns[:-1, -1]).all(), "in order"


def test_a_late_result_of_a_removed_camera_is_counted_and_takes_no_memory_again(books):
    books.see(seen(frames=3, published=1, in_flight=2))
    books.end_camera("front")
    books.see(seen(frames=2, published=2))
    assert (ledger(books).published, ledger(books).lost["infer"]) == (2, 1)
    assert books._removed["front"]._times._ring.size == 0


def test_the_first_of_many_removed_cameras_are_summed_up(books):
    for i in range(300):
        books.begin_life(f"guest-{i}")
        for count in (1, 2):
            books.see(replace(seen(frames=count, published=count), camera=f"guest-{i}"))
        books.see(replace(seen(frames=5, published=4, infer=1), camera=f"guest-{i}"))
        books.end_camera(f"guest-{i}")
    names = [status.camera for status in books.status()]
    assert names == ["front", *(f"guest-{i}" for i in range(44, 300)), "*"]
    rest = books.status()[-1]
    assert rest.ledger == Ledger(220, 132, 0, NOTHING_LOST | {"infer": 44, "publish": 44})
    assert rest.state == "removed"
    assert [m.camera for m in books.tick(10**9)] == ["front"]
    assert books.begin_life("guest-299").source_frames == 5
    assert [m.camera for m in books.tick(2 * 10**9)] == ["front", "guest-299"]
