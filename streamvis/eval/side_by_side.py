"""A film of a drive: every frame with the dense encoder, and beside it with reuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import torch

from streamvis.detect.detector import build_detector
from streamvis.encode.encoder import build_encoder
from streamvis.errors import SourceError
from streamvis.eval.config import EvalConfig
from streamvis.eval.rounds import Footage, Round, RoundReader
from streamvis.eval.stepper import Models, Stepper, StepResult
from streamvis.render.draw import draw_caption
from streamvis.render.frame_view import view_frame
from streamvis.render.jpeg import write_png
from streamvis.render.picture import Picture
from streamvis.render.tile_map import tiles_text
from streamvis.render.versus import Spent, Versus
from streamvis.render.video_writer import VideoWriter
from streamvis.types import Frame, FrameResult, TilePlan

_MIN_LABELLED_PX = 20  # lower boxes carry no text: a cell is small

OnProgress = Callable[[int, int | None], None]  # frames done, and how many there are if known


class Side:
    """One of the two: a contender and what it has spent."""

    def __init__(self, config: EvalConfig, cameras: Sequence[str], models: Models) -> None:
        self._stepper = Stepper(config, cameras, models)
        self._stepper.warm_up()
        self._classes = self._stepper.model.classes
        self._min_score = config.tracker.high_score  # weaker ones are shown once they are tracked
        self.is_dense = config.is_dense
        self.spent = Spent(0, 0.0)

    def step(self, frames: Sequence[Frame]) -> StepResult:
        step = self._stepper.step(frames)
        tiles = sum(result.tiles.encoded for result in step.results)
        seconds = step.service_ns / 1e9
        self.spent = Spent(self.spent.tiles + tiles, self.spent.seconds + seconds)
        return step

    def draw(
        self, frames: Sequence[Frame], step: StepResult, cell_size: tuple[int, int]
    ) -> dict[str, Picture]:
        """Each camera's frame with this side's boxes, and its tiles unless it encodes all."""
        rows = zip(frames, step.packets, step.results, strict=True)
        return {
            frame.camera: self._draw(
                frame, result, None if self.is_dense else packet.plan, cell_size
            )
            for frame, packet, result in rows
        }

    def _draw(
        self, frame: Frame, result: FrameResult, plan: TilePlan | None, cell_size: tuple[int, int]
    ) -> Picture:
        found = result.detections
        found = found[(found.track_id >= 0) | (found.score >= self._min_score)]
        picture = view_frame(
            *(frame.image, frame.letterbox, found, self._classes, cell_size),
            plan=plan,
            min_labelled_px=_MIN_LABELLED_PX,
        )
        tiles = "" if plan is None else f"   {tiles_text(plan.states())}"
        draw_caption(picture, frame.camera, f"frame {frame.index}{tiles}")
        return picture


def film_side_by_side(
    footage: Footage, config: EvalConfig, path: Path, on_progress: OnProgress
) -> tuple[Spent, Spent]:
    """Write the film to `path` and its last picture beside it (`.png`); what dense and reuse have
    spent. Raises SourceError, WeightsError or OutputError, and then leaves no film."""
    encoder = build_encoder(config.encoder)
    detector = build_detector(config.detector, encoder)
    models = Models(encoder, detector, torch.get_num_threads(), None)
    dense = Side(config.dense(), footage.cameras, models)
    reuse = Side(config, footage.cameras, models)
    counts = [info.num_frames for info in footage.infos().values()]
    total = None if None in counts else sum(count or 0 for count in counts)
    view = Versus(footage.cameras, ("dense: every tile of every frame", _title(config)))
    num_frames, picture = 0, None
    with_motion = config.tiling.wants_codec_motion
    with closing(RoundReader(footage, config.encoder.input_size, with_motion)) as reader:
        fps = Fraction(max(reader.fps.values())).limit_denominator(1001)
        writer = VideoWriter(path, view.size, fps)
        try:
            for number, timed in enumerate(reader):
                _step(timed, dense, reuse, view, is_dense_first=number % 2 == 0)
                picture = view.compose(dense.spent, reuse.spent)
                writer.write(picture)
                num_frames += len(timed.frames)
                on_progress(num_frames, total)
            if picture is None:
                raise SourceError(f"{footage.folder}: no frame of it can be decoded", "empty")
            writer.close()
        finally:
            writer.discard()  # does nothing to a film that is finished
    write_png(path.with_suffix(".png"), picture)
    return dense.spent, reuse.spent


def _step(timed: Round, dense: Side, reuse: Side, view: Versus, is_dense_first: bool) -> None:
    """Who goes first changes: the second one finds the caches as the first one left them."""
    frames = [one.frame for one in timed.frames]
    order = (dense, reuse) if is_dense_first else (reuse, dense)
    steps = {side: side.step(frames) for side in order}
    left, right = (side.draw(frames, steps[side], view.cell_size) for side in (dense, reuse))
    view.put(left, right)


def _title(config: EvalConfig) -> str:
    """Such as `reuse: threshold 30`."""
    tiling = config.tiling
    amount = {
        "threshold": f"{tiling.threshold:g}",
        "budget": f"{tiling.budget} tiles",
        "deadline": f"{tiling.deadline_ms} ms",
    }
    return f"reuse: {tiling.policy} {amount.get(tiling.policy, '')}".strip()
