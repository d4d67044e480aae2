"""Which setting of the gate for these cameras? All are run over a drive, in turns with the dense
encoder, and weighed by what they cost and what they lose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from streamvis.config.load import check_config
from streamvis.encode.config import NONE
from streamvis.errors import ConfigError, SourceError
from streamvis.eval.agreement import sure_boxes
from streamvis.eval.assemble import OnStage, block_frames, compare_costs
from streamvis.eval.bootstrap import intervals
from streamvis.eval.config import EvalConfig
from streamvis.eval.contenders import list_runs, machine_facts
from streamvis.eval.detection import groups_of, match_detections, score_matches
from streamvis.eval.evaluate import choose_footage
from streamvis.eval.labels import DriveLabels
from streamvis.eval.result import Against, DetectionScore
from streamvis.eval.rounds import Footage
from streamvis.eval.runner import Contender, OnProgress, RunRecord, run_all
from streamvis.source.drive import Drive
from streamvis.tiling.config import TilingConfig
from streamvis.types import TileState

DENSE = "dense"
DEFAULT_VARY = ("threshold=12,20,30,45,60", "max_age=30,90")
MOST_SETTINGS = 60
_GROUPS = ("vehicle", "person")  # that a setting is judged by; other classes where neither is there
_MIN_AP50 = 0.1  # a group that dense hardly finds tells nothing of reuse


@dataclass(frozen=True)
class Limits:
    """What a setting may lose to be recommended."""

    loss_points: float | None = None  # of AP50; None: as `default_loss_points` says
    cosine_p1: float = 0.95  # of the embeddings to the dense ones, in all frames but 1 %


@dataclass(frozen=True)
class Tried:
    """One setting on the drive."""

    name: str
    values: Mapping[str, Any]  # of tiling, what was varied; empty for the dense run
    tiling: TilingConfig
    encoded: float  # share of all tiles
    moved: float
    stale: float
    gflops: float  # a frame
    ms: float  # to encode and detect a frame, mean
    against: Against | None  # the dense run; None: it is the dense run
    scores: Mapping[str, DetectionScore]  # by class group
    loss_points: float  # AP50 lost, in the group that loses most

    @property
    def label(self) -> str:
        """Such as `threshold 20, max_age 30`."""
        return ", ".join(f"{key} {short(value)}" for key, value in self.values.items()) or DENSE

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "tiling": {key: _plain(value) for key, value in self.values.items()},
            "tiles": {
                "encoded": round(self.encoded, 4),
                "moved": round(self.moved, 4),
                "stale": round(self.stale, 4),
            },
            "gflops_per_frame": round(self.gflops, 3),
            "ms_per_frame": round(self.ms, 3),
            "against_dense": self.against.to_dict() if self.against else None,
            "detection": {group: score.to_dict() for group, score in self.scores.items()},
            "loss_points": round(self.loss_points, 3),
        }


@dataclass(frozen=True)
class Tuning:
    """What a sweep found out. `tried[0]` is the dense run."""

    drive: str
    cameras: Sequence[str]
    num_frames: int
    has_labels: bool  # else what the dense run found stands in for labels
    machine: Mapping[str, Any]
    limits: Limits
    tried: Sequence[Tried]

    @property
    def front(self) -> list[Tried]:
        """Those that no other beats in both operations and loss, the cheapest first."""
        found: list[Tried] = []
        for one in sorted(self.tried, key=lambda one: (one.gflops, one.loss_points)):
            if not found or one.loss_points < found[-1].loss_points:
                found.append(one)
        return found

    @property
    def recommended(self) -> Tried:
        """The cheapest within the limits; the dense run, if no other is."""
        allowed = [one for one in self.tried if self._is_allowed(one)]
        return min(allowed, key=lambda one: one.gflops)

    @property
    def loss_limit(self) -> float:
        given = self.limits.loss_points
        return default_loss_points(self.has_labels) if given is None else given

    def _is_allowed(self, one: Tried) -> bool:
        if one.against is None:
            return True
        cosine = one.against.cosine_p1
        is_close = cosine is None or cosine >= self.limits.cosine_p1
        return is_close and one.loss_points <= self.loss_limit

    def to_dict(self) -> dict[str, Any]:
        return {
            "version": 1,
            "drive": self.drive,
            "cameras": list(self.cameras),
            "num_frames": self.num_frames,
            "measure": "labels" if self.has_labels else "what the dense run found",
            "limits": {"loss_points": self.loss_limit, "cosine_p1": self.limits.cosine_p1},
            "machine": dict(self.machine),
            "settings": [one.to_dict() for one in self.tried],
            "front": [one.name for one in self.front],
            "recommended": self.recommended.name,
        }


def short(value: Any) -> str:
    """`20` for 20.0."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def default_loss_points(has_labels: bool) -> float:
    """Agreement counts every difference against a setting, also where dense was wrong."""
    return 0.5 if has_labels else 1.0


