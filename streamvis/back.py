"""The worker's half of the pipeline: tile packets of many cameras in, results out."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from streamvis.detect.config import DetectorConfig
from streamvis.detect.detector import Detector, build_detector
from streamvis.encode.config import NONE, EncoderConfig
from streamvis.encode.embedder import PART, SCOPES, ClipWindow, EmbeddingReader
from streamvis.encode.encoder import Cache, Encoder, TileUpdate, build_encoder, stack_pictures
from streamvis.encode.memory import BatchLimit, SuppressOutOfMemory
from streamvis.encode.sv_tiny_encoder import SvTinyEncoder
from streamvis.encode.tokenizer import TokenReader
from streamvis.tiling.canvas import Canvas
from streamvis.tiling.grid import TileGrid
from streamvis.tiling.plan import count_tiles, every_tile
from streamvis.track.config import TrackerConfig
from streamvis.track.tracker import Tracker
from streamvis.types import (
    LETTERBOX_FILL,
    Detections,
    Embeddings,
    Feedback,
    FrameResult,
    Ledger,
    ModelId,
    TilePacket,
    Tokens,
)

_SURE = 0.3  # a camera's front attends to objects at least so sure: an evaluation keeps all


@dataclass(frozen=True)
class _Answer:
    """What the models say of a camera's canvas."""

    embedding: np.ndarray  # float32 [D]
    detections: Detections  # boxes in encoder px
    canary_error: float
    tokens: Tokens | None  # boxes in encoder px
    more: Embeddings  # but the clip's


@dataclass
class _CameraState:
    """All that the back remembers of one camera; each part has its own reset()."""

    canvas: Canvas
    cache: Cache
    tracker: Tracker
    clip: ClipWindow = field(default_factory=ClipWindow)
    answer: _Answer | None = None  # to the newest packet


