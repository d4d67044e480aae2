"""The worker's half of the pipeline: tile packets of many cameras in, results out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from streamvis.detect.config import DetectorConfig
from streamvis.detect.detector import Detector, build_detector
from streamvis.encode.config import NONE, EncoderConfig
from streamvis.encode.encoder import Cache, Encoder, TileUpdate, build_encoder, stack_pictures
from streamvis.tiling.canvas import Canvas
from streamvis.tiling.grid import TileGrid
from streamvis.tiling.plan import count_tiles, every_tile
from streamvis.track.config import TrackerConfig
from streamvis.track.tracker import Tracker
from streamvis.types import (
    LETTERBOX_FILL,
    Detections,
    Feedback,
    FrameResult,
    Ledger,
    ModelId,
    TilePacket,
)

_SURE = 0.3  # a camera's front attends to objects at least so sure: an evaluation keeps all


@dataclass(frozen=True)
class _Answer:
    """What the models say of a camera's canvas."""

    embedding: np.ndarray  # float32 [D]
    detections: Detections  # boxes in encoder px
    canary_error: float


@dataclass
class _CameraState:
    """All that the back remembers of one camera; each part has its own reset()."""

    canvas: Canvas
    cache: Cache
    tracker: Tracker
    answer: _Answer | None = None  # to the newest packet
    published: int = 0
    lost_infer: int = 0