class Sweep:
    """Every setting over the footage; what was finished is kept in `out` and not run again."""

    def __init__(
        self,
        drive: Path,
        settings: Sequence[EvalConfig],
        out: Path,
        cameras: tuple[str, ...] = (),
        max_frames: int | None = None,
    ) -> None:
        """`settings` are those of `list_settings`. Raises SourceError."""
        self._footage, self._labels = _choose(drive, cameras, max_frames)
        self._settings = settings
        runs = list_runs(settings, [])
        self._contenders = [Contender(run, self._footage, out) for run in runs]
        self._records: list[RunRecord] = []

    @property
    def cameras(self) -> tuple[str, ...]:
        return self._footage.cameras

    def run(self, on_progress: OnProgress) -> None:
        """Run what is missing. Raises SourceError, WeightsError, ConfigError or OutputError."""
        self._records = run_all(self._contenders, self._footage, on_progress)

    def weigh(self, limits: Limits, on_stage: OnStage) -> Tuning:
        """Raises SourceError when there is nothing by which to judge."""
        scores: dict[str, dict[str, DetectionScore]] = {r.run.name: {} for r in self._records}
        for group in _GROUPS if self._labels is None else _judged(self._labels):
            on_stage(f"scoring {group}")
            for name, score in self._score(group).items():
                scores[name][group] = score
        judged = [g for g, score in scores[DENSE].items() if score.AP50 >= _MIN_AP50]
        if not judged:
            raise SourceError(
                f"{self._footage.folder}: the dense run found next to no vehicles and people, so "
                "there is nothing that reuse could lose; take a drive with traffic, or more of it",
                "empty",
            )
        tried = [
            self._tried(record, config, scores[record.run.name], scores[DENSE], judged)
            for record, config in zip(self._records, self._settings, strict=True)
        ]
        return Tuning(
            drive=self._footage.folder.resolve().name,
            cameras=self._footage.cameras,
            num_frames=len(self._records[0].log.camera),
            has_labels=self._labels is not None,
            machine=machine_facts(),
            limits=limits,
            tried=tried,
        )

    def _score(self, group: str) -> dict[str, DetectionScore]:
        """By run; empty where there is nothing of the group."""
        first = self._records[0]
        truth = self._labels.only(first.log.keys) if self._labels else sure_boxes(first.log, group)
        if not truth.classes:
            return {}
        matches = {r.run.name: match_detections(truth, r.log.found(), group) for r in self._records}
        spread = intervals(matches, block_frames=block_frames(first.log))
        return {
            name: replace(
                score_matches(match),
                intervals=spread.intervals.get(name, {}),
                differences=spread.differences.get(name, {}),
            )
            for name, match in matches.items()
        }

    def _tried(
        self,
        record: RunRecord,
        config: EvalConfig,
        scores: Mapping[str, DetectionScore],
        dense: Mapping[str, DetectionScore],
        judged: Sequence[str],
    ) -> Tried:
        log, tiling = record.log, config.tiling
        shares = {state: float((log.tiles == state).mean()) for state in TileState}
        return Tried(
            name=config.name,
            values={} if config.is_dense else _values(config),
            tiling=tiling,
            encoded=shares[TileState.ENCODED],
            moved=shares[TileState.MOVED],
            stale=shares[TileState.STALE],
            gflops=record.gflops_per_frame,
            ms=float(np.mean(log.encode_ns + log.detect_ns)) / 1e6,
            against=compare_costs(record, self._records),
            scores=scores,
            loss_points=max(100 * (dense[g].AP50 - scores[g].AP50) for g in judged),
        )


