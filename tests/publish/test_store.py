from __future__ import annotations

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from streamvis import wire
from streamvis.publish.reader import Reader
from streamvis.publish.store import Store
from streamvis.wire import Batch, ReadRequest

STORE_ID = "e" * 32
SECOND = 1_000_000_000
MESSAGE = wire.join([b"topic", b"header"])


def read(
    after: int = -1, credit: int = 100, store: str = STORE_ID, session: int = 1
) -> ReadRequest:
    return ReadRequest(session, ("a/",), store, after, credit)


def filled(*topics: str, max_bytes: int = 1000) -> Store:
    store = Store(max_bytes)
    for topic in topics:
        store.append(topic, MESSAGE)
    return store


def batches(reader: Reader) -> list[Batch]:
    found = [wire.decode_answer(parts) for parts in reader.batches()]
    assert all(isinstance(batch, Batch) for batch in found)
    return found  # type: ignore[return-value]


def positions(reader: Reader) -> list[int]:
    return [at for batch in batches(reader) for at in batch.positions]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 40), max_size=30), st.integers(0, 100), st.integers(-1, 30))
def test_the_store_keeps_the_newest_that_fit(sizes: list[int], limit: int, position: int) -> None:
    store = Store(limit)
    plain: deque[tuple[int, int]] = deque()
    for at, size in enumerate(sizes):
        store.append("a/", bytes(size))
        plain.append((at, size))
        while sum(size for _, size in plain) > limit:
            plain.popleft()
    kept = [(at, len(data)) for at, data in store.after(position, lambda _: True)]
    assert kept == [(at, size) for at, size in plain if at > position]
    assert store.num_bytes == sum(size for _, size in plain)
    assert store.end == len(sizes) - 1
    first = sizes[position + 1 :]
    forgotten = max(0, len(first) - len(kept))
    assert store.num_skipped(position, lambda _: True) == forgotten


def test_what_nobody_wants_is_not_missed() -> None:
    store = filled("a/", "b/", "b/", max_bytes=2 * len(MESSAGE))  # a/ is forgotten
    assert store.num_skipped(0, lambda topic: topic == "a/") == 0
    store.append("b/", MESSAGE)
    assert store.num_skipped(0, lambda topic: topic == "b/") == 1
    assert store.num_skipped(-1, lambda topic: topic == "a/") == 2


def test_a_reader_gets_what_it_wants_up_to_its_credit() -> None:
    store = filled("a/", "b/", "a/", "a/")
    reader = Reader(read(credit=2), store, STORE_ID, 0)
    (batch,) = batches(reader)
    assert (batch.positions, batch.end, batch.num_skipped) == ((0, 2), 2, 0)
    assert batch.messages == [[b"topic", b"header"]] * 2
    assert positions(reader) == []
    assert reader.is_behind
    reader.update(read(after=2, credit=2), 0)
    assert positions(reader) == [3]
    reader.update(read(after=3, credit=2), 0)
    assert not reader.is_behind


def test_a_repeated_request_sends_nothing_twice_and_a_new_session_does() -> None:
    store = filled("a/", "a/")
    reader = Reader(read(credit=9), store, STORE_ID, 0)
    assert positions(reader) == [0, 1]
    reader.update(read(after=-1, credit=9), 0)
    assert positions(reader) == []
    assert positions(Reader(read(after=0, session=2), store, STORE_ID, 0)) == [1]


def test_now_is_where_a_new_reader_begins_and_another_store_at_the_oldest() -> None:
    store = filled("a/", "a/")
    new = Reader(read(store=""), store, STORE_ID, 0)
    other = Reader(read(after=99, store="f" * 32), store, STORE_ID, 0)
    assert positions(new) == []
    assert positions(other) == [0, 1]


def test_what_was_forgotten_unread_is_said_once() -> None:
    store = filled(*["a/"] * 5, max_bytes=2 * len(MESSAGE))
    reader = Reader(read(after=0, credit=1), store, STORE_ID, 0)
    (batch,) = batches(reader)
    assert (batch.positions, batch.num_skipped) == ((3,), 2)
    reader.update(read(after=3, credit=1), 0)
    assert batches(reader)[0].num_skipped == 0


def test_a_reader_is_gone_when_silent_and_stuck_when_it_takes_nothing() -> None:
    store = filled("a/")
    reader = Reader(read(credit=0), store, STORE_ID, 0)
    assert not reader.is_gone(30 * SECOND)
    assert reader.is_gone(31 * SECOND)
    reader.update(read(credit=0), 31 * SECOND)
    assert (reader.is_gone(32 * SECOND), reader.is_stuck(32 * SECOND)) == (False, True)


def test_only_what_was_not_acknowledged_counts_as_behind() -> None:
    store = filled("a/", "b/", "b/", "b/")
    reader = Reader(read(credit=1), store, STORE_ID, 0)
    assert positions(reader) == [0]
    assert reader.num_bytes_behind == 4 * len(MESSAGE)
    reader.update(read(after=0, credit=1), 0)
    assert positions(reader) == []
    assert reader.num_bytes_behind == 0


def test_a_large_message_travels_alone() -> None:
    store = Store(10_000_000)
    for size in (10, 2_000_000, 10):
        store.append("a/", wire.join([bytes(size)]))
    reader = Reader(read(), store, STORE_ID, 0)
    assert [batch.positions for batch in batches(reader)] == [(0,), (1,), (2,)]


def test_topics_that_are_long_gone_are_not_kept_one_by_one() -> None:
    topics = [f"{i}/" for i in range(5000)]
    store = filled(*topics, "a/", max_bytes=len(MESSAGE))
    assert len(store._forgotten) == 4096
    assert store.num_skipped(10, lambda topic: topic == "b/") > 0, "nobody can tell any more"
    assert store.num_skipped(4000, lambda topic: topic == "b/") == 0
    assert store.num_skipped(4000, lambda topic: topic == "4500/") > 0
