import numpy as np
import pytest

from streamvis.train import views
from streamvis.train.config import ViewConfig
from streamvis.train.pictures import Picture
from streamvis.train.views import ViewMaker
from streamvis.types import CLASSES

CAR, SIGN = CLASSES.index("car"), CLASSES.index("traffic_sign")


def make_picture(labelled: tuple[str, ...] = CLASSES, ignored: bool = False) -> Picture:
    """A black picture with a white square, which is the labelled object."""
    image = np.zeros((200, 300, 3), np.uint8)
    image[80:120, 100:160] = 255
    return Picture(
        image=image,
        xyxy=np.array([[100, 80, 160, 120]], np.float32),
        class_id=np.array([-1 if ignored else CAR]),
        labelled=np.array([name in labelled for name in CLASSES]),
        weight=1.0,
    )


def make_maker(picture: Picture, mosaic: float, seed: int = 0) -> ViewMaker:
    return ViewMaker([picture], ViewConfig(size=256, mosaic=mosaic, scale=(0.5, 1.0)), seed)


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_boxes_stay_on_their_objects(mosaic: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "_recolour", lambda image, _: image)
    monkeypatch.setattr(views, "_fill", lambda _: 0)
    maker = make_maker(make_picture(), mosaic)
    num_boxes = 0
    for index in range(20):
        view = maker.make(index)
        for x0, y0, x1, y1 in view.xyxy.round().astype(int):
            if x1 - x0 < 12 or y1 - y0 < 12:
                continue
            assert view.image[y0 + 3 : y1 - 3, x0 + 3 : x1 - 3].min() > 230
            view.image[max(0, y0 - 3) : y1 + 3, max(0, x0 - 3) : x1 + 3] = 0
            num_boxes += 1
        assert (view.image > 128).mean() < 0.01  # no object without its box
    assert num_boxes > 10


def test_a_view_is_always_the_same_one_and_others_differ() -> None:
    first, again = (make_maker(make_picture(), 0.5).make(7) for _ in range(2))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.xyxy, again.xyxy)
    other = make_maker(make_picture(), 0.5).make(8)
    assert not np.array_equal(first.image, other.image)


def test_unlabelled_classes_are_masked_where_the_picture_lies_only() -> None:
    view = make_maker(make_picture(labelled=("car",)), mosaic=0.0).make(0)
    assert view.labelled[..., CAR].all()
    assert not view.labelled[..., SIGN].any()  # one region fills the whole view
    assert view.labelled.shape == (32, 32, len(CLASSES))


def test_ignored_regions_are_marked_and_give_no_box() -> None:
    view = make_maker(make_picture(ignored=True), mosaic=0.0).make(3)
    assert len(view.xyxy) == 0
    bright = view.image.astype(int).sum(2) == view.image.astype(int).sum(2).max()
    marked = np.kron(view.ignored, np.ones((8, 8), bool))
    assert view.ignored.any()
    assert (bright & marked).sum() > 0.6 * marked.sum()


def test_pictures_are_drawn_by_weight() -> None:
    heavy, light = make_picture(), make_picture(labelled=())
    light = Picture(light.image, light.xyxy, light.class_id, light.labelled, weight=0.25)
    maker = ViewMaker([heavy, light], ViewConfig(size=64, mosaic=0.0), seed=0)
    share = np.mean([maker.make(i).labelled.all() for i in range(300)])
    assert share == pytest.approx(0.8, abs=0.07)
