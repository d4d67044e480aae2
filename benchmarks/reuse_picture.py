"""The picture in docs/reuse.md: one frame of a standing synthetic camera on its way to the back.

    python benchmarks/reuse_picture.py [--out docs/images/reuse.jpg]

Needs streamvis[synth,eval]: OpenGL renders the frames, matplotlib sets them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from streamvis.encode.config import EncoderConfig
from streamvis.front import build_front
from streamvis.render.tile_map import draw_tiles
from streamvis.source.config import SourceConfig
from streamvis.source.open import open_source
from streamvis.tiling.canvas import Canvas
from streamvis.tiling.config import TilingConfig
from streamvis.tiling.grid import TileGrid
from streamvis.tiling.residual import BLOCK_PX, block_differences
from streamvis.types import Feedback, Frame, TilePlan

URI = "synth://street?site=corner&camera=corner&seed=3&seconds=4&fps=15"
ENCODER = EncoderConfig()
TILING = TilingConfig(policy="threshold")
CODE_PX = 8  # its height in the picture of 640 px
# Blue below the threshold, from it on amber: the same amber that frames an encoded tile.
HEAT = LinearSegmentedColormap.from_list(
    "heat", [(0, "#10131a"), (0.33, "#3f5a80"), (0.34, "#ffb020"), (1, "#fff3d6")]
)


@dataclass(frozen=True)
class Moment:
    """A frame, what the gate compared it with, and what it decided."""

    frame: Frame
    before: np.ndarray  # the canvas [H, W, 3]
    after: np.ndarray
    plan: TilePlan
    grid: TileGrid


def main() -> None:
    args = parse_args()
    *_, moment = moments(args.frames)
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.4), layout="constrained")
    for axis, draw in zip(
        axes.flat, (draw_frame, draw_residual, draw_plan, draw_ages), strict=True
    ):
        draw(figure, axis, moment)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.savefig(args.out, dpi=110, bbox_inches="tight", pil_kwargs={"quality": 85})
    print(f"{args.out}: {len(moment.plan.index)} of {moment.grid.num_tiles} tiles")


def moments(count: int) -> Iterator[Moment]:
    """The front of one camera, and the canvas of its back."""
    grid = TileGrid.over(*ENCODER.input_size, ENCODER.tile_px)
    front, canvas, feedback = build_front(ENCODER, TILING), Canvas(grid), Feedback()
    with closing(open_source("corner", SourceConfig(uri=URI), ENCODER.input_size)) as source:
        while source.grab() is not None and count:
            frame = source.retrieve(0)
            assert frame is not None, "every frame can be drawn"
            frame = replace(frame, image=without_code(frame.image))
            before, packet = canvas.image.copy(), front.step(frame, feedback)
            canvas.apply(packet)
            yield Moment(frame, before, canvas.image.copy(), packet.plan, grid)
            feedback, count = Feedback(need_i=False), count - 1


def without_code(image: np.ndarray) -> np.ndarray:
    """The strip with the frame's number changes in every frame, and is not of the street."""
    clean = image.copy()
    clean[:CODE_PX] = image[CODE_PX]
    return clean


def draw_frame(figure: Any, axis: Any, moment: Moment) -> None:  # noqa: ARG001 - as the others
    axis.imshow(moment.frame.image)
    axis.set_title("1  a new frame")


def draw_residual(figure: Any, axis: Any, moment: Moment) -> None:
    blocks = block_differences(moment.frame.image, moment.before).max(axis=2)
    top = 3 * TILING.threshold
    shown = axis.imshow(blocks, cmap=HEAT, vmin=0, vmax=top)
    bar = figure.colorbar(
        shown,
        ax=axis,
        orientation="horizontal",
        aspect=50,
        pad=0.01,
        ticks=[0, TILING.threshold, top],
    )
    bar.set_ticklabels(["0", f"threshold {TILING.threshold:g}", f"{top:g} grey levels"])
    draw_grid(axis, moment.grid, 1 / BLOCK_PX, "#ffffff30")
    axis.set_title("2  how far it is from the canvas, in blocks of 8×8 px")


def draw_plan(figure: Any, axis: Any, moment: Moment) -> None:  # noqa: ARG001
    picture = moment.frame.image.copy()
    draw_tiles(picture, moment.plan.states(), moment.grid.tile_px)
    axis.imshow(picture)
    num_changed = int((moment.plan.score >= 1).sum())
    num_refreshed = len(moment.plan.index) - num_changed
    axis.set_title(f"3  {num_changed} tiles changed and travel, {num_refreshed} for refresh")


def draw_ages(figure: Any, axis: Any, moment: Moment) -> None:  # noqa: ARG001
    axis.imshow(moment.after)
    draw_grid(axis, moment.grid, 1, "#ffffff80")
    age = moment.plan.age.copy()
    age[moment.plan.index] = 0
    for number, frames in enumerate(age.tolist()):
        row, col = divmod(number, moment.grid.cols)
        at = (np.array([col, row]) + 0.5) * moment.grid.tile_px
        back = {"facecolor": "#10131a", "edgecolor": "none", "alpha": 0.6, "pad": 1.5}
        axis.text(*at, str(frames), color="white", ha="center", va="center", fontsize=8, bbox=back)
    axis.set_title("4  the canvas afterwards, and each tile's age in frames")


def draw_grid(axis: Any, grid: TileGrid, scale: float, colour: str) -> None:
    side = grid.tile_px * scale
    for col in range(1, grid.cols):
        axis.axvline(col * side - 0.5, color=colour, linewidth=0.7)
    for row in range(1, grid.rows):
        axis.axhline(row * side - 0.5, color=colour, linewidth=0.7)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=52, help="the last one is shown")
    parser.add_argument("--out", type=Path, default=Path("docs/images/reuse.jpg"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
