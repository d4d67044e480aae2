from __future__ import annotations

from dataclasses import replace

import pytest
from wire_samples import ORIGIN, make_messages, make_result

from streamvis import wire
from streamvis.client.inbox import Inbox
from streamvis.errors import Lagging, VersionError, WireError
from streamvis.wire import (
    ALL_CAMERAS,
    CameraState,
    DetMessage,
    Heartbeat,
    LastSeq,
    Origin,
    Parts,
    local_clock_id,
)

TOPIC = "sv1/det/av_4cam/front/"
OTHER = replace(ORIGIN, epoch="f" * 32)
MS = 1_000_000


def det(seq: int, camera: str = "front", origin: Origin = ORIGIN, t_ingest_ns: int = 0) -> Parts:
    result = make_result(seq, camera, t_ingest_ns=t_ingest_ns)
    return wire.encode(DetMessage.of(result, origin, seq))


def beat(last_seq: dict[str, LastSeq], is_stopped: bool = False) -> Parts:
    return wire.encode(
        Heartbeat(
            origin=ORIGIN,
            camera=ALL_CAMERAS,
            seq=0,
            last_seq=last_seq,
            cameras={"front": CameraState("live", 10.0)},
            config_hash="",
            is_stopped=is_stopped,
        )
    )


def test_a_gap_is_counted_where_it_is() -> None:
    inbox = Inbox(["det"])
    for seq in (5, 6, 9, 10):  # joined at 5: what was before is not ours
        inbox.accept(det(seq))
    assert inbox.gaps == {(ORIGIN.epoch, TOPIC): 2}