def list_settings(config: EvalConfig, vary: Sequence[str]) -> list[EvalConfig]:
    """The dense encoder, then every combination of what varies: `key=value,value,...` of `tiling`.

    Raises ConfigError for keys and values that do not exist, and for too many combinations."""
    if config.encoder.name == NONE:
        raise ConfigError(
            f"{config.name} runs no encoder, so there are no tiles; give one that does"
        )
    axes = dict(parsed := [_axis(text) for text in vary])
    if len(axes) < len(parsed):
        raise ConfigError("--vary: a key is given twice; put all its values behind one")
    count = int(np.prod([len(values) for values in axes.values()]))
    if count > MOST_SETTINGS:
        raise ConfigError(
            f"--vary: {count} combinations are more than {MOST_SETTINGS}; vary less at a time"
        )
    settings = [config.model_copy(update={"name": DENSE, "tiling": TilingConfig()})]
    base = {} if config.is_dense else config.tiling.model_dump(exclude_unset=True)
    for values in product(*axes.values()):
        own = dict(zip(axes, values, strict=True))
        data = {"policy": "threshold", **base, **own}
        tiling = check_config(data, TilingConfig, origin=Path("--vary"))
        name = "_".join(f"{key}-{value}" for key, value in own.items())
        settings.append(config.model_copy(update={"name": name, "tiling": tiling}))
    if any(setting.is_dense for setting in settings[1:]):
        raise ConfigError(
            "--vary: policy off is the dense run, which is always there; leave it out"
        )
    return settings


def _axis(text: str) -> tuple[str, tuple[Any, ...]]:
    """`threshold=12,20` -> threshold, (12, 20)"""
    key, equals, listed = text.partition("=")
    words = [word.strip() for word in listed.split(",")]
    if not equals or not key.strip() or not all(words):
        raise ConfigError(f"--vary takes key=value,value,..., got {text!r}")
    try:
        values = [yaml.safe_load(word) for word in words]
    except yaml.YAMLError:
        raise ConfigError(f"--vary {text}: these are not YAML values; quote them") from None
    return key.strip(), tuple(dict.fromkeys(values))


def _values(config: EvalConfig) -> dict[str, Any]:
    """What the setting says of tiling, but for a policy that everybody has."""
    values = config.tiling.model_dump(exclude_unset=True)
    return {key: value for key, value in values.items() if (key, value) != ("policy", "threshold")}


def _judged(labels: DriveLabels) -> tuple[str, ...]:
    """Of the labelled groups those that matter most, or the first class there is."""
    groups = groups_of(labels)
    return tuple(group for group in groups if group in _GROUPS) or groups[:1]


def _choose(
    drive: Path, cameras: tuple[str, ...], max_frames: int | None
) -> tuple[Footage, DriveLabels | None]:
    if (drive / "labels.json").is_file():
        return choose_footage(drive, cameras, max_frames)
    there = Drive(drive)
    for camera in cameras:
        there.camera(camera)
    return Footage(
        drive, tuple(c for c in there.cameras if c in (cameras or there.cameras)), max_frames
    ), None


def _plain(value: Any) -> Any:
    """As JSON knows it: it has no infinity."""
    return value if not isinstance(value, float) or np.isfinite(value) else str(value)
