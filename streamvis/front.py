"""The camera's half of the pipeline: a frame in, the tiles that must travel out. No torch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from streamvis.encode.config import EncoderConfig
from streamvis.tiling.config import TilingConfig
from streamvis.tiling.gate import Gate, RecordedGate, build_gate
from streamvis.tiling.grid import TileGrid
from streamvis.types import NO_FRAMES, Feedback, Frame, Ledger, SourceCounts, TilePacket, TilePlan


class CameraFront:
    """Makes one camera's tile stream.

    Whoever calls `step` owns the clock and the credit: a frame that must be dropped never
    reaches the front, so it can never make the canvas silently wrong. The front counts what it
    takes, and what it never saw follows from the frame numbers.
    """

    def __init__(self, grid: TileGrid, gate: Gate, before: Ledger = NO_FRAMES) -> None:
        """`before` is where the frames went that an earlier front of this camera took."""
        self._grid = grid
        self._gate = gate
        self._seq = 0
        self._lost_infer = before.lost["infer"]
        self._lost_source = before.lost["source"]  # a source tells of its own at its end
        self._taken_before = before.published + before.lost["infer"] + before.lost["publish"]

    def step(self, frame: Frame, feedback: Feedback) -> TilePacket:
        """The packet for one frame; `feedback` is the back's newest. If that does not acknowledge
        the packet before, it gave no result: it was refused, or its worker died."""
        self._lost_infer += feedback.acked_seq != self._seq - 1
        plan = self._gate.plan(frame, feedback)
        tiles = self._grid.cut(frame.image, plan.index)
        seq, self._seq = self._seq, self._seq + 1
        return TilePacket(
            camera=frame.camera,
            seq=seq,
            base_seq=-1 if plan.kind == "I" else seq - 1,
            frame_index=frame.index,
            plan=plan,
            tiles=tiles,
            letterbox=frame.letterbox,
            pts=frame.pts,
            time_base=frame.time_base,
            capture=frame.capture,
            stamps_ns={
                "ingest": frame.t_ingest_ns,
                "decoded": frame.t_decoded_ns,
                "packed": time.monotonic_ns(),
            },
            counts=self.account(
                SourceCounts(
                    frame.index + 1 - frame.num_skipped, self._lost_source, frame.lost_decode
                )
            ),
            lost_infer=self._lost_infer,
            is_discont=frame.is_discont,
            is_corrupt=frame.is_corrupt,
        )

    def account(self, seen: SourceCounts) -> SourceCounts:
        """What the source had, plus the frames that were decoded but never came here."""
        taken = self._taken_before + self._seq
        dropped = seen.frames - seen.lost_source - seen.lost_decode - taken
        return replace(seen, lost_policy=dropped)


def build_front(
    encoder: EncoderConfig,
    tiling: TilingConfig,
    recorded: Mapping[int, TilePlan] | None = None,
    before: Ledger = NO_FRAMES,
) -> CameraFront:
    """The front for cameras of this encoder: it cuts the encoder's input into its tiles.

    `recorded` are plans by frame index, to repeat instead of deciding.
    """
    grid = TileGrid.over(*encoder.input_size, encoder.tile_px)
    gate = build_gate(tiling, grid) if recorded is None else RecordedGate(recorded)
    return CameraFront(grid, gate, before)