def test_topics_are_numbered_apart() -> None:
    inbox = Inbox(["det"])
    for camera in ("front", "left", "front", "left"):
        inbox.accept(det(len(inbox._last_seq) // 2, camera))
    assert not inbox.gaps


def test_a_heartbeat_finds_the_lost_tail_once() -> None:
    inbox = Inbox(["det"])
    inbox.accept(det(0))
    for _ in range(2):
        inbox.accept(beat({TOPIC: LastSeq(ORIGIN.epoch, 3)}))
    assert inbox.gaps == {(ORIGIN.epoch, TOPIC): 3}
    inbox.accept(det(4))
    assert sum(inbox.gaps.values()) == 3


def test_what_went_by_before_the_first_heartbeat_is_no_gap() -> None:
    inbox = Inbox(["det"])
    inbox.accept(beat({TOPIC: LastSeq(ORIGIN.epoch, 3)}))
    inbox.accept(det(4))
    assert not inbox.gaps


def test_a_topic_that_begins_later_is_ours_from_its_first_message() -> None:
    inbox = Inbox(["det"])
    inbox.accept(beat({}))
    inbox.accept(det(2))
    assert inbox.gaps == {(ORIGIN.epoch, TOPIC): 2}


def test_topics_of_other_kinds_and_cameras_make_no_gap() -> None:
    inbox = Inbox(["det"], cameras=["front"])
    inbox.accept(beat({}))
    later = {
        "sv1/emb/av_4cam/front/": LastSeq(ORIGIN.epoch, 9),
        "sv1/det/av_4cam/left/": LastSeq(ORIGIN.epoch, 9),
        "sv1/new/av_4cam/front/": LastSeq(ORIGIN.epoch, 9),
    }
    inbox.accept(beat(later))
    assert not inbox.gaps


def test_of_many_epochs_only_the_last_two_are_kept() -> None:
    inbox = Inbox(["det"])
    for number in range(50):
        origin = replace(ORIGIN, epoch=f"{number:032x}")
        for seq in (0, 1):
            inbox.accept(det(seq, origin=origin))
    before = replace(ORIGIN, epoch=f"{48:032x}")
    inbox.accept(det(3, origin=before))  # the one before may still have something to say
    inbox.accept(det(2, origin=origin))
    assert inbox.gaps == {(before.epoch, TOPIC): 1}
    assert len(inbox._last_seq) == 2


def test_a_new_epoch_is_a_restart_and_counts_from_zero() -> None:
    inbox = Inbox(["det"])
    inbox.accept(beat({}))
    for parts in (det(0), det(1), det(0, origin=OTHER), det(2, origin=OTHER)):
        inbox.accept(parts)
    assert inbox.num_restarts == 1
    assert inbox.gaps == {(OTHER.epoch, TOPIC): 1}


def test_the_stopped_heartbeat_ends_it() -> None:
    inbox = Inbox(["det"])
    assert inbox.accept(beat({})) is None
    assert not inbox.is_stopped
    inbox.accept(beat({}, is_stopped=True))
    assert inbox.is_stopped


def test_heartbeats_of_another_pipeline_are_not_listened_to() -> None:
    inbox = Inbox(["det"], pipeline="other")
    inbox.accept(beat({}, is_stopped=True))
    assert not inbox.is_stopped


def test_topics_end_with_the_heartbeats() -> None:
    assert Inbox(["det", "hb"]).topics == ["sv1/det/", "sv1/hb/"]
    one = Inbox(["det", "sync"], cameras=["cam1"], pipeline="av")
    assert one.topics == ["sv1/det/av/cam1/", "sv1/sync/av/", "sv1/hb/"]


def test_age_counts_from_ingest_on_the_same_host_only() -> None:
    here = replace(ORIGIN, clock_id=local_clock_id())
    inbox = Inbox(["det"], max_age_ms=100)
    assert inbox.open(det(0, origin=here, t_ingest_ns=0), now_ns=100 * MS).seq == 0
    with pytest.raises(Lagging, match=r"frame 0 of front is 101 ms old.*latest=True"):
        inbox.open(det(0, origin=here, t_ingest_ns=0), now_ns=101 * MS)
    assert inbox.open(det(0, origin=ORIGIN, t_ingest_ns=0), now_ns=10**12).seq == 0


def test_health_follows_results_and_heartbeats() -> None:
    inbox = Inbox(["det", "emb"])
    inbox.accept(beat({}), now_ns=0)
    for i in range(10):
        inbox.accept(det(i), now_ns=i * 100 * MS)
        inbox.accept(wire.encode(make_messages()["emb"]), now_ns=i * 100 * MS)
    health = inbox.health("front", now_ns=1000 * MS)
    assert (health.is_alive, health.is_freq_ok, health.state) == (True, True, "live")


def test_why_it_is_silent() -> None:
    inbox = Inbox(["det"])
    assert "start the pipeline" in inbox.why_silent
    inbox.accept(beat({}))
    assert inbox.why_silent == "The pipeline av_4cam is alive; its cameras: front (live)."


def test_bad_messages_are_errors_of_the_wire() -> None:
    with pytest.raises(WireError):
        Inbox(["det"]).accept([b"?", b"?"])
    topic, *rest = det(0)
    with pytest.raises(VersionError):
        Inbox(["det"]).accept([bytes(topic).replace(b"sv1", b"sv2"), *rest])


@pytest.mark.parametrize("kinds", [[], ["dets"], ["det", "sound"]])
def test_unknown_kinds_are_refused(kinds: list[str]) -> None:
    with pytest.raises(ValueError, match="kinds must be some of det, emb"):
        Inbox(kinds)


def test_heartbeats_that_are_asked_for_make_no_gaps_of_their_own() -> None:
    hb = "sv1/hb/av_4cam/*/"
    inbox = Inbox(["hb"])
    for seq in (4, 5, 8):  # joined at 4; 6 and 7 are missing
        heartbeat = wire.decode(beat({hb: LastSeq(ORIGIN.epoch, seq - 1)}))
        assert inbox.accept(wire.encode(replace(heartbeat, seq=seq)))
    assert inbox.gaps == {(ORIGIN.epoch, hb): 2}
