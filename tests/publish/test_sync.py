from __future__ import annotations

import pytest
from wire_samples import ORIGIN, T0_NS, make_result

from streamvis import wire
from streamvis.publish.sync import SyncJoiner
from streamvis.wire import DetMessage, SyncMessage

MS = 1_000_000


class Rig:
    """Feeds a joiner with results at capture times in ms, and keeps what it publishes."""

    def __init__(self, *cameras: str, tolerance_ms: int = 20) -> None:
        self.joiner = SyncJoiner(ORIGIN, cameras, tolerance_ms * MS)
        self.published: list[SyncMessage] = []

    def see(self, camera: str, index: int, t_ms: int, source: str = "device") -> None:
        t_ns = T0_NS + t_ms * MS
        result = make_result(index, camera, t_capture_ns=t_ns, capture_source=source)
        seen = wire.peek(wire.encode(DetMessage.of(result, ORIGIN, seq=index)))
        self.published.extend(self.joiner.see(seen))

    def finish(self) -> None:
        self.published.extend(self.joiner.finish())

    @property
    def moments(self) -> list[dict[str, int]]:
        """Frame index by camera, of every published moment."""
        return [{c: m.frame_index for c, m in s.members.items()} for s in self.published]


def test_cameras_are_paired_by_capture_time_not_by_index() -> None:
    rig = Rig("front", "left")
    rig.see("front", 0, 0)
    for i in range(3):
        rig.see("front", i + 1, 100 * (i + 1))
        rig.see("left", i, 100 * (i + 1) + 5)  # left began one frame later
    assert rig.moments == [{"front": i + 1, "left": i} for i in range(3)]
    assert {(s.skew_ns, s.is_complete) for s in rig.published} == {(5 * MS, True)}
    assert [s.seq for s in rig.published] == [0, 1, 2]


def test_a_missing_camera_makes_a_moment_incomplete() -> None:
    rig = Rig("front", "left", "back")
    for i in (0, 1):
        rig.see("front", i, 100 * i)
        rig.see("left", i, 100 * i)
    rig.see("back", 1, 100)
    assert rig.moments == [{"front": 0, "left": 0}, {"back": 1, "front": 1, "left": 1}]
    assert [s.is_complete for s in rig.published] == [False, True]


def test_a_faster_camera_gives_moments_at_the_slower_ones_rate() -> None:
    rig = Rig("front", "left")
    for t_ms in range(0, 1000, 10):
        if t_ms % 33 == 0:
            rig.see("front", t_ms // 33, t_ms)
        if t_ms % 100 == 0:
            rig.see("left", t_ms // 100, t_ms)
    rig.finish()
    assert all(s.is_complete for s in rig.published)
    assert [m["left"] for m in rig.moments] == sorted({m["left"] for m in rig.moments})


def test_the_nearest_result_wins() -> None:
    rig = Rig("front", "left", tolerance_ms=60)
    rig.see("front", 0, 0)
    rig.see("front", 1, 50)
    rig.see("left", 0, 45)
    assert rig.moments == [{"front": 1, "left": 0}]


def test_results_outside_the_tolerance_are_not_joined() -> None:
    rig = Rig("front", "left")
    rig.see("front", 0, 0)
    rig.see("left", 0, 21)
    rig.finish()
    assert rig.moments == []


def test_a_dead_camera_holds_the_others_up_for_half_a_second_only() -> None:
    rig = Rig("front", "left", "back")
    for i in range(10):
        rig.see("front", i, 100 * i)
        rig.see("left", i, 100 * i)
    assert rig.moments == [{"front": i, "left": i} for i in range(4)]


def test_a_source_that_begins_again_closes_what_is_open() -> None:
    rig = Rig("front", "left", "back")
    rig.see("front", 8, 800)
    rig.see("left", 8, 800)
    rig.see("front", 0, 0)
    assert rig.moments == [{"front": 8, "left": 8}]
    rig.see("left", 0, 0)
    rig.see("back", 0, 0)
    assert rig.moments[1:] == [{"back": 0, "front": 0, "left": 0}]


def test_results_without_a_capture_time_and_unknown_cameras_are_left_out() -> None:
    rig = Rig("front", "left")
    rig.see("front", 0, 0)
    rig.see("left", 0, 0, source="none")
    rig.see("right", 0, 0)
    rig.finish()
    assert rig.moments == []


def test_memory_is_bounded_when_a_clock_stands_still() -> None:
    rig = Rig("front", "left")
    for i in range(1000):
        rig.see("front", i, 0)
    assert len(rig.joiner._open) <= 256


@pytest.mark.parametrize("kind", ["emb", "hb"])
def test_only_detections_are_joined(kind: str) -> None:
    from wire_samples import make_messages

    seen = wire.peek(wire.encode(make_messages()[kind]))
    assert list(SyncJoiner(ORIGIN, ["front"], 0).see(seen)) == []
