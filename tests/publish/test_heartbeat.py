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


def test_a_removed_camera_is_told_once_more_and_then_forgotten() -> None:
    heart = Heart(ORIGIN, SECOND)
    for i in range(320):
        camera = f"camera-{i}"
        heart.set_camera(camera, "live")
        seen = wire.peek(wire.encode(DetMessage.of(make_result(0, camera), ORIGIN, i)))
        heart.see(seen)
        heart.drop_camera(camera)
        told = heart.beat().last_seq
        assert told[seen.topic] == LastSeq(ORIGIN.epoch, i)
        assert len(told) <= 2
        heart.see(seen)  # a late one
    assert len(heart.beat().last_seq) == 1
    assert heart.beat().last_seq == {}


def test_a_camera_that_comes_again_is_told_at_once_where_its_numbers_go_on() -> None:
    heart = Heart(ORIGIN, SECOND)
    heart.set_camera("guest", "live")
    seen = wire.peek(wire.encode(DetMessage.of(make_result(0, "guest"), ORIGIN, 64)))
    heart.see(seen)
    assert list(heart.tick(SECOND))
    heart.drop_camera("guest")
    (beat,) = heart.tick(2 * SECOND)
    assert beat.last_seq == {seen.topic: LastSeq(ORIGIN.epoch, 64)}
    (beat,) = heart.tick(3 * SECOND)
    assert beat.last_seq == {}
    heart.set_camera("guest", "connecting")
    (beat,) = heart.tick(3 * SECOND + 1)
    assert beat.last_seq == {seen.topic: LastSeq(ORIGIN.epoch, 64)}
