from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
from eval.report.sample import sample_tile_use

from streamvis.eval.report.style import Mark
from streamvis.eval.report.tiles import often_uri, share_plot
from streamvis.render.jpeg import decode_jpeg


def decoded(uri: str) -> np.ndarray:
    return decode_jpeg(base64.b64decode(uri.split(",")[1])).astype(int)


def test_shares_by_tile_and_by_frame() -> None:
    use, dense = sample_tile_use()
    assert use.often[2, 3] == 0.5
    assert use.often[0, 0] == 1 / 40
    assert use.share[[0, 1, 30]].tolist() == [1, 10 / 60, 0]
    assert (dense.often == 1).all()
    assert (use.is_reused, dense.is_reused) == (True, False)


def test_the_words_below_the_map() -> None:
    use, dense = sample_tile_use()
    assert use.words == "front: 10.4 % encoded, 0.0 % stale, over 40 frames"
    assert dense.words == "front: 100.0 % encoded, over 40 frames"


def test_often_encoded_tiles_are_bright_and_lie_in_their_place() -> None:
    use = sample_tile_use()[0]
    picture = decoded(often_uri(replace(use, image=np.full((360, 640, 3), 100, np.uint8))))
    assert picture.shape == (315, 560, 3)
    corner = picture[4::56, 4::56, 0]  # of each tile, beside its figure
    np.testing.assert_array_equal(corner > 80, use.often > 0.4)
    assert picture.max() > 240, "the figures"


def test_many_small_tiles_have_no_figures() -> None:
    use = sample_tile_use()[0]
    fine = replace(use, tiles=np.zeros((2, 36, 64), np.uint8))
    assert decoded(often_uri(replace(fine, image=np.full_like(use.image, 100)))).max() < 180


def test_the_plot_tells_of_all_runs() -> None:
    plot = share_plot("t", [(Mark(i), use) for i, use in enumerate(sample_tile_use())], "front")
    assert plot.count("var(--c0)") == 1
    assert plot.count("var(--c1)") == 1
    assert "media time, s" in plot
