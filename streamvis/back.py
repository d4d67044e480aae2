"""The worker's half of the pipeline: tile packets of many cameras in, results out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from streamvis.detect.config import DetectorConfig
from streamvis.detect.detector import Detector, build_detector
from streamvis.encode.config import NONE, EncoderConfig
from streamvis.encode.encoder import Encoder, build_encoder
from streamvis.tiling.canvas import Canvas
from streamvis.tiling.grid import TileGrid
from streamvis.track.config import TrackerConfig
from streamvis.track.tracker import Tracker
from streamvis.types import (
    LETTERBOX_FILL,
    Detections,
    Feedback,
    FrameResult,
    Ledger,
    ModelId,
    TileCounts,
    TilePacket,
)


@dataclass
class _CameraState:
    """All that the back remembers of one camera; each part has its own reset()."""

    canvas: Canvas
    tracker: Tracker
    published: int = 0
    lost_infer: int = 0
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))


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
        images = torch.from_numpy(np.stack([self._state(p).canvas.image for p in accepted]))
        features = self._encoder.encode_full(images)  # [B, H, W, 3] -> pyramid, [B, D]
        embeddings = features.embedding.float().cpu().numpy()
        t_encoded_ns = time.monotonic_ns()
        found = self._detector.detect(images, features)
        stamps = {
            "received": t_received_ns,
            "encoded": t_encoded_ns,
            "detected": time.monotonic_ns(),
        }
        results = [
            self._finish(packet, embedding, detections, stamps)
            for packet, embedding, detections in zip(accepted, embeddings, found, strict=True)
        ]
        return results, feedback | {p.camera: self._feedback(p) for p in accepted}

    def warm_up(self, num_pictures: int) -> None:
        """Run one batch of this size on grey, so that the first frames do not pay for what the
        libraries prepare at their first call. Leaves no trace."""
        height, width, _ = self._grid.picture_shape
        images = torch.full((num_pictures, height, width, 3), LETTERBOX_FILL, dtype=torch.uint8)
        self._detector.detect(images, self._encoder.encode_full(images))

    def picture(self, camera: str) -> np.ndarray:
        """The camera's canvas, uint8 [H, W, 3] RGB; read it before the next step."""
        return self._cameras[camera].canvas.image

    def _state(self, packet: TilePacket) -> _CameraState:
        if packet.camera not in self._cameras:
            tracker = Tracker(self._tracker_config, classes=self._detector.model.classes)
            self._cameras[packet.camera] = _CameraState(Canvas(self._grid), tracker)
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
        embedding: np.ndarray,
        detections: Detections,
        stamps: dict[str, int],
    ) -> FrameResult:
        state = self._state(packet)
        state.boxes = detections.xyxy
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
            embedding=embedding,
            detections=tracked,
            tiles=TileCounts(total=packet.plan.num_tiles, encoded=len(packet.plan.index)),
            packet_kind=packet.plan.kind,
            model=self.model,
            ledger=_ledger(packet, state),
            is_discont=packet.is_discont,
            is_corrupt=packet.is_corrupt,
        )

    def _feedback(self, packet: TilePacket) -> Feedback:
        state = self._state(packet)
        return Feedback(acked_seq=packet.seq, credit=1, need_i=False, boxes=state.boxes)


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
