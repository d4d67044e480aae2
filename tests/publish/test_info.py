"""The info message: what the pipeline is, told in time and again."""

from __future__ import annotations

from wire_samples import ORIGIN, make_messages

from streamvis import wire
from streamvis.publish.info import Informer
from streamvis.types import CameraInfo

SECOND_NS = 1_000_000_000
CAMERA = CameraInfo(640, 480, 10.0, "h264")


def make_informer() -> Informer:
    return Informer(ORIGIN, SECOND_NS, '{"version": 1}')


def test_it_is_repeated_once_a_period():
    informer = make_informer()
    times = [0, SECOND_NS // 2, SECOND_NS, SECOND_NS + 1, 2 * SECOND_NS]
    told = [list(informer.tick(t_ns)) for t_ns in times]
    assert [len(messages) for messages in told] == [1, 0, 1, 0, 1]
    assert [m.seq for messages in told for m in messages] == [0, 1, 2]
    assert told[0][0].config == '{"version": 1}'


def test_a_new_camera_is_told_at_once_and_only_once():
    informer = make_informer()
    list(informer.tick(0))
    informer.set_camera("front", CAMERA)
    (message,) = informer.tick(1)
    assert message.cameras == {"front": CAMERA}
    informer.set_camera("front", CAMERA)
    assert list(informer.tick(2)) == []


def test_the_first_result_names_the_model():
    informer = make_informer()
    seen = wire.peek(wire.encode(make_messages()["det"]))
    (message,) = informer.see(seen)
    assert message.model == make_messages()["det"].model
    assert list(informer.see(seen)) == []


def test_the_last_word_has_it_all():
    informer = make_informer()
    informer.set_camera("front", CAMERA)
    (message,) = informer.finish()
    assert message.cameras == {"front": CAMERA}
