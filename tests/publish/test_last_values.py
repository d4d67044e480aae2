from __future__ import annotations

from dataclasses import replace

from wire_samples import make_messages, make_result

from streamvis import wire
from streamvis.publish.last_values import LastValues
from streamvis.wire import AnyMessage, CameraState, DetMessage, Origin, VidMessage

ORIGIN = Origin.here("av_4cam")


def see(values: LastValues, *messages: AnyMessage) -> None:
    for message in messages:
        parts = wire.encode(message)
        values.see(wire.peek(parts), parts)


def topics(values: LastValues, *prefixes: str) -> list[str]:
    return [bytes(parts[0]).decode() for parts in values.matching(prefixes or ("",))]


def det(camera: str, seq: int = 0) -> DetMessage:
    return DetMessage.of(make_result(seq, camera), ORIGIN, seq)


def test_the_newest_of_each_topic_oldest_first() -> None:
    values = LastValues()
    see(values, det("a", 0), det("b", 0), det("a", 1))
    assert topics(values) == ["sv1/det/av_4cam/b/", "sv1/det/av_4cam/a/"]
    newest = [wire.peek(parts).seq for parts in values.matching(("sv1/det/av_4cam/a/",))]
    assert newest == [1]


def test_a_picture_of_a_bitstream_is_no_state() -> None:
    values = LastValues()
    vid = make_messages()["vid"]
    assert isinstance(vid, VidMessage)
    see(values, vid)
    assert topics(values) == []


def test_a_camera_that_was_removed_is_forgotten() -> None:
    values = LastValues()
    beat = make_messages()["hb"]
    both = {name: CameraState("live", 10.0) for name in ("a", "xa")}
    see(values, det("a"), det("xa"), replace(beat, cameras=both))
    assert len(topics(values, "sv1/det/")) == 2
    see(values, replace(beat, seq=10, cameras={"xa": both["xa"]}))
    assert topics(values, "sv1/det/") == ["sv1/det/av_4cam/xa/"]


def test_memory_is_bounded() -> None:
    values = LastValues()
    parts = wire.encode(det("a"))
    seen = wire.peek(parts)
    for i in range(5000):
        values.see(replace(seen, topic=f"sv1/det/av_4cam/c{i}/"), parts)
    assert len(topics(values)) == 4096
