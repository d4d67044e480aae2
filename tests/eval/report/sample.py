"""An invented evaluation that has every part: two configs, a dense twin, a probe."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from streamvis.eval.labels import FrameLabels
from streamvis.eval.report.pictures import FramePicture
from streamvis.eval.report.tiles import TileUse
from streamvis.eval.result import (
    Calibration,
    ConfigResult,
    Cost,
    DetectionScore,
    Difference,
    EmbeddingScore,
    EvalResult,
    Interval,
    StreamingScore,
    TrackingScore,
)
from streamvis.types import CLASSES, Detections, ModelId, TileState

HOSTILE = '<b>"x"&$y$</b>'  # a name that must come out as text

_BOXES = {"person": 61, "car": 880, "truck": 74, "vehicle": 954}


def sample_result() -> EvalResult:
    baseline = _config("sv_tiny", 0.69, 14.0)
    return EvalResult(
        drive="pier_17",
        cameras=("front", "left"),
        num_frames=160,
        num_labelled=160,
        duration_s=8.0,
        settings={"score_floor": 0.01, "max_detections": 100, "bootstrap_unit": "track"},
        machine={"processor": "Example 9000", "cores": 2, "threads": 2},
        configs=(
            replace(baseline, embedding=EmbeddingScore("sv_tiny@dense", 0.981, 0.9843, 0.9971)),
            _config("sv_tiny@dense", 0.70, 44.0, difference=0.012, encoded=1.0),
            _config(HOSTILE, 0.58, 160.0, difference=-0.11, encoded=1.0),
            _config("sv_tiny+fade", 0.61, 31.0, difference=-0.08, probe="fade", encoded=0.8),
            _config("sv_tiny@dense+fade", 0.62, 44.0, probe="fade", encoded=1.0),
        ),
        notes=("Two cameras without labels were left out.",),
    )


def bare_result() -> EvalResult:
    """One config, of which only the detections could be scored."""
    full = sample_result()
    config = replace(
        full.configs[0],
        detection={"car": replace(_score(0.5, 9), intervals={}, differences={}, num_tracks=None)},
        calibration={},
        streaming=None,
        tracking={},
        embedding=None,
        cost=replace(full.configs[0].cost, gflops_per_frame=None, memory_mb=None),
    )
    return replace(full, configs=(config,), notes=())


def sample_pictures() -> list[FramePicture]:
    tiles = np.zeros((12, 20), np.uint8)
    tiles[4:8, 6:15] = TileState.ENCODED
    tiles[8, 3:5] = TileState.STALE
    return [_picture("sv_tiny", 31, tiles), _picture(HOSTILE, 77, None)]


def sample_tile_use() -> list[TileUse]:
    """A camera whose middle is busy for the first half, of a config and of its dense twin."""
    tiles = np.zeros((40, 6, 10), np.uint8)
    tiles[0] = tiles[:20, 2:4, 3:8] = TileState.ENCODED
    tiles[5, 5, 9] = TileState.STALE
    runs = {"sv_tiny": tiles, "sv_tiny@dense": np.full_like(tiles, TileState.ENCODED)}
    media_s = np.arange(40) / 20
    return [TileUse(name, "front", _image(), media_s, states) for name, states in runs.items()]


def _image() -> np.ndarray:
    rows, columns = np.mgrid[0:360, 0:640]
    return np.stack([90 + rows // 4, 100 + rows // 5, 120 + columns // 12], -1).astype(np.uint8)


def _picture(config: str, index: int, tiles: np.ndarray | None) -> FramePicture:
    labels = FrameLabels(
        np.array([[300, 300, 560, 470], [700, 330, 760, 480], [900, 300, 1100, 380]], np.float32),
        np.array([CLASSES.index(c) for c in ("car", "person", "truck")], np.int32),
        np.array([1, 2, -1]),
        np.array([False, False, True]),
    )
    detections = Detections.make(
        np.array([[310, 305, 570, 468], [60, 400, 160, 520]], np.float32),
        np.array([0.83, 0.41], np.float32),
        np.array([CLASSES.index("truck"), CLASSES.index("bicycle")], np.int32),
    )
    why = "1 object missed, 1 false (vehicle, person, <all>)"
    return FramePicture(
        config, "front", index, _image(), labels, detections, (1280, 720), tiles, why
    )


def _config(
    name: str,
    ap50: float,
    ms: float,
    *,
    difference: float | None = None,
    probe: str | None = None,
    encoded: float = 0.27,
) -> ConfigResult:
    rng = np.random.default_rng(len(name))
    detection = {
        group: _score(ap50 - 0.2 * (group == "person"), boxes, difference)
        for group, boxes in _BOXES.items()
    }
    streamed = {group: _score(score.AP50 - 0.01 * ms**0.5, 9) for group, score in detection.items()}
    frames = (ms * rng.gamma(9, 1 / 9, 160)).astype(np.float32)
    tiles = 160 * 240
    return ConfigResult(
        name=name,
        probe=probe,
        model=ModelId(name.split("@")[0], "ab" * 32),
        config={"encoder": {"name": "sv_tiny"}, "tiling": {"policy": "auto"}},
        detection=detection,
        calibration={group: _calibration(ap50) for group in detection},
        streaming=StreamingScore(1.0, streamed, 0.93, 102.0, 207.5),
        tracking={"vehicle": TrackingScore(0.52, 0.55, 0.5, 0.79, 0.47, 0.6, 11, 80, 210, 34)},
        embedding=None,
        cost=Cost(tiles, int(encoded * tiles), ms / 7, frames, frames / 9, frames * 1.4, 212.4),
        notes=(f"{name}: measured in turns with the others.",),
    )


def _score(ap50: float, boxes: int, difference: float | None = None) -> DetectionScore:
    recall = np.linspace(0, 1, 101)
    precision = np.clip(1 - (recall / (ap50 + 0.2)) ** 4, 0, 1)
    return DetectionScore(
        AP=0.55 * ap50,
        AP50=ap50,
        AP75=0.5 * ap50,
        AP_small=0.2 * ap50,
        AP_medium=0.6 * ap50,
        AP_large=None,
        num_boxes=boxes,
        num_tracks=1 + boxes // 20,
        precision=precision,
        intervals={"AP50": Interval(ap50 - 0.08, ap50 + 0.07), "AP": Interval(0.3, 0.5)},
        differences={}
        if difference is None
        else {"AP50": Difference(difference, Interval(difference - 0.03, difference + 0.03))},
    )


def _calibration(slope: float) -> Calibration:
    score = np.arange(10) / 10 + 0.05
    count = (4000 * np.exp(-5 * score)).astype(np.int64)
    count[9] = 0
    empty = count == 0
    return Calibration(
        np.where(empty, np.nan, score), np.where(empty, np.nan, score**1.3 * slope), count, 0.071
    )
