from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_frame

from streamvis.eval.probe import PROBES, Moment, bend_boxes, disturb
from streamvis.types import LETTERBOX_FILL, LetterBox

FPS = 10.0


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)


def seen(probe: str, index: int, image: np.ndarray | None = None) -> np.ndarray:
    image = np.full((90, 160, 3), 100, np.uint8) if image is None else image
    return PROBES[probe](image, Moment("front", index, FPS))


@pytest.mark.parametrize("probe", PROBES)
def test_the_same_frame_is_disturbed_in_the_same_way(probe: str) -> None:
    plain = picture()
    once, again = seen(probe, 7, plain), seen(probe, 7, plain)
    assert once.dtype == np.uint8
    assert once.shape == plain.shape
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(plain, picture())  # the picture itself is left alone


@pytest.mark.parametrize("probe", PROBES)
def test_the_padding_stays_as_it_is(probe: str) -> None:
    frame = make_frame(23)
    image = frame.image.copy()
    image[360:] = LETTERBOX_FILL
    frame = replace(frame, image=image, letterbox=LetterBox(1280, 720, 640, 384))
    after = disturb(probe, frame, FPS)
    assert np.all(after.image[360:] == LETTERBOX_FILL)
    assert np.any(after.image[:360] != frame.image[:360])
    assert (after.index, after.pts) == (frame.index, frame.pts)


def test_fade_is_slow_and_comes_back() -> None:
    means = [seen("fade", i).mean() for i in range(0, 201)]
    assert means[0] == means[200] == 100
    assert means[100] == pytest.approx(35)
    assert np.abs(np.diff(means)).max() <= 1


def test_flicker_alternates() -> None:
    assert [seen("flicker", i).mean() for i in range(4)] == [92, 108, 92, 108]


def test_exposure_jumps_every_two_seconds() -> None:
    means = [seen("exposure", i).mean() for i in range(100)]
    jumps = np.flatnonzero(np.diff(means))
    assert jumps.tolist() == [19, 39, 59, 79]


def test_noise_has_its_size_and_differs_by_frame_and_camera() -> None:
    one, next_one = seen("noise", 1), seen("noise", 2)
    other = PROBES["noise"](np.full((90, 160, 3), 100, np.uint8), Moment("left", 1, FPS))
    assert one.std() == pytest.approx(8, rel=0.05)
    for pair in ((one, next_one), (one, other)):
        correlation = np.corrcoef(pair[0].ravel(), pair[1].ravel())[0, 1]
        assert abs(correlation) < 0.05


def test_night_is_dark_and_hardly_has_colour() -> None:
    plain = np.full((90, 160, 3), (200, 120, 60), np.uint8)
    dark = seen("night", 0, plain)
    assert dark.mean() < 0.5 * plain.mean()
    red, _, blue = dark.reshape(-1, 3).mean(axis=0)
    assert 1.2 < red / blue < 2  # of 3.3
    assert dark[..., 0].std() == pytest.approx(6, rel=0.1)


def test_xray_turns_bright_to_dark_with_little_contrast() -> None:
    steps = np.repeat(np.linspace(0, 255, 160).astype(np.uint8)[None, :, None], 90, 0).repeat(3, 2)
    flat = seen("xray", 0, steps)
    assert np.all(flat[..., 0] == flat[..., 2])
    assert flat[0, 0, 0] > flat[0, -1, 0]
    assert int(flat.max()) - int(flat.min()) < 100


@pytest.mark.parametrize("box", [(10, 20, 110, 90), (300, 150, 360, 220), (500, 260, 640, 360)])
def test_fisheye_moves_a_label_with_its_object(box: tuple[int, int, int, int]) -> None:
    x0, y0, x1, y1 = box
    image = np.zeros((360, 640, 3), np.uint8)
    image[y0:y1, x0:x1] = 255
    ys, xs = np.nonzero(seen("fisheye", 0, image)[..., 0] > 127)
    drawn = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    (bent,) = bend_boxes(np.array([box], np.float32), 640, 360)
    np.testing.assert_allclose(bent, drawn, atol=2)
    assert np.abs(bent - box).max() > 3  # it did move


def test_fisheye_loses_nothing_and_is_one_at_the_centre() -> None:
    corners = np.array([[0, 0, 640, 360], [319.5, 179.5, 320.5, 180.5]], np.float32)
    whole, centre = bend_boxes(corners, 640, 360)
    assert 0 <= whole[0] < 64
    assert whole[1] == pytest.approx(0, abs=0.01)
    np.testing.assert_allclose((centre[:2] + centre[2:]) / 2, [320, 180], atol=1e-3)
    assert bend_boxes(np.zeros((0, 4), np.float32), 640, 360).shape == (0, 4)
