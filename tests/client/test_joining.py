"""The snapshot and the stream in step, whatever arrives first and whatever gets lost."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from matrix import contract
from wire_samples import ORIGIN, make_result

from streamvis import wire
from streamvis.client.inbox import Inbox
from streamvis.client.joining import Joining
from streamvis.wire import ALL_CAMERAS, DetMessage, Heartbeat, LastSeq, Origin, Parts, Snapshot

CAMERAS = ("a", "b", "c")


class Pipeline:
    """A publisher and its service, without sockets."""

    def __init__(self, origin: Origin = ORIGIN) -> None:
        self.stream: list[Parts] = []
        self._origin = origin
        self._seq = dict.fromkeys((*CAMERAS, "hb"), 0)
        self._last: dict[bytes, Parts] = {}

    def _publish(self, parts: Parts) -> None:
        self.stream.append(parts)
        self._last.pop(bytes(parts[0]), None)  # the one that changed last comes last
        self._last[bytes(parts[0])] = parts

    def _next(self, name: str) -> int:
        self._seq[name] += 1
        return self._seq[name] - 1

    def det(self, camera: str) -> None:
        seq = self._next(camera)
        self._publish(wire.encode(DetMessage.of(make_result(seq, camera), self._origin, seq)))

    def beat(self, is_stopped: bool = False) -> LastSeq:
        seq = self._next("hb")
        told = {
            wire.topic_prefix("det", "av_4cam", name): LastSeq(self._origin.epoch, count - 1)
            for name, count in self._seq.items()
            if name != "hb" and count
        }
        self._publish(
            wire.encode(
                Heartbeat(
                    origin=self._origin,
                    camera=ALL_CAMERAS,
                    seq=seq,
                    last_seq=told,
                    cameras={},
                    config_hash="",
                    is_stopped=is_stopped,
                    service="ipc:///service",
                )
            )
        )
        return LastSeq(self._origin.epoch, seq)

    def snapshot(self) -> Snapshot:
        barrier = self.beat()
        return Snapshot(1, barrier, list(self._last.values()))


class Client:
    def __init__(self) -> None:
        self.inbox = Inbox(["det"])
        self.joining = Joining()
        self.got: list[tuple[str, str, int]] = []  # (epoch, camera, seq)

    def see(self, parts: Parts) -> None:
        self._book(*self.joining.see(wire.peek(parts), parts))

    def answer(self, snapshot: Snapshot) -> None:
        self._book(*self.joining.answer(snapshot))

    def _book(self, before: list[Parts], now: list[tuple[wire.Observed, Parts]]) -> None:
        found = [self.inbox.accept_state(parts) for parts in before]
        found += [self.inbox.accept(parts) for _, parts in now]
        self.got += [(seen.epoch, seen.camera, seen.seq) for seen in found if seen]


steps = st.lists(st.sampled_from([*CAMERAS, "beat"]), max_size=12)


def play(pipeline: Pipeline, wanted: list[str]) -> None:
    for step in wanted:
        pipeline.beat() if step == "beat" else pipeline.det(step)


@contract("subscribers")
@settings(max_examples=300, deadline=None, derandomize=True)
@given(steps, steps, steps, steps, st.integers(0, 40), st.integers(0, 40))
def test_a_late_joiner_has_the_state_and_then_everything_once(
    before: list[str],
    until_asked: list[str],
    until_answered: list[str],
    later: list[str],
    joined_at: int,
    answered_at: int,
) -> None:
    """The client hears the stream from `joined_at` on; the answer comes before or after messages
    that were published later, or earlier, than the snapshot was made."""
    pipeline = Pipeline()
    play(pipeline, before)
    play(pipeline, until_asked)
    snapshot = pipeline.snapshot()
    barrier_at = len(pipeline.stream) - 1
    play(pipeline, until_answered)
    play(pipeline, later)
    pipeline.beat()
    heard_from = min(joined_at, barrier_at)
    kinds = [wire.peek(parts).kind for parts in pipeline.stream]
    asked_at = kinds.index("hb", heard_from) + 1  # a heartbeat says whom to ask
    answer_at = min(max(answered_at, asked_at), len(pipeline.stream))

    client = Client()
    for at in range(heard_from, len(pipeline.stream)):
        if at == answer_at:
            client.answer(snapshot)
        client.see(pipeline.stream[at])
    if answer_at >= len(pipeline.stream):
        client.answer(snapshot)

    assert client.joining.is_joined
    published = [wire.peek(parts) for parts in pipeline.stream]
    state = {seen.camera: seen.seq for seen in published[:barrier_at] if seen.kind == "det"}
    after = [(s.camera, s.seq) for s in published[barrier_at:] if s.kind == "det"]
    got = [(camera, seq) for _, camera, seq in client.got]
    assert dict(got[: len(state)]) == state
    assert got[len(state) :] == after
    assert not client.inbox.gaps


@contract("subscribers")
def test_a_lost_barrier_means_another_question() -> None:
    pipeline, client = Pipeline(), Client()
    pipeline.beat()
    client.see(pipeline.stream[-1])
    assert (client.joining.must_ask, client.joining.service) == (True, "ipc:///service")
    client.joining.must_ask = False
    pipeline.det("a")
    snapshot = pipeline.snapshot()  # its heartbeat does not reach the client
    client.answer(snapshot)
    assert not client.joining.must_ask
    pipeline.beat()
    client.see(pipeline.stream[-1])
    assert client.joining.must_ask
    assert client.got == []
    second = pipeline.snapshot()
    client.see(pipeline.stream[-1])
    client.answer(second)
    assert client.got == [(ORIGIN.epoch, "a", 0)]


@contract("subscribers")
def test_a_restarted_pipeline_is_asked_again_and_its_gap_is_counted() -> None:
    first, client = Pipeline(), Client()
    first.det("a")
    snapshot = first.snapshot()
    client.see(first.stream[-1])
    client.answer(snapshot)
    other = replace(ORIGIN, epoch="f" * 32)
    second = Pipeline(other)
    for _ in range(3):
        second.det("a")  # 0 and 1 go by unheard
    snapshot = second.snapshot()
    client.see(second.stream[-1])
    assert client.joining.must_ask
    client.answer(snapshot)
    second.det("a")
    client.see(second.stream[-1])
    assert client.got == [(ORIGIN.epoch, "a", 0), (other.epoch, "a", 2), (other.epoch, "a", 3)]
    assert client.inbox.num_restarts == 1
    assert client.inbox.gaps == {(other.epoch, "sv1/det/av_4cam/a/"): 2}


def test_a_pipeline_that_stops_meanwhile_still_gives_what_came() -> None:
    pipeline, client = Pipeline(), Client()
    pipeline.beat()
    pipeline.det("a")
    pipeline.beat(is_stopped=True)
    for parts in pipeline.stream:
        client.see(parts)
    assert client.got == [(ORIGIN.epoch, "a", 0)]
    assert client.inbox.is_stopped


@contract("subscribers")
def test_what_is_held_back_is_bounded() -> None:
    pipeline, client = Pipeline(), Client()
    pipeline.beat()
    client.see(pipeline.stream[-1])
    pipeline.det("a")
    for _ in range(5000):
        client.see(pipeline.stream[-1])
    assert len(client.joining._held) == 4096
    for _ in range(40):
        client.joining.see(wire.peek(pipeline.stream[-1]), [*pipeline.stream[-1], bytes(1 << 22)])
    assert len(client.joining._held) < 16
