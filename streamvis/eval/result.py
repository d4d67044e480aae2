"""What one evaluation found out: the types between the metrics, the runner and the report.

`EvalResult.to_dict()` is what `--json` writes; docs/evaluate.md lists its keys, and keys are only
ever added. Scores lie in [0, 1]. A score that cannot be computed is None, and a note says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamvis.types import Detections, ModelId

FrameKey: TypeAlias = tuple[str, int]  # camera, frame_index
Found: TypeAlias = Mapping[FrameKey, Detections]  # source pixels


@dataclass(frozen=True)
class Interval:
    """95 % percentile interval of a bootstrap."""

    low: float
    high: float

    def to_list(self) -> list[float]:
        return [round(self.low, 4), round(self.high, 4)]


@dataclass(frozen=True)
class Difference:
    """This config minus the first one, on the same bootstrap draws."""

    value: float
    interval: Interval | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "value": round(self.value, 4),
            "interval95": self.interval.to_list() if self.interval else None,
        }


@dataclass(frozen=True)
class DetectionScore:
    """COCO average precision of one class, or of a group of classes merged into one."""

    AP: float  # mean over IoU 0.50 to 0.95
    AP50: float
    AP75: float
    AP_small: float | None  # labelled area < 32 x 32 px; None: no such boxes
    AP_medium: float | None  # < 96 x 96 px
    AP_large: float | None
    num_boxes: int  # labelled and not ignored
    num_tracks: int | None  # distinct ids of counted labels; None: labels without ids
    precision: NDArray[np.float64]  # [101] at IoU 0.50, over COCO's recalls 0, 0.01, ... 1
    intervals: Mapping[str, Interval] = field(default_factory=dict)  # keys AP, AP50, AP75
    differences: Mapping[str, Difference] = field(default_factory=dict)  # to the first config

    def to_dict(self) -> dict[str, Any]:
        names = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
        return {
            **{name: _rounded(getattr(self, name)) for name in names},
            "interval95": {name: it.to_list() for name, it in self.intervals.items()},
            "difference": {name: it.to_dict() for name, it in self.differences.items()},
            "num_boxes": self.num_boxes,
            "num_tracks": self.num_tracks,
        }


@dataclass(frozen=True)
class StreamingScore:
    """Every labelled frame against the newest result that was there at its time."""

    speed_factor: float  # 2 = a machine twice as fast as the one that measured the latencies
    detection: Mapping[str, DetectionScore]
    processed_share: float  # of the frames, the others were replaced by newer ones
    staleness_p50_ms: float | None  # age of the picture that the used result was for
    staleness_p99_ms: float | None  # None: no result was there by the last labelled frame

    def to_dict(self) -> dict[str, Any]:
        return {
            "speed_factor": self.speed_factor,
            "processed_share": round(self.processed_share, 4),
            "staleness_ms": {
                "p50": _rounded(self.staleness_p50_ms, 1),
                "p99": _rounded(self.staleness_p99_ms, 1),
            },
            **{name: score.to_dict() for name, score in self.detection.items()},
        }


@dataclass(frozen=True)
class TrackingScore:
    """HOTA (Luiten et al. 2020), CLEAR MOT (Bernardin 2008), identity F1 (Ristani 2016)."""

    HOTA: float
    DetA: float
    AssA: float
    LocA: float
    MOTA: float  # may be negative
    IDF1: float
    num_switches: int
    num_false: int
    num_missed: int
    num_tracks: int  # labelled

    def to_dict(self) -> dict[str, Any]:
        return {name: _rounded(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class EmbeddingScore:
    """Cosine of each frame's embedding to the reference run's for the same frame."""

    reference: str  # the config's name
    min: float
    p1: float
    median: float

    def to_dict(self) -> dict[str, Any]:
        cosines = {name: _rounded(getattr(self, name), 6) for name in ("min", "p1", "median")}
        return {"reference": self.reference, **cosines}


@dataclass(frozen=True)
class Against:
    """A run beside the first config's (of the same probe) on the same frames, in turns."""

    run: str  # the first config's
    cosine_p1: float | None  # of the embeddings; None: they are not of one encoder
    cosine_median: float | None
    speedup: float | None  # its time to encode and detect all frames over this one's
    flop_speedup: float | None

    @property
    def arrives(self) -> float | None:
        """How much of the saved operations is saved time; None: none were saved."""
        if not self.speedup or not self.flop_speedup or self.flop_speedup <= 1:
            return None
        return self.speedup / self.flop_speedup

    def to_dict(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "cosine": {
                "p1": _rounded(self.cosine_p1, 6),
                "median": _rounded(self.cosine_median, 6),
            },
            "speedup": _rounded(self.speedup),
            "flop_speedup": _rounded(self.flop_speedup),
            "arrives": _rounded(self.arrives),
        }


