"""A part of a source: from one media time to another, or so many frames of it."""

from __future__ import annotations

from dataclasses import replace

from streamvis.errors import SourceError
from streamvis.source.base import OnUnit, Source
from streamvis.types import Frame


class WindowSource:
    """Frames of a source from `start_ns` on and before `end_ns`, media time since its first frame.

    What comes before is decoded and skipped, so frames keep their numbers; it is not counted as
    lost. The access units of the skipped frames are handed out: without them the others cannot
    be decoded again.
    """

    live = None

    def __init__(
        self,
        source: Source,
        start_ns: int = 0,
        end_ns: int | None = None,
        max_frames: int | None = None,
    ) -> None:
        assert source.info is not None, "a live camera has no window"
        self.info = replace(source.info, num_frames=None)
        self._source = source
        self._start_ns = start_ns
        self._end_ns = end_ns
        self._max_frames = max_frames
        self._num_given = 0
        self._held: Frame | None = None  # the first one in the window
        self._is_over = False
        self._first_time_ns: int | None = None
        self._before = (0, 0, 0)  # frames, lost in source, lost in decode before the window
        self._check_length()

    @property
    def on_unit(self) -> OnUnit | None:
        return self._source.on_unit

    @on_unit.setter
    def on_unit(self, on_unit: OnUnit | None) -> None:
        self._source.on_unit = on_unit

    @property
    def lost_source(self) -> int:
        return self._source.lost_source - self._before[1]

    @property
    def lost_decode(self) -> int:
        return self._source.lost_decode - self._before[2]

    def grab(self) -> int | None:
        if self._is_over or self._num_given == self._max_frames:
            return None
        if self._first_time_ns is None and self._start_ns:
            self._skip()
        if self._held is not None:
            return max(0, self._time_ns(self._held) - self._start_ns)
        media_ns = self._source.grab()
        return None if media_ns is None else max(0, media_ns - self._start_ns)

    def retrieve(self, t_ingest_ns: int) -> Frame | None:
        frame, self._held = self._held, None
        if frame is not None:
            t_decoded_ns = max(t_ingest_ns, frame.t_decoded_ns)
            frame = replace(frame, t_ingest_ns=t_ingest_ns, t_decoded_ns=t_decoded_ns)
        else:
            frame = self._source.retrieve(t_ingest_ns)
        if frame is None or self._is_past(frame):
            return None
        self._num_given += 1
        skipped, _, lost = self._before
        return replace(
            frame,
            num_skipped=max(skipped, frame.num_skipped),
            lost_decode=frame.lost_decode - lost,
        )

    def close(self) -> None:
        self._source.close()

    def _skip(self) -> None:
        """Decode up to the first frame of the window, and hold that."""
        while self._source.grab() is not None:
            frame = self._source.retrieve(0)
            if frame is not None and self._time_ns(frame) >= self._start_ns:
                self._held = frame
                self._before = (frame.index, self._source.lost_source, frame.lost_decode)
                return
        raise self._empty()

    def _is_past(self, frame: Frame) -> bool:
        self._is_over = self._end_ns is not None and self._time_ns(frame) >= self._end_ns
        return self._is_over

    def _time_ns(self, frame: Frame) -> int:
        time_ns = round(frame.pts * frame.time_base * 1_000_000_000)
        if self._first_time_ns is None:
            self._first_time_ns = time_ns
        return time_ns - self._first_time_ns

    def _check_length(self) -> None:
        info = self._source.info
        assert info is not None
        if info.num_frames and info.fps and self._start_ns >= info.num_frames / info.fps * 1e9:
            raise self._empty()

    def _empty(self) -> SourceError:
        return SourceError(
            f"nothing is left of it after {self._start_ns / 1e9:g} s; choose an earlier start",
            "empty",
        )
