"""One frame as a mosaic's cell shows it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamvis.render.draw import draw_detections
from streamvis.render.picture import Picture, fit_size, resize
from streamvis.render.tile_map import draw_tiles
from streamvis.types import Detections, LetterBox, TilePlan


def view_frame(
    image: Picture,
    letterbox: LetterBox,
    detections: Detections,
    classes: Sequence[str],
    cell_size: tuple[int, int],
    plan: TilePlan | None = None,
    min_labelled_px: int = 0,
) -> Picture:
    """A picture as large as fits into `cell_size` (width, height) px: the content of the encoder's
    input `image`, how its tiles were served if there is a plan, and boxes given in source px."""
    width, height = letterbox.content_size
    size = fit_size((width, height), cell_size)
    picture = np.array(resize(image[:height, :width], size))  # what is painted on is a copy
    if plan is not None:
        draw_tiles(picture, plan.states(), plan.tile_px * size[0] / width)
    scale = np.array(
        [size[0] / letterbox.source_width, size[1] / letterbox.source_height] * 2, np.float32
    )
    found = detections.with_boxes(detections.xyxy * scale)
    draw_detections(picture, found, classes, min_labelled_px=min_labelled_px)
    return picture
