"""A camera that was restarted: its frames' numbers go on where its last life ended."""

from __future__ import annotations

from dataclasses import replace

from streamvis.source.base import OnUnit, Source
from streamvis.source.live_state import LiveState
from streamvis.source.open import open_source
from streamvis.topology import PipelineConfig
from streamvis.types import NO_FRAMES, AccessUnit, CameraInfo, Frame, Ledger


def open_continued(config: PipelineConfig, camera: str, before: Ledger = NO_FRAMES) -> Source:
    """The camera's source; raises SourceError. `before` says where its earlier frames went."""
    size, with_motion = config.encoder.input_size, config.tiling.wants_codec_motion
    source = open_source(camera, config.sources[camera], size, with_motion)
    return ContinuedSource(source, before) if before.source_frames else source


class ContinuedSource:
    """A source whose counts and numbers begin with those of `before`. Its first frame is a
    discontinuity, and media time begins anew."""

    def __init__(self, source: Source, before: Ledger) -> None:
        self._source = source
        self._before = before
        self._on_unit: OnUnit | None = None
        self._has_frames = False
        self._has_units = False

    @property
    def info(self) -> CameraInfo | None:
        return self._source.info

    @property
    def live(self) -> LiveState | None:
        return self._source.live

    @property
    def on_unit(self) -> OnUnit | None:
        return self._on_unit

    @on_unit.setter
    def on_unit(self, on_unit: OnUnit | None) -> None:
        self._on_unit = on_unit
        self._source.on_unit = self._hand_out if on_unit else None

    @property
    def lost_source(self) -> int:
        return self._before.lost["source"] + self._source.lost_source

    @property
    def lost_decode(self) -> int:
        return self._before.lost["decode"] + self._source.lost_decode

    def grab(self) -> int | None:
        return self._source.grab()

    def retrieve(self, t_ingest_ns: int) -> Frame | None:
        frame = self._source.retrieve(t_ingest_ns)
        if frame is None:
            return None
        is_first, self._has_frames = not self._has_frames, True
        return replace(
            frame,
            index=frame.index + self._before.source_frames,
            lost_decode=frame.lost_decode + self._before.lost["decode"],
            is_discont=frame.is_discont or is_first,
        )

    def close(self) -> None:
        self._source.close()

    def _hand_out(self, unit: AccessUnit) -> None:
        assert self._on_unit is not None
        is_first, self._has_units = not self._has_units, True
        index = unit.index + self._before.source_frames
        self._on_unit(replace(unit, index=index, is_discont=unit.is_discont or is_first))