@dataclass(frozen=True)
class Cost:
    """What the frames cost. Times are this machine's, measured in turns with the other configs."""

    tiles_total: int  # over all frames
    tiles_encoded: int
    gflops_per_frame: float | None  # counted on real rounds, encoder and detector; 1 MAC = 2
    encode_ms: NDArray[np.float32]  # [F] a frame's share of its round
    detect_ms: NDArray[np.float32]  # [F] head and post-processing, or the whole ONNX model
    latency_ms: NDArray[np.float32]  # [F] decoded to tracked
    memory_mb: float | None  # resident memory gained by loading and running it

    def to_dict(self) -> dict[str, Any]:
        return {
            "tiles": {"total": self.tiles_total, "encoded": self.tiles_encoded},
            "gflops_per_frame": _rounded(self.gflops_per_frame, 3),
            "encode_ms": _percentiles(self.encode_ms),
            "detect_ms": _percentiles(self.detect_ms),
            "latency_ms": _percentiles(self.latency_ms),
            "memory_mb": _rounded(self.memory_mb, 1),
        }


@dataclass(frozen=True)
class Calibration:
    """Detections by score: a calibrated 0.7 is right seven times of ten."""

    mean_score: NDArray[np.float64]  # [bins]; nan where a bin is empty
    precision: NDArray[np.float64]  # [bins] share that matches a label at IoU 0.50
    count: NDArray[np.int64]  # [bins]
    ece: float  # expected calibration error: mean gap, weighted by count

    def to_dict(self) -> dict[str, Any]:
        return {"ece": round(self.ece, 4)}


@dataclass(frozen=True)
class ConfigResult:
    """One config on the drive, or on the drive as a probe disturbs it."""

    name: str
    probe: str | None  # None: the drive as it is
    model: ModelId
    config: Mapping[str, Any]  # resolved
    detection: Mapping[str, DetectionScore]  # by class, then "vehicle"
    calibration: Mapping[str, Calibration]
    streaming: StreamingScore | None
    tracking: Mapping[str, TrackingScore]  # empty: no track ids, or no two frames; noted
    embedding: EmbeddingScore | None
    cost: Cost
    notes: Sequence[str] = ()  # what the reader must know, one sentence each
    against: Against | None = None  # None: it is the first

    def to_dict(self) -> dict[str, Any]:
        return {
            "probe": self.probe,
            "model": {"name": self.model.name, "weights_sha256": self.model.weights_sha256},
            "detection": {name: score.to_dict() for name, score in self.detection.items()},
            "calibration": {name: it.to_dict() for name, it in self.calibration.items()},
            "streaming": self.streaming.to_dict() if self.streaming else None,
            "tracking": {name: score.to_dict() for name, score in self.tracking.items()},
            "embedding": self.embedding.to_dict() if self.embedding else None,
            "against_first": self.against.to_dict() if self.against else None,
            "cost": self.cost.to_dict(),
            "config": dict(self.config),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class EvalResult:
    """The whole evaluation; `configs[0]` is what the others are compared to."""

    drive: str
    cameras: Sequence[str]
    num_frames: int  # run, of all cameras
    num_labelled: int  # of these, frames that have labels
    duration_s: float  # media time of the longest camera
    settings: Mapping[str, Any]  # score floor, detections a frame, bootstrap draws and unit
    machine: Mapping[str, Any]  # processor, cores, threads, torch
    configs: Sequence[ConfigResult]
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "version": 1,
            "drive": self.drive,
            "cameras": list(self.cameras),
            "num_frames": self.num_frames,
            "num_labelled": self.num_labelled,
            "duration_s": round(self.duration_s, 3),
            "settings": dict(self.settings),
            "machine": dict(self.machine),
            "notes": list(self.notes),
            "configs": {config.name: config.to_dict() for config in self.configs},
        }


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)


def _percentiles(values: NDArray[np.float32]) -> dict[str, float] | None:
    if not len(values):
        return None
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3), "p99": round(float(p99), 3)}
