"""A source that begins again when it is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from streamvis.source.base import OnUnit, Source
from streamvis.types import AccessUnit, Frame


@dataclass(frozen=True)
class _Before:
    """What the rounds before this one add to its numbers."""

    frames: int = 0
    pts: int = 0
    time_ns: int = 0
    lost_source: int = 0
    lost_decode: int = 0


class LoopSource:
    """Rounds of a source, without end. Numbers and media time go on, the first frame of a round
    is a discontinuity; capture times are those of the pictures, so they repeat."""

    live = None

    def __init__(self, open_round: Callable[[], Source]) -> None:
        """`open_round` opens the source at its beginning."""
        self._open_round = open_round
        self._source = open_round()
        assert self._source.info is not None, "a live camera does not begin again"
        self.info = replace(self._source.info, num_frames=None)
        self._on_unit: OnUnit | None = None
        self._before = _Before()
        self._begin()

    @property
    def on_unit(self) -> OnUnit | None:
        return self._on_unit

    @on_unit.setter
    def on_unit(self, on_unit: OnUnit | None) -> None:
        self._on_unit = on_unit
        self._source.on_unit = self._hand_out if on_unit else None

    @property
    def lost_source(self) -> int:
        return self._before.lost_source + self._source.lost_source

    @property
    def lost_decode(self) -> int:
        return self._before.lost_decode + self._source.lost_decode

    def grab(self) -> int | None:
        media_ns = self._source.grab()
        if media_ns is None and self._first is not None:  # else it would go round for ever
            self._next_round(self._first)
            media_ns = self._source.grab()
        return None if media_ns is None else self._before.time_ns + media_ns

    def retrieve(self, t_ingest_ns: int) -> Frame | None:
        frame = self._source.retrieve(t_ingest_ns)
        if frame is None:
            return None
        before, is_new_round = self._before, self._first is None and self._before.frames > 0
        self._note(frame)
        return replace(
            frame,
            index=frame.index + before.frames,
            pts=frame.pts + before.pts,
            lost_decode=frame.lost_decode + before.lost_decode,
            is_discont=frame.is_discont or is_new_round,
        )

    def close(self) -> None:
        self._source.close()

    def _begin(self) -> None:
        self._first: Frame | None = None  # of this round
        self._num_frames = 0
        self._last_pts = self._step_pts = 0
        self._has_units = False

    def _note(self, frame: Frame) -> None:
        if self._first is None:
            self._first = frame
            self._step_pts = round(1 / (self.info.fps or 1) / frame.time_base)
        else:
            self._step_pts = frame.pts - self._last_pts
        self._last_pts = frame.pts
        self._num_frames += 1

    def _next_round(self, first: Frame) -> None:
        source, before = self._source, self._before
        source.close()
        span_pts = self._last_pts - first.pts + self._step_pts
        self._before = _Before(
            frames=before.frames + self._num_frames + source.lost_source + source.lost_decode,
            pts=before.pts + span_pts,
            time_ns=before.time_ns + round(span_pts * first.time_base * 1_000_000_000),
            lost_source=self.lost_source,
            lost_decode=self.lost_decode,
        )
        self._begin()
        self._source = self._open_round()
        self.on_unit = self._on_unit

    def _hand_out(self, unit: AccessUnit) -> None:
        assert self._on_unit is not None
        before, is_first = self._before, not self._has_units
        self._has_units = True
        moved = replace(
            unit,
            index=unit.index + before.frames,
            pts=None if unit.pts is None else unit.pts + before.pts,
            dts=None if unit.dts is None else unit.dts + before.pts,
            is_discont=unit.is_discont or (is_first and before.frames > 0),
        )
        self._on_unit(moved)
