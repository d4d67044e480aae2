"""The messages between the stages: frozen, numpy only, checked once on construction.

Times are int nanoseconds. Three clocks, never mixed: the media's (`pts`), the world's
(`capture.t_ns`, Unix epoch), and this host's monotonic clock (`t_*_ns` stage stamps).
Boxes are xyxy: x right, y down, in the pixels named at the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

CLASSES = (
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "bus",
    "truck",
    "traffic_light",
    "traffic_sign",
)

LETTERBOX_FILL = 114  # grey level around the picture, the convention of YOLO-family detectors
MOTION_BLOCK_PX = 16  # of a codec's motion field, encoder px
QUARTERS = 4  # motion is given in quarters of a px

CaptureSource = Literal["rtcp", "container", "device", "arrival", "none"]
PacketKind = Literal["I", "P"]
Clock = Literal["live", "replay"]
LOSS_STAGES = ("source", "decode", "policy", "infer", "publish")

# The stamps a frame collects on its way, in order; each is CLOCK_MONOTONIC in ns.
STAGES = ("ingest", "decoded", "packed", "received", "encoded", "detected", "tracked")


def _check(name: str, array: Any, dtype: DTypeLike, shape: tuple[int | None, ...]) -> None:
    """Raise ValueError unless `array` has this dtype and shape (None = any size)."""
    if not isinstance(array, np.ndarray) or array.dtype != np.dtype(dtype):
        found = getattr(array, "dtype", type(array).__name__)
        raise ValueError(f"{name} must be a {np.dtype(dtype)} array, got {found}")
    fits = array.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        want_text = ", ".join("*" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} must be [{want_text}], got {list(array.shape)}")


@dataclass(frozen=True)
class CaptureTime:
    """When the light hit the sensor, who says so, and how far off that may be."""

    t_ns: int  # Unix epoch; 0 when source is "none"
    source: CaptureSource
    uncertainty_ns: int


@dataclass(frozen=True)
class LetterBox:
    """How a source picture lies in the encoder's input: scaled, at the top left, padded."""

    source_width: int
    source_height: int
    width: int  # encoder input, px
    height: int

    def __post_init__(self) -> None:
        for size in fields(self):
            if getattr(self, size.name) < 1:
                raise ValueError(f"{size.name} must be positive, got {getattr(self, size.name)}")

    @property
    def content_size(self) -> tuple[int, int]:
        """(width, height) of the scaled picture inside the encoder's input, px; even numbers,
        because chroma is sub-sampled."""
        scale = min(self.width / self.source_width, self.height / self.source_height)
        width = max(2, round(self.source_width * scale / 2) * 2)
        height = max(2, round(self.source_height * scale / 2) * 2)
        return min(width, self.width), min(height, self.height)

    @property
    def to_source_scale(self) -> tuple[float, float]:
        """(x, y) factors from encoder pixels to source pixels: the affine has no offset."""
        width, height = self.content_size
        return self.source_width / width, self.source_height / height

    def to_source(self, xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes [N, 4] in encoder pixels -> source pixels, clipped to the source picture."""
        sx, sy = self.to_source_scale
        boxes = xyxy * np.array([sx, sy, sx, sy], np.float32)
        limit = [self.source_width, self.source_height] * 2
        return np.clip(boxes, 0, np.array(limit, np.float32)).astype(np.float32)


@dataclass(frozen=True)
class Frame:
    """One decoded picture, already at the encoder's size."""

    camera: str
    index: int  # decode order, counted from 0 over every frame the source had
    image: NDArray[np.uint8]  # [H, W, 3] RGB, letter-boxed at the top left
    letterbox: LetterBox
    pts: int  # in units of time_base
    time_base: Fraction  # seconds
    capture: CaptureTime
    t_ingest_ns: int  # monotonic: arrival; in a replay the scheduled release
    t_decoded_ns: int  # monotonic
    lost_decode: int = 0  # frames before this one that could not be decoded
    num_skipped: int = 0  # frames before this one that nobody wanted: before a source's `start`
    is_discont: bool = False  # time or size jumped since the frame before
    is_corrupt: bool = False  # decoded with errors: never a reuse reference
    # int16 [H/16, W/16, 2] (x, y) in 1/4 encoder px: where each block was in the frame before, as
    # the codec says; None where it does not, or was not asked
    motion: NDArray[np.int16] | None = None

    def __post_init__(self) -> None:
        height, width = self.letterbox.height, self.letterbox.width
        _check("image", self.image, np.uint8, (height, width, 3))
        if self.motion is not None:
            blocks = (height // MOTION_BLOCK_PX, width // MOTION_BLOCK_PX, 2)
            _check("motion", self.motion, np.int16, blocks)


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera, in source pixels."""

    fx: float
    fy: float
    cx: float
    cy: float


@dataclass(frozen=True)
class CameraInfo:
    """What is known of a camera before its first frame."""

    width: int  # source px
    height: int
    fps: float  # as declared; 0 when the container does not say
    codec: str
    num_frames: int | None = None  # None when unknown
    intrinsics: Intrinsics | None = None


@dataclass(frozen=True)
class AccessUnit:
    """One encoded picture, as the camera sent it.

    H.264 and HEVC are in Annex-B form, with parameter sets at every key frame.
    """

    index: int  # of the unit in its stream, decode order, from 0
    codec: str  # FFmpeg's name: h264, hevc, mjpeg, vp9, ...
    data: bytes
    extradata: bytes  # what the decoder needs beforehand; empty for Annex-B
    is_key: bool
    is_reordered: bool  # the stream has B-frames: pictures come out in another order
    pts: int | None  # in units of time_base
    dts: int | None
    time_base: Fraction  # seconds
    size: tuple[int, int]  # (width, height) source px
    capture: CaptureTime  # of this unit's picture; source "none" where it is not known yet
    is_discont: bool = False  # the stream begins anew here: a source that loops
    is_discard: bool = False  # decode it, do not show it: the container cuts it away


class TileState(IntEnum):
    """How one tile of a frame was served."""

    REUSED = 0
    ENCODED = 1
    MOVED = 2
    STALE = 3  # moved or not, it should have travelled and did not


@dataclass(frozen=True)
class TilePlan:
    """Which tiles of a frame travel, and why."""

    rows: int
    cols: int
    tile_px: int
    kind: PacketKind
    index: NDArray[np.int32]  # [K] row-major tile numbers, ascending, unique
    # [M, 2] (x, y) in 1/4 encoder px: where in the canvas a moved tile's content lies, 0 for the
    # other tiles; M = rows * cols, or 0 if none moved
    motion: NDArray[np.int16]
    score: NDArray[np.float32]  # [M] from 1 on a tile must travel: change / threshold, or overdue
    age: NDArray[np.int32]  # [M] frames since each tile was encoded, if it does not travel now

    def __post_init__(self) -> None:
        count = self.num_tiles
        _check("index", self.index, np.int32, (None,))
        _check("motion", self.motion, np.int16, (count if len(self.motion) else 0, 2))
        _check("score", self.score, np.float32, (count,))
        _check("age", self.age, np.int32, (count,))
        if len(self.index) and (self.index[0] < 0 or self.index[-1] >= count):
            raise ValueError(f"index must lie in [0, {count}), got {self.index}")
        if np.any(np.diff(self.index) <= 0):
            raise ValueError(f"index must be ascending and unique, got {self.index}")
        if self.kind == "I" and len(self.index) != count:
            raise ValueError(f"an I plan has all {count} tiles, got {len(self.index)}")

    @property
    def num_tiles(self) -> int:
        return self.rows * self.cols

    def states(self) -> NDArray[np.uint8]:
        """[rows, cols] of TileState."""
        states = np.full(self.num_tiles, TileState.REUSED, np.uint8)
        if len(self.motion):
            states[self.motion.any(axis=1)] = TileState.MOVED
        states[~(self.score < 1)] = TileState.STALE  # also where it is not a number
        states[self.index] = TileState.ENCODED
        return states.reshape(self.rows, self.cols)


@dataclass(frozen=True)
class SourceCounts:
    """What a camera's front has seen and dropped since it started, cumulative frames."""

    frames: int = 0  # the source had, up to and including this frame
    lost_source: int = 0
    lost_decode: int = 0
    lost_policy: int = 0


@dataclass(frozen=True)
class TilePacket:
    """The tile stream's unit: the tiles of one frame that the back does not have yet."""

    camera: str
    seq: int
    base_seq: int  # the state this packet builds on; -1 for an I packet
    frame_index: int
    plan: TilePlan
    tiles: NDArray[np.uint8]  # [K, T, T, 3] RGB, in the order of plan.index
    letterbox: LetterBox
    pts: int
    time_base: Fraction
    capture: CaptureTime
    stamps_ns: Mapping[str, int]  # monotonic, keys from STAGES
    counts: SourceCounts
    lost_infer: int = 0  # of the frames before this one, packets that gave no result
    is_discont: bool = False
    is_corrupt: bool = False

    def __post_init__(self) -> None:
        size = self.plan.tile_px
        _check("tiles", self.tiles, np.uint8, (len(self.plan.index), size, size, 3))
        if (self.base_seq < 0) != (self.plan.kind == "I"):
            raise ValueError(f"an I packet has base_seq -1, got {self.base_seq = }")


@dataclass(frozen=True)
class Feedback:
    """What the back tells a camera's front after each of its packets."""

    acked_seq: int = -1  # the newest packet that is in the back's canvas
    credit: int = 1  # packets the front may send now
    need_i: bool = True  # picture loss indication: send every tile
    boxes: NDArray[np.float32] = field(  # [N, 4] last detections, encoder px
        default_factory=lambda: np.zeros((0, 4), np.float32)
    )
    canary_error: float = 0.0  # 1 - cosine of refreshed tokens, worst of the last frame
    service_ns: int = 0  # what the packet's batch took to encode and detect; 0 when not known

    def __post_init__(self) -> None:
        _check("boxes", self.boxes, np.float32, (None, 4))


@dataclass(frozen=True)
class Detections:
    """Columns of one frame's objects. `detections[mask]` gives Detections again."""

    xyxy: NDArray[np.float32]  # [N, 4] source pixels
    score: NDArray[np.float32]  # [N] in [0, 1]
    class_id: NDArray[np.int32]  # [N] index into the model's class names
    track_id: NDArray[np.int64]  # [N] -1 = not tracked

    def __post_init__(self) -> None:
        n = len(self.xyxy)
        _check("xyxy", self.xyxy, np.float32, (None, 4))
        _check("score", self.score, np.float32, (n,))
        _check("class_id", self.class_id, np.int32, (n,))
        _check("track_id", self.track_id, np.int64, (n,))

    def __len__(self) -> int:
        return len(self.xyxy)

    def __getitem__(self, rows: NDArray[Any] | slice) -> Detections:
        return Detections(
            self.xyxy[rows], self.score[rows], self.class_id[rows], self.track_id[rows]
        )

    @staticmethod
    def make(
        xyxy: NDArray[np.float32], score: NDArray[np.float32], class_id: NDArray[np.int32]
    ) -> Detections:
        """Untracked detections from three columns."""
        return Detections(xyxy, score, class_id, np.full(len(xyxy), -1, np.int64))

    @staticmethod
    def empty() -> Detections:
        return Detections.make(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32)
        )

    def with_boxes(self, xyxy: NDArray[np.float32]) -> Detections:
        return replace(self, xyxy=xyxy)

    def with_tracks(self, track_id: NDArray[np.int64]) -> Detections:
        return replace(self, track_id=track_id)


@dataclass(frozen=True)
class Tokens:
    """One picture in S slots. A vector and its code say what a slot stands for, the box where."""

    vectors: NDArray[np.float16]  # [S, D], L2 norm 1
    codes: NDArray[np.uint16]  # [S] the nearest entry of the model's codebook
    xyxy: NDArray[np.float32]  # [S, 4] where the slot looks; source pixels in a FrameResult
    share: NDArray[np.float32]  # [S] of the picture that the slot stands for; sums to 1
    num_codes: int  # of the codebook

    def __post_init__(self) -> None:
        count = len(self.codes)
        _check("vectors", self.vectors, np.float16, (count, None))
        _check("codes", self.codes, np.uint16, (None,))
        _check("xyxy", self.xyxy, np.float32, (count, 4))
        _check("share", self.share, np.float32, (count,))
        if count and self.codes.max() >= self.num_codes:
            raise ValueError(f"codes must be below {self.num_codes}, got {self.codes.max()}")

    def with_boxes(self, xyxy: NDArray[np.float32]) -> Tokens:
        return replace(self, xyxy=xyxy)


@dataclass(frozen=True)
class Embeddings:
    """Vectors beside the frame's own, each of L2 norm 1; None is what nobody asked for."""

    pyramid: NDArray[np.float16] | None = None  # [L, E] of each level, fine to coarse
    objects: NDArray[np.float16] | None = None  # [N, E] row by row the frame's detections
    clip: NDArray[np.float16] | None = None  # [E] of this and the last frames
    clip_ns: tuple[int, int] | None = None  # the clip is [t0, t1) of the media's clock, ns

    def __post_init__(self) -> None:
        for name, shape in (("pyramid", 2), ("objects", 2), ("clip", 1)):
            if getattr(self, name) is not None:
                _check(name, getattr(self, name), np.float16, (None,) * shape)
        if (self.clip is None) != (self.clip_ns is None):
            raise ValueError(f"a clip has a vector and its times, got {self.clip_ns = }")
        if self.clip_ns is not None and self.clip_ns[0] >= self.clip_ns[1]:
            raise ValueError(f"a clip ends after it begins, got {self.clip_ns = }")


@dataclass(frozen=True)
class TileCounts:
    """How a frame's tiles were served."""

    total: int
    encoded: int
    moved: int = 0
    stale: int = 0  # tiles that break the staleness invariant, counted instead of hidden
    max_age: int = 0  # frames


@dataclass(frozen=True)
class Ledger:
    """Where every frame of a source went: sum(lost) + in_flight + published = source_frames."""

    source_frames: int
    published: int
    in_flight: int
    lost: Mapping[str, int]  # keys LOSS_STAGES

    def __post_init__(self) -> None:
        if set(self.lost) != set(LOSS_STAGES):
            raise ValueError(f"lost must have the keys {LOSS_STAGES}, got {sorted(self.lost)}")
        counts = [*self.lost.values(), self.in_flight, self.published]
        if sum(counts) != self.source_frames or min(counts) < 0:
            raise ValueError(f"the ledger does not add up: {self}")


NO_FRAMES = Ledger(0, 0, 0, dict.fromkeys(LOSS_STAGES, 0))


@dataclass(frozen=True)
class ModelId:
    """Which weights made a result: an index built on another model must be rebuilt."""

    name: str
    weights_sha256: str  # hex; "" for a model without a weights file
    classes: tuple[str, ...] = CLASSES


@dataclass(frozen=True)
class FrameResult:
    """All that the pipeline knows about one frame of one camera."""

    camera: str
    epoch: str  # uuid4 hex of the publisher's start
    frame_index: int
    pts: int
    time_base: Fraction
    capture: CaptureTime
    stamps_ns: Mapping[str, int]  # monotonic, keys from STAGES
    source_size: tuple[int, int]  # (width, height) px: the space of detections.xyxy
    embedding: NDArray[np.float32]  # [D], L2 norm 1
    detections: Detections
    tiles: TileCounts
    packet_kind: PacketKind
    model: ModelId
    ledger: Ledger
    is_discont: bool = False
    is_corrupt: bool = False
    tokens: Tokens | None = None  # None unless somebody asked for them
    more: Embeddings = field(default_factory=Embeddings)

    def __post_init__(self) -> None:
        _check("embedding", self.embedding, np.float32, (None,))