class PerceptionBack:
    """Encodes, detects and tracks for the cameras pinned to one worker."""

    def __init__(
        self, encoder: Encoder, detector: Detector, tracker: TrackerConfig, epoch: str
    ) -> None:
        self._encoder = encoder
        self._detector = detector
        self._tracker_config = tracker
        self._epoch = epoch
        self._grid = TileGrid.over(*encoder.input_size, encoder.tile_px)
        self._cameras: dict[str, _CameraState] = {}
        self.batch = -1  # number of the newest step

    @property
    def model(self) -> ModelId:
        """The encoder makes the embedding, the detector names the classes."""
        encoder, detector = self._encoder.model, self._detector.model
        if encoder.name == NONE:
            return detector
        name = encoder.name if encoder == detector else f"{encoder.name}+{detector.name}"
        return ModelId(name, encoder.weights_sha256, detector.classes)

    def step(self, packets: Sequence[TilePacket]) -> tuple[list[FrameResult], dict[str, Feedback]]:
        """One batch: at most one packet per camera, results in the packets' order.

        A packet that does not fit its camera's canvas gives no result, counts as lost in
        `infer`, and its camera is asked for an I packet.
        """
        t_received_ns = time.monotonic_ns()
        self.batch += 1
        feedback = {p.camera: Feedback() for p in packets}
        accepted = [packet for packet in packets if self._accept(packet)]
        if not accepted:
            return [], feedback
        t_encoded_ns = self._look([p for p in accepted if self._is_news(p)])
        stamps = {
            "received": t_received_ns,
            "encoded": t_encoded_ns,
            "detected": time.monotonic_ns(),
        }
        results = [self._finish(packet, stamps) for packet in accepted]
        service_ns = stamps["detected"] - t_received_ns
        return results, feedback | {p.camera: self._feedback(p, service_ns) for p in accepted}

    def _look(self, packets: Sequence[TilePacket]) -> int:
        """Bring the answers of these cameras up to date; returns when they were encoded, ns."""
        if not packets:
            return time.monotonic_ns()
        updates = [self._update(packet) for packet in packets]
        features = self._encoder.encode_changed(updates)
        embeddings = features.embedding.float().cpu().numpy()
        t_encoded_ns = time.monotonic_ns()
        found = self._detector.detect(stack_pictures(updates), features)
        canaries = features.canary_error or (0.0,) * len(packets)
        for packet, *answer in zip(packets, embeddings, found, canaries, strict=True):
            self._state(packet).answer = _Answer(*answer)
        return t_encoded_ns

    def _update(self, packet: TilePacket) -> TileUpdate:
        state = self._state(packet)
        return TileUpdate(state.canvas.image, packet.plan, packet.tiles, state.cache)

    def _is_news(self, packet: TilePacket) -> bool:
        """Whether the canvas changed: of the same canvas the models would say the same."""
        return len(packet.plan.index) > 0 or bool(packet.plan.motion.any())

    def warm_up(self, num_pictures: int) -> None:
        """Run one batch of this size on grey, so that the first frames do not pay for what the
        libraries prepare at their first call. Leaves no trace."""
        height, width, _ = self._grid.picture_shape
        images = torch.full((num_pictures, height, width, 3), LETTERBOX_FILL, dtype=torch.uint8)
        self._detector.detect(images, self._encoder.encode_full(images))
        plan = every_tile(self._grid)
        tiles = self._grid.cut(images[0].numpy(), plan.index)
        self._encoder.encode_changed(
            [TileUpdate(image.numpy(), plan, tiles, self._encoder.new_cache()) for image in images]
        )

    def picture(self, camera: str) -> np.ndarray:
        """The camera's canvas, uint8 [H, W, 3] RGB; read it before the next step."""
        return self._cameras[camera].canvas.image

    def _state(self, packet: TilePacket) -> _CameraState:
        if packet.camera not in self._cameras:
            tracker = Tracker(self._tracker_config, classes=self._detector.model.classes)
            self._cameras[packet.camera] = _CameraState(
                Canvas(self._grid), self._encoder.new_cache(), tracker
            )
        return self._cameras[packet.camera]

    def _accept(self, packet: TilePacket) -> bool:
        state = self._state(packet)
        if not state.canvas.fits(packet):
            state.lost_infer += 1
            return False
        state.canvas.apply(packet)
        if packet.is_discont:
            state.tracker.reset()
        return True

    def _finish(
        self,
        packet: TilePacket,
        stamps: dict[str, int],
    ) -> FrameResult:
        state = self._state(packet)
        assert state.answer is not None, "an I packet came first"
        detections = state.answer.detections
        in_source = detections.with_boxes(packet.letterbox.to_source(detections.xyxy))
        tracked = state.tracker.update(in_source, _media_time_ns(packet))
        state.published += 1
        return FrameResult(
            camera=packet.camera,
            epoch=self._epoch,
            frame_index=packet.frame_index,
            pts=packet.pts,
            time_base=packet.time_base,
            capture=packet.capture,
            stamps_ns={**packet.stamps_ns, **stamps, "tracked": time.monotonic_ns()},
            source_size=(packet.letterbox.source_width, packet.letterbox.source_height),
            embedding=state.answer.embedding,
            detections=tracked,
            tiles=count_tiles(packet.plan),
            packet_kind=packet.plan.kind,
            model=self.model,
            ledger=_ledger(packet, state),
            is_discont=packet.is_discont,
            is_corrupt=packet.is_corrupt,
        )

    def _feedback(self, packet: TilePacket, service_ns: int) -> Feedback:
        state = self._state(packet)
        assert state.answer is not None
        found = state.answer.detections
        sure = found[found.score >= _SURE]
        return Feedback(
            acked_seq=packet.seq,
            credit=1,
            need_i=False,
            boxes=sure.xyxy,
            canary_error=state.answer.canary_error,
            service_ns=service_ns,
        )


def build_back(
    encoder: EncoderConfig, detector: DetectorConfig, tracker: TrackerConfig, epoch: str
) -> PerceptionBack:
    """Load the models; raises WeightsError when a file is missing or does not fit."""
    loaded = build_encoder(encoder)
    return PerceptionBack(loaded, build_detector(detector, loaded), tracker, epoch)


def _media_time_ns(packet: TilePacket) -> int:
    return round(packet.pts * packet.time_base * 1_000_000_000)


def _ledger(packet: TilePacket, state: _CameraState) -> Ledger:
    counts = packet.counts
    lost = {
        "source": counts.lost_source,
        "decode": counts.lost_decode,
        "policy": counts.lost_policy,
        "infer": state.lost_infer,
        "publish": 0,
    }
    in_flight = counts.frames - sum(lost.values()) - state.published
    return Ledger(counts.frames, state.published, in_flight, lost)
