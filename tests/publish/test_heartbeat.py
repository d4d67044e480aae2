from __future__ import annotations

from wire_samples import ORIGIN, make_messages, make_result

from streamvis import wire
from streamvis.publish.heartbeat import Heart
from streamvis.wire import CameraState, DetMessage, LastSeq

SECOND = 1_000_000_000


def test_it_beats_once_a_period() -> None:
    heart = Heart(ORIGIN, SECOND)
    now = 5 * SECOND
    beats = [list(heart.tick(now + ms * 1_000_000)) for ms in range(0, 3000, 100)]
    assert [len(beat) for beat in beats] == [1, *[0] * 9] * 3
    assert [beat[0].seq for beat in beats if beat] == [0, 1, 2]


def test_it_tells_the_last_seq_of_every_topic() -> None:
    heart = Heart(ORIGIN, SECOND)
    for message in make_messages().values():
        assert not list(heart.see(wire.peek(wire.encode(message))))
    (beat,) = heart.tick(SECOND)
    assert beat.last_seq["sv1/det/av_4cam/front/"] == LastSeq(ORIGIN.epoch, 4)
    assert len(beat.last_seq) == len(make_messages())


def test_it_tells_the_cameras_states_and_the_end() -> None:
    heart = Heart(ORIGIN, SECOND, config_hash="abc")
    heart.set_camera("front", "live", 10.0)
    heart.set_camera("left", "lost")
    (beat,) = heart.finish()
    assert beat.cameras == {"front": CameraState("live", 10.0), "left": CameraState("lost", None)}
    assert (beat.config_hash, beat.is_stopped) == ("abc", True)


def see_of(heart: Heart, camera: str, seq: int) -> str:
    """A result; returns its topic."""
    seen = wire.peek(wire.encode(DetMessage.of(make_result(0, camera), ORIGIN, seq)))
    heart.see(seen)
    return seen.topic


def test_a_camera_that_comes_again_was_never_forgotten() -> None:
    """Or whoever came meanwhile would take the results of its earlier life for missed ones."""
    heart = Heart(ORIGIN, SECOND)
    heart.set_camera("guest", "live")
    topic = see_of(heart, "guest", 64)
    heart.drop_camera("guest")
    assert heart.beat().last_seq == {topic: LastSeq(ORIGIN.epoch, 64)}
    heart.set_camera("guest", "connecting")
    for i in range(400):
        heart.set_camera(f"other-{i}", "live")
        see_of(heart, f"other-{i}", 1)
        heart.drop_camera(f"other-{i}")
    assert heart.beat().last_seq[topic] == LastSeq(ORIGIN.epoch, 64)


def test_of_removed_cameras_the_newest_are_told_only() -> None:
    heart = Heart(ORIGIN, SECOND)
    for i in range(600):
        heart.set_camera(f"camera-{i}", "live")
        topic = see_of(heart, f"camera-{i}", i)
        heart.drop_camera(f"camera-{i}")
        told = heart.beat().last_seq
        assert told[topic] == LastSeq(ORIGIN.epoch, i)
        assert len(told) <= 128
        see_of(heart, f"camera-{max(0, i - 200)}", i)  # a late one
    assert len(heart.beat().last_seq) <= 128