class PerceptionBack:
    """Encodes, detects and tracks for the cameras pinned to one worker."""

    def __init__(
        self,
        encoder: Encoder,
        detector: Detector,
        tracker: TrackerConfig,
        epoch: str,
        tokens: TokenReader | None = None,
        embedder: EmbeddingReader | None = None,
    ) -> None:
        self._encoder = encoder
        self._detector = detector
        self._tokens = tokens
        self._embedder = embedder
        self._tracker_config = tracker
        self._epoch = epoch
        self._grid = TileGrid.over(*encoder.input_size, encoder.tile_px)
        self._cameras: dict[str, _CameraState] = {}
        self._limit = BatchLimit()
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

        A packet that does not fit its camera's canvas, or for which there is not enough memory even
        alone, gives no result, its camera is asked for an I packet, and its front counts it as
        lost in `infer`.
        """
        t_received_ns = time.monotonic_ns()
        self.batch += 1
        feedback = {p.camera: Feedback() for p in packets}
        accepted = [packet for packet in packets if self._accept(packet)]
        if not accepted:
            return [], feedback
        t_encoded_ns = self._look([p for p in accepted if self._is_news(p)])
        accepted = [packet for packet in accepted if self._state(packet).answer]
        stamps = {
            "received": t_received_ns,
            "encoded": t_encoded_ns,
            "detected": time.monotonic_ns(),
        }
        results = [self._finish(packet, stamps) for packet in accepted]
        service_ns = stamps["detected"] - t_received_ns
        return results, feedback | {p.camera: self._feedback(p, service_ns) for p in accepted}

    def _look(self, packets: Sequence[TilePacket]) -> int:
        """Bring the answers of these cameras up to date, in as many parts as the memory wants;
        returns when they were encoded, ns."""
        t_encoded_ns = time.monotonic_ns()
        parts = self._limit.split(packets)
        while parts:
            part = parts.pop(0)
            done_ns = self._try_to_answer(part)
            t_encoded_ns = done_ns or t_encoded_ns
            if done_ns is None:
                parts = self._limit.halve(part) + parts
                self._give_up(part if len(part) == 1 else ())
        return t_encoded_ns

    def _try_to_answer(self, packets: Sequence[TilePacket]) -> int | None:
        """None if there is not enough memory: then it may be called again."""
        with SuppressOutOfMemory():
            return self._answer(packets)
        return None

    def _give_up(self, packets: Sequence[TilePacket]) -> None:
        """The encoder did not see this change: nothing can build on it."""
        for state in map(self._state, packets):
            state.canvas.reset()
            state.cache.reset()
            state.answer = None

    def _answer(self, packets: Sequence[TilePacket]) -> int:
        updates = [self._update(packet) for packet in packets]
        features = self._encoder.encode_changed(updates)
        embeddings = features.embedding.float().cpu().numpy()
        t_encoded_ns = time.monotonic_ns()
        images = stack_pictures(updates)
        found = self._detector.detect(images, features)
        canaries = features.canary_error or (0.0,) * len(packets)
        tokens = self._tokens.read(features) if self._tokens else [None] * len(packets)
        vectors = [(embedding, Embeddings()) for embedding in embeddings]
        if self._embedder:
            vectors = self._embedder.read(images, features, found)
        for i, packet in enumerate(packets):
            frame, more = vectors[i]
            answer = _Answer(frame, found[i], canaries[i], tokens[i], more)
            self._state(packet).answer = answer
        return t_encoded_ns

    def _update(self, packet: TilePacket) -> TileUpdate:
        state = self._state(packet)
        return TileUpdate(state.canvas.image, packet.plan, packet.tiles, state.cache)

    def _is_news(self, packet: TilePacket) -> bool:
        """Whether the canvas changed: of the same canvas the models would say the same. A moved
        tile leaves it as it is."""
        return len(packet.plan.index) > 0

    def warm_up(self, num_pictures: int) -> None:
        """Run one batch of this size on grey, so that the first frames do not pay for what the
        libraries prepare at their first call. Leaves no trace."""
        while num_pictures > 1:
            with SuppressOutOfMemory():
                return self._warm_up(num_pictures)
            num_pictures //= 2
        return self._warm_up(1)

    def _warm_up(self, num_pictures: int) -> None:
        height, width, _ = self._grid.picture_shape
        images = torch.full((num_pictures, height, width, 3), LETTERBOX_FILL, dtype=torch.uint8)
        features = self._encoder.encode_full(images)
        found = self._detector.detect(images, features)
        if self._tokens:
            self._tokens.read(features)
        if self._embedder:
            self._embedder.read(images, features, found)
        plan = every_tile(self._grid)
        tiles = self._grid.cut(images[0].numpy(), plan.index)
        self._encoder.encode_changed(
            [TileUpdate(image.numpy(), plan, tiles, self._encoder.new_cache()) for image in images]
        )

    def picture(self, camera: str) -> np.ndarray:
        """The camera's canvas, uint8 [H, W, 3] RGB; read it before the next step."""
        return self._cameras[camera].canvas.image

    def forget(self, camera: str) -> None:
        """Free what is kept for this camera: it ended, or went to another worker."""
        self._cameras.pop(camera, None)

    def _state(self, packet: TilePacket) -> _CameraState:
        if packet.camera not in self._cameras:
            tracker = Tracker(self._tracker_config, classes=self._detector.model.classes)
            self._cameras[packet.camera] = _CameraState(
                Canvas(self._grid), self._encoder.new_cache(), tracker
            )
        return self._cameras[packet.camera]

    def _accept(self, packet: TilePacket) -> bool:
        with SuppressOutOfMemory():  # a new camera's cache
            return self._apply(packet)
        return False

    def _apply(self, packet: TilePacket) -> bool:
        state = self._state(packet)
        if not state.canvas.fits(packet):
            return False
        state.canvas.apply(packet)
        if packet.is_discont:
            state.tracker.reset()
            state.clip.reset()
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
        tokens = state.answer.tokens
        if tokens is not None:
            tokens = tokens.with_boxes(packet.letterbox.to_source(tokens.xyxy))
        tracked = state.tracker.update(in_source, _media_time_ns(packet))
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
            ledger=_ledger(packet),
            is_discont=packet.is_discont,
            is_corrupt=packet.is_corrupt,
            tokens=tokens,
            more=self._add_clip(state, _media_time_ns(packet)),
        )

    def _add_clip(self, state: _CameraState, t_ns: int) -> Embeddings:
        """The answer's further vectors, and the clip's that ends with this frame."""
        assert state.answer is not None
        if self._embedder is None or not self._embedder.makes_clips:
            return state.answer.more
        state.clip.push(t_ns, state.answer.embedding)
        clip = self._embedder.read_clip(state.clip)
        return replace(state.answer.more, clip=clip, clip_ns=state.clip.span_ns)

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
    encoder: EncoderConfig,
    detector: DetectorConfig,
    tracker: TrackerConfig,
    epoch: str,
    wanted: Collection[str] = (),
) -> PerceptionBack:
    """Load the models; raises WeightsError when a file is missing or does not fit. `wanted` are
    the kinds of messages, and scopes of embeddings, that are made on demand only."""
    loaded = build_encoder(encoder)
    tokens = TokenReader(loaded) if "sem" in wanted else None
    embedder = _build_embedder(loaded, [scope for scope in SCOPES if scope in wanted])
    detecting = build_detector(detector, loaded)
    return PerceptionBack(loaded, detecting, tracker, epoch, tokens, embedder)


def _build_embedder(encoder: Encoder, scopes: Sequence[str]) -> EmbeddingReader | None:
    """Where the bundle has none and nobody asks for more, the encoder's own vector will do."""
    is_there = isinstance(encoder, SvTinyEncoder) and encoder.bundle.has(PART)
    return EmbeddingReader(encoder, scopes) if is_there or scopes else None


def _media_time_ns(packet: TilePacket) -> int:
    return round(packet.pts * packet.time_base * 1_000_000_000)


def _ledger(packet: TilePacket) -> Ledger:
    """As of this frame; nothing else of its camera is on its way. Not a count of this worker's
    own: what its predecessor published, it knows from the front."""
    counts = packet.counts
    lost = {
        "source": counts.lost_source,
        "decode": counts.lost_decode,
        "policy": counts.lost_policy,
        "infer": packet.lost_infer,
        "publish": 0,
    }
    return Ledger(counts.frames, counts.frames - sum(lost.values()), 0, lost)
