from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from streamvis.errors import WireError
from streamvis.render.jpeg import decode_jpeg, encode_jpeg, write_png
from streamvis.render.picture import Picture


def smooth() -> Picture:
    """Red grows to the right, green downwards: a swapped channel shows at once."""
    y, x = np.mgrid[0:96, 0:160]
    return np.stack([x * 1.5, y * 2.5, 0 * x], axis=2).astype(np.uint8)


def test_round_trip_keeps_the_colours() -> None:
    back = decode_jpeg(encode_jpeg(smooth()))
    assert back.dtype == np.uint8
    assert np.abs(back.astype(int) - smooth()).mean() < 2


def test_quality_is_worth_bytes() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (96, 160, 3), np.uint8)
    assert len(encode_jpeg(noise, 95)) > 1.5 * len(encode_jpeg(noise, 50))


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"no picture at all"])
def test_bytes_that_are_no_picture(data: bytes) -> None:
    with pytest.raises(WireError, match="should be a JPEG picture"):
        decode_jpeg(data)


def test_png_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "new" / "still.png"
    write_png(path, smooth())
    np.testing.assert_array_equal(cv2.imread(str(path))[:, :, ::-1], smooth())
    assert [p.name for p in path.parent.iterdir()] == ["still.png"]
