"""One contender, stepped round by round: the stages of pipeline.py with a clock beside them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from streamvis.back import PerceptionBack
from streamvis.detect.detector import Detector, build_detector
from streamvis.encode.encoder import Encoder, build_encoder
from streamvis.eval.config import EvalConfig
from streamvis.eval.detection import MatchSettings
from streamvis.eval.memory import grown_mb, resident_mb
from streamvis.eval.rounds import Round
from streamvis.eval.shards import RunLog
from streamvis.front import build_front
from streamvis.types import Feedback, Frame, FrameResult, TilePacket


@dataclass(frozen=True)
class StepResult:
    packets: Sequence[TilePacket]
    results: Sequence[FrameResult]
    service_ns: int  # front and back, all cameras of the round


@dataclass(frozen=True)
class Models:
    """Loaded once for all contenders that use them; they keep no state of a drive."""

    encoder: Encoder
    detector: Detector
    num_threads: int
    memory_mb: float | None  # resident memory gained by loading and a first batch

    @staticmethod
    def load(config: EvalConfig, batch: int) -> Models:
        """Raises WeightsError or ConfigError."""
        before = resident_mb()
        encoder = build_encoder(config.encoder)
        detector = build_detector(keep_weak(config).detector, encoder)
        models = Models(encoder, detector, torch.get_num_threads(), None)
        models.back(config).warm_up(batch)
        return replace(models, memory_mb=grown_mb(before))

    def back(self, config: EvalConfig) -> PerceptionBack:
        return PerceptionBack(self.encoder, self.detector, config.tracker, epoch="eval")


class Stepper:
    """One contender's state on the drive; it begins anew with `reset`. Not thread-safe.

    Weak detections are kept, because average precision needs the whole curve: the tracker here
    sees them too, so its ids are not used (see `tracks.py`).
    """

    def __init__(self, config: EvalConfig, cameras: Sequence[str], models: Models) -> None:
        self.config = config
        self._cameras = cameras
        self._models = models
        self.reset()
        self.model = self._back.model

    def reset(self) -> None:
        """Forget the drive: the next packet of each camera is an I packet."""
        config = self.config
        self._fronts = {c: build_front(config.encoder, config.tiling) for c in self._cameras}
        self._feedback = {camera: Feedback() for camera in self._cameras}
        self._back = self._models.back(config)

    def warm_up(self) -> None:
        """What another config's turn displaced comes back. Leaves no trace."""
        torch.set_num_threads(
            self._models.num_threads
        )  # one setting per process, and configs may differ
        self._back.warm_up(len(self._cameras))

    def step(self, frames: Sequence[Frame]) -> StepResult:
        """One round; the frames count as decoded now."""
        began_ns = time.monotonic_ns()
        frames = [replace(f, t_ingest_ns=began_ns, t_decoded_ns=began_ns) for f in frames]
        packets = [self._fronts[f.camera].step(f, self._feedback[f.camera]) for f in frames]
        results, feedback = self._back.step(packets)
        self._feedback |= feedback
        service_ns = time.monotonic_ns() - began_ns
        assert len(results) == len(frames), "in order and without drops every packet fits"
        return StepResult(packets, results, service_ns)


def keep_weak(config: EvalConfig) -> EvalConfig:
    """The config with its detector's threshold at the score floor of the metrics."""
    settings = MatchSettings()
    score = min(config.detector.score, settings.score_floor)
    weak = {"score": score, "max_detections": settings.max_detections}
    detector = config.detector.model_copy(update=weak)
    return config.model_copy(update={"detector": detector})


def run_turn(stepper: Stepper, rounds: Sequence[Round]) -> RunLog:
    """Step through these rounds and write down what came out."""
    stepper.warm_up()
    steps = [stepper.step([timed.frame for timed in r.frames]) for r in rounds]
    return to_log(rounds, steps)


def to_log(rounds: Sequence[Round], steps: Sequence[StepResult]) -> RunLog:
    """The columns of these rounds."""
    timed = [t for r in rounds for t in r.frames]
    results = [result for step in steps for result in step.results]
    packets = [packet for step in steps for packet in step.packets]
    sizes = np.array([len(step.results) for step in steps for _ in step.results], np.int64)
    found = [result.detections for result in results]
    return RunLog(
        camera=np.array([result.camera for result in results]),
        frame_index=np.array([result.frame_index for result in results], np.int64),
        media_ns=np.array([t.media_ns for t in timed], np.int64),
        is_discont=np.array([result.is_discont for result in results], np.bool_),
        tiles=np.stack([packet.plan.states() for packet in packets]),
        encode_ns=_between(results, "received", "encoded") // sizes,
        detect_ns=_between(results, "encoded", "detected") // sizes,
        latency_ns=_between(results, "decoded", "tracked"),
        embedding=np.stack([result.embedding for result in results]),
        num_found=np.array([len(one) for one in found], np.int64),
        xyxy=np.concatenate([one.xyxy for one in found]),
        score=np.concatenate([one.score for one in found]),
        class_id=np.concatenate([one.class_id for one in found]),
        num_frames=np.array([len(step.results) for step in steps], np.int64),
        round_media_ns=np.array([r.media_ns for r in rounds], np.int64),
        service_ns=np.array([step.service_ns for step in steps], np.int64),
    )


def _between(results: Sequence[FrameResult], start: str, end: str) -> np.ndarray:
    return np.array([r.stamps_ns[end] - r.stamps_ns[start] for r in results], np.int64)
