"""Wire protocol v1: messages <-> bytes. No other file knows them.

Public messages (subscribers):   [topic][msgpack header][array]...
The service (snapshot, reading): [msgpack header][message as one value]...
The tile stream (front -> back): [msgpack header][array]...

A header names its arrays in `parts: [{name, dtype, shape, enc}]`; they follow as raw
little-endian bytes. Unknown header keys are ignored and keys are only ever added; another
major version is a VersionError. Whatever the bytes are, reading them raises nothing but
WireError. docs/wire.md is the contract for users of other languages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from time import monotonic_ns
from typing import Any, ClassVar, Self, TypeAlias, get_args
from uuid import getnode, uuid4

import msgpack
import numpy as np
from numpy.typing import NDArray

from streamvis.errors import VersionError, WireError
from streamvis.types import (
    AccessUnit,
    CameraInfo,
    CaptureSource,
    CaptureTime,
    Detections,
    Embeddings,
    Feedback,
    FrameResult,
    Intrinsics,
    Ledger,
    LetterBox,
    ModelId,
    PacketKind,
    SourceCounts,
    TileCounts,
    TilePacket,
    TilePlan,
    Tokens,
)

VERSION = (1, 3)  # major, minor
KINDS = ("det", "emb", "sem", "img", "vid", "plan", "stat", "sync", "info", "hb")
ALL_CAMERAS = "*"  # in the topic of messages about all cameras; no camera can be named so

Part: TypeAlias = bytes | memoryview
Parts: TypeAlias = Sequence[Part]
Header: TypeAlias = dict[str, Any]
Arrays: TypeAlias = Mapping[str, NDArray[Any]]

# Limits: what lies outside is refused before anything is allocated for it.
MAX_PARTS = 16
MAX_TOPIC_BYTES = 512
MAX_HEADER_BYTES = 1 << 16
MAX_SHARED_HEADER_BYTES = 1 << 20  # of messages about all cameras: there may be 256 of them
MAX_CONFIG_BYTES = 1 << 19  # of a resolved pipeline file: an `info` message has more to tell
MAX_PART_BYTES = 1 << 26
MAX_DIMS = 4
MAX_ITEMS = 4096  # of one list or map in a header, and messages in one answer of the service
MAX_DEPTH = 16  # of lists and maps in a header
MAX_PREFIXES = 64  # in one request to the service

_DTYPES = frozenset({"<f2", "<f4", "|u1", "<u2", "<i2", "<i4", "<i8"})
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_TOPIC = re.compile(r"sv(\d{1,4})/([a-z]{1,16})/([A-Za-z0-9_.-]{1,128})/([A-Za-z0-9_.*-]{1,128})/")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


# ---------------------------------------------------------------- names, topics, identity


def check_name(name: str) -> str:
    """A camera's or pipeline's name as it is, or ValueError: it becomes part of a topic."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} cannot be a name: use up to 128 letters, digits and the signs _ . -"
        )
    return name


def topic_prefix(kind: str, pipeline: str | None = None, camera: str | None = None) -> str:
    """What to subscribe to. The trailing / keeps cam1 from matching cam10."""
    if pipeline is None:
        return f"sv{VERSION[0]}/{kind}/"
    if camera is None:
        return f"sv{VERSION[0]}/{kind}/{pipeline}/"
    return f"sv{VERSION[0]}/{kind}/{pipeline}/{camera}/"


# What a client that only wants to know where the service is subscribes to. Shorter than the prefix
# of the heartbeats, so that nobody takes it for a subscriber.
DISCOVERY = f"sv{VERSION[0]}/hb"


def split_topic(topic: str) -> tuple[str, str, str]:
    """(kind, pipeline, camera); the kind may be one that this version does not know."""
    match = _TOPIC.fullmatch(topic)
    if match is None:
        raise WireError(f"{topic!r} is not a topic")
    if int(match[1]) != VERSION[0]:
        raise VersionError(f"{topic} is of wire version {match[1]}, this is version {VERSION[0]}")
    return match[2], match[3], match[4]


@cache
def local_clock_id() -> str:
    """Names this host's monotonic clock: stamps of two messages compare only if it is equal."""
    if _BOOT_ID.exists():
        return _BOOT_ID.read_text().strip()
    return f"node-{getnode():012x}"


@dataclass(frozen=True)
class Origin:
    """Who publishes: gaps are counted within one epoch, ages within one clock."""

    pipeline: str
    epoch: str  # uuid4 hex of this publisher's start
    clock_id: str  # names the monotonic clock of the host

    @staticmethod
    def here(pipeline: str, epoch: str | None = None) -> Origin:
        return Origin(check_name(pipeline), epoch or uuid4().hex, local_clock_id())


# ---------------------------------------------------------------- public messages


@dataclass(frozen=True, kw_only=True)
class Message:
    """What every public message has. `seq` counts from 0 within (epoch, topic)."""

    kind: ClassVar[str]
    origin: Origin
    camera: str
    seq: int

    @property
    def pipeline(self) -> str:
        return self.origin.pipeline

    @property
    def epoch(self) -> str:
        return self.origin.epoch

    @property
    def clock_id(self) -> str:
        return self.origin.clock_id

    @property
    def topic(self) -> str:
        return topic_prefix(self.kind, self.pipeline, self.camera)

    def _write(self) -> tuple[Header, Arrays]:
        raise NotImplementedError

    @classmethod
    def _read(cls, header: _Reader, arrays: Arrays) -> Self:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class FrameMessage(Message):
    """What `det`, `emb` and `sem` share: which frame it is, what happened to it on its way."""

    frame_index: int
    pts: int
    time_base: Fraction  # seconds
    capture: CaptureTime
    stamps_ns: Mapping[str, int]  # monotonic, keys from STAGES
    source_size: tuple[int, int]  # (width, height) px
    model: ModelId
    tiles: TileCounts
    packet_kind: PacketKind
    ledger: Ledger
    is_discont: bool
    is_corrupt: bool

    def age_ms(self, now_ns: int | None = None) -> float | None:
        """Since ingest; None if another host stamped it. `now_ns` is monotonic."""
        if self.clock_id != local_clock_id():
            return None
        now_ns = monotonic_ns() if now_ns is None else now_ns
        return (now_ns - self.stamps_ns["ingest"]) / 1e6


@dataclass(frozen=True, kw_only=True)
class DetMessage(FrameMessage):
    kind = "det"
    detections: Detections  # xyxy in source pixels, class_id indexes model.classes

    @classmethod
    def of(cls, result: FrameResult, origin: Origin, seq: int) -> DetMessage:
        shared = _shared_fields(result)
        return cls(origin=origin, seq=seq, detections=result.detections, **shared)

    def _write(self) -> tuple[Header, Arrays]:
        found = self.detections
        return _write_frame(self), {
            "xyxy": found.xyxy,
            "score": found.score,
            "class_id": found.class_id,
            "track_id": found.track_id,
        }

    @classmethod
    def _read(cls, header: _Reader, arrays: Arrays) -> DetMessage:
        columns = (_array(arrays, name) for name in ("xyxy", "score", "class_id", "track_id"))
        return cls(detections=Detections(*columns), **_read_frame(header))


@dataclass(frozen=True, kw_only=True)
class EmbMessage(FrameMessage):
    kind = "emb"
    embedding: NDArray[np.floating[Any]]  # [dim] float16 or float32
    is_l2: bool  # its L2 norm is 1, and that of all others
    scope: str  # "frame": one vector for the whole frame
    more: Embeddings = field(default_factory=Embeddings)  # of other scopes, since 1.2

    @classmethod
    def of(cls, result: FrameResult, origin: Origin, seq: int) -> EmbMessage:
        return cls(
            origin=origin,
            seq=seq,
            embedding=result.embedding.astype(np.float16),
            is_l2=True,
            scope="frame",
            more=result.more,
            **_shared_fields(result),
        )

    def _write(self) -> tuple[Header, Arrays]:
        more = {name: array for name, array in self._more_arrays().items() if array is not None}
        header = {**_write_frame(self), "embedding": self._about(self.embedding, self.scope)}
        if more:
            header["more"] = [self._about(array, scope) for scope, array in more.items()]
        return header, {"embedding": self.embedding, **more}

    def _more_arrays(self) -> Mapping[str, NDArray[np.float16] | None]:
        """By scope."""
        return {
            "pyramid": self.more.pyramid,
            "object": self.more.objects,
            "clip": self.more.clip,
        }

    def _about(self, array: NDArray[Any], scope: str) -> Header:
        span = {"t_ns": list(self.more.clip_ns)} if scope == "clip" and self.more.clip_ns else {}
        dim, dtype = array.shape[-1], array.dtype.name
        return {"dim": dim, "dtype": dtype, "l2": self.is_l2, "scope": scope, **span}

    @classmethod
    def _read(cls, header: _Reader, arrays: Arrays) -> EmbMessage:
        about = header.reader("embedding")
        vector = _announced(about, arrays, "embedding")
        if vector.ndim != 1:
            raise WireError(f"embedding is {list(vector.shape)}, not one vector")
        return cls(
            embedding=vector,
            is_l2=about.flag("l2"),
            scope=about.text("scope"),
            more=_read_more(header, arrays),
            **_read_frame(header),
        )


def _announced(about: _Reader, arrays: Arrays, name: str) -> NDArray[Any]:
    """The array, which is of the announced size and type."""
    array = _array(arrays, name)
    if array.shape[-1:] != (about.integer("dim"),) or array.dtype.name != about.text("dtype"):
        raise WireError(f"{name} is {array.dtype}{list(array.shape)}, not as announced")
    return array


def _read_more(header: _Reader, arrays: Arrays) -> Embeddings:
    """Scopes that this version does not know are passed over."""
    abouts = [_Reader(item) for item in header.items("more")] if "more" in header else []
    by_scope = {about.text("scope"): about for about in abouts}
    known = {
        scope: _announced(by_scope[scope], arrays, scope)
        for scope in ("pyramid", "object", "clip")
        if scope in by_scope
    }
    clip_ns = None
    if "clip" in by_scope:
        t0_ns, t1_ns = by_scope["clip"].integers("t_ns", length=2)
        clip_ns = t0_ns, t1_ns
    return Embeddings(known.get("pyramid"), known.get("object"), known.get("clip"), clip_ns)


@dataclass(frozen=True, kw_only=True)
class SemMessage(FrameMessage):
    """A frame in a few semantic tokens. Opt-in."""

    kind = "sem"
    tokens: Tokens  # xyxy in source pixels; codes of one model mean nothing to another

    @classmethod
    def of(cls, result: FrameResult, origin: Origin, seq: int) -> SemMessage:
        assert result.tokens is not None, "nobody asked the back for tokens"
        return cls(origin=origin, seq=seq, tokens=result.tokens, **_shared_fields(result))

    def _write(self) -> tuple[Header, Arrays]:
        tokens = self.tokens
        return {**_write_frame(self), "num_codes": tokens.num_codes}, {
            "vectors": tokens.vectors,
            "codes": tokens.codes,
            "xyxy": tokens.xyxy,
            "share": tokens.share,
        }

    @classmethod
    def _read(cls, header: _Reader, arrays: Arrays) -> SemMessage:
        tokens = Tokens(
            vectors=_array(arrays, "vectors"),
            codes=_array(arrays, "codes"),
            xyxy=_array(arrays, "xyxy"),
            share=_array(arrays, "share"),
            num_codes=header.integer("num_codes", at_least=1),
        )
        return cls(tokens=tokens, **_read_frame(header))


@dataclass(frozen=True, kw_only=True)
class ImgMessage(Message):
    """The encoder's input picture for viewers and mosaics: letter-boxed at the top left."""

    kind = "img"
    frame_index: int
    jpeg: bytes

    def _write(self) -> tuple[Header, Arrays]:
        return {"frame_index": self.frame_index}, {"jpeg": np.frombuffer(self.jpeg, np.uint8)}

    @classmethod
    def _read(cls, header: _Reader, arrays: Arrays) -> ImgMessage:
        jpeg = _array(arrays, "jpeg").tobytes()
        return cls(frame_index=header.integer("frame_index"), jpeg=jpeg, **_identity(header))


@dataclass(frozen=True, kw_only=True)
class VidMessage(Message):
    """One access unit of a camera's own bitstream, not re-encoded. Opt-in."""

    kind = "vid"
    unit: AccessUnit

    def _write(self) -> tuple[Header, Arrays]:
        unit = self.unit
        arrays = {
            "data": np.frombuffer(unit.data, np.uint8),
            "extradata": np.frombuffer(unit.extradata, np.uint8),
        }
        return {
            "index": unit.index,
            "codec": unit.codec,
            "key": unit.is_key,
            "reordered": unit.is_reordered,
            "pts": unit.pts,
            "dts": unit.dts,
            "time_base": _write_fraction(unit.time_base),
            "size": list(unit.size),
            "capture": dict(vars(unit.capture)),
            "discont": unit.is_discont,
            "discard": unit.is_discard,
        }, arrays

    @classmethod
    def _read(cls, header: _Reader, arrays: Arrays) -> VidMessage:
        width, height = header.integers("size", length=2, at_least=1)
        unit = AccessUnit(
            index=header.integer("index", at_least=0),
            codec=header.text("codec"),
            data=_array(arrays, "data").tobytes(),
            extradata=_array(arrays, "extradata").tobytes(),
            is_key=header.flag("key"),
            is_reordered=header.flag("reordered"),
            pts=header.integer_or_none("pts"),
            dts=header.integer_or_none("dts"),
            time_base=_read_fraction(header, "time_base"),
            size=(width, height),
            capture=_read_capture(header.reader("capture")),
            is_discont="discont" in header and header.flag("discont"),
            is_discard="discard" in header and header.flag("discard"),
        )
        return cls(unit=unit, **_identity(header))


@dataclass(frozen=True, kw_only=True)
class PlanMessage(Message):
    """Which tiles of a frame were encoded, and in which of the worker's batches. Opt-in.

    A frame of the source without a plan was lost before the gate: `counts` says where.
    """

    kind = "plan"
    frame_index: int
    batch: int  # the worker's batches count from 0; frames of one batch are encoded together
    packet_seq: int
    base_seq: int  # -1 for an I packet
    plan: TilePlan
    pts: int
    time_base: Fraction  # seconds
    capture: CaptureTime
    counts: SourceCounts

    @classmethod
    def of(cls, packet: TilePacket, batch: int, origin: Origin, seq: int) -> PlanMessage:
        return cls(
            origin=origin,
            camera=packet.camera,
            seq=seq,
            frame_index=packet.frame_index,
            batch=batch,
            packet_seq=packet.seq,
            base_seq=packet.base_seq,
            plan=packet.plan,
            pts=packet.pts,
            time_base=packet.time_base,
            capture=packet.capture,
            counts=packet.counts,
        )

    def _write(self) -> tuple[Header, Arrays]:
        header, arrays = _write_plan(self.plan)
        return {
            "frame_index": self.frame_index,
            "batch": self.batch,
            "packet_seq": self.packet_seq,
            "base_seq": self.base_seq,
            **header,
            "pts": self.pts,
            "time_base": _write_fraction(self.time_base),
            "capture": dict(vars(self.capture)),
            "counts": dict(vars(self.counts)),
        }, arrays

    @classmethod
    def _read(cls, header: _Reader, arrays: Arrays) -> PlanMessage:
        return cls(
            frame_index=header.integer("frame_index", at_least=0),
            batch=header.integer("batch", at_least=0),
            packet_seq=header.integer("packet_seq", at_least=0),
            base_seq=header.integer("base_seq", at_least=-1),
            plan=_read_plan(header, arrays),
            pts=header.integer("pts"),
            time_base=_read_fraction(header, "time_base"),
            capture=_read_capture(header.reader("capture")),
            counts=_read_counts(header.reader("counts")),
            **_identity(header),
        )


@dataclass(frozen=True, kw_only=True)
class StatMessage(Message):
    """How one camera is doing. Latencies are ingest to last stage; None before any result."""

    kind = "stat"
    state: str
    fps: float  # published results a second, lately
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    age_ms: float | None  # of the newest result when this was sent
    stage_ms: Mapping[str, float]  # time until each stage since the stage before it, median
    num_detections: int  # in the newest result
    ledger: Ledger
    error: str = ""  # what is wrong with the camera, one sentence, since 1.3

    def _write(self) -> tuple[Header, Arrays]:
        return {
            "state": self.state,
            **_write_error(self.error),
            "fps": self.fps,
            "latency_p50_ms": self.latency_p50_ms,
            "latency_p99_ms": self.latency_p99_ms,
            "age_ms": self.age_ms,
            "stage_ms": dict(self.stage_ms),
            "num_detections": self.num_detections,
            "ledger": _write_ledger(self.ledger),
        }, {}

    @classmethod
    def _read(cls, header: _Reader, arrays: Arrays) -> StatMessage:
        del arrays
        stage_ms = header.reader("stage_ms")
        return cls(
            state=header.text("state"),
            fps=header.number("fps"),
            latency_p50_ms=header.number_or_none("latency_p50_ms"),
            latency_p99_ms=header.number_or_none("latency_p99_ms"),
            age_ms=header.number_or_none("age_ms"),
            stage_ms={name: stage_ms.number(name) for name in stage_ms},
            num_detections=header.integer("num_detections"),
            ledger=_read_ledger(header.reader("ledger")),
            error=_read_error(header),
            **_identity(header),
        )


@dataclass(frozen=True)
class SyncMember:
    """One camera's result in a `sync` message."""

    epoch: str  # of the result's publisher
    frame_index: int
    t_capture_ns: int  # Unix epoch


@dataclass(frozen=True, kw_only=True)
class SyncMessage(Message):
    """Results of several cameras that show the same moment, at most one a camera."""

    kind = "sync"
    members: Mapping[str, SyncMember]  # by camera
    skew_ns: int  # latest minus earliest capture time
    is_complete: bool  # every camera of the pipeline is in it

    def _write(self) -> tuple[Header, Arrays]:
        members = {camera: dict(vars(member)) for camera, member in self.members.items()}
        return {"members": members, "skew_ns": self.skew_ns, "complete": self.is_complete}, {}

    @classmethod
    def _read(cls, header: _Reader, arrays: Arrays) -> SyncMessage:
        del arrays
        members = header.reader("members")
        return cls(
            members={camera: _read_member(members.reader(camera)) for camera in members},
            skew_ns=header.integer("skew_ns"),
            is_complete=header.flag("complete"),
            **_identity(header),
        )


@dataclass(frozen=True, kw_only=True)
class InfoMessage(Message):
    """What the pipeline is: enough to run it again. Repeated, so that nobody joins too late."""

    kind = "info"
    config: str  # the resolved pipeline file, JSON
    model: ModelId | None  # None before the first result
    cameras: Mapping[str, CameraInfo]  # those that are open

    def _write(self) -> tuple[Header, Arrays]:
        return {
            "config": self.config,
            "model": _write_model(self.model) if self.model else None,
            "cameras": {name: _write_camera(camera) for name, camera in self.cameras.items()},
        }, {}

    @classmethod
    def _read(cls, header: _Reader, arrays: Arrays) -> InfoMessage:
        del arrays
        cameras = header.reader("cameras")
        model = header.reader_or_none("model")
        return cls(
            config=header.text("config"),
            model=_read_model(model) if model else None,
            cameras={name: _read_camera(cameras.reader(name)) for name in cameras},
            **_identity(header),
        )


@dataclass(frozen=True)
class LastSeq:
    epoch: str
    seq: int


@dataclass(frozen=True)
class CameraState:
    state: str
    rate_hz: float | None  # results a second to expect; None if not known
    error: str = ""  # what is wrong, one sentence, since 1.3


@dataclass(frozen=True, kw_only=True)
class Heartbeat(Message):
    """Once a second: what a subscriber should have got by now, and what to expect."""

    kind = "hb"
    last_seq: Mapping[str, LastSeq]  # by topic: finds messages lost at the tail
    cameras: Mapping[str, CameraState]
    config_hash: str
    is_stopped: bool  # the pipeline ended on purpose: nothing follows
    service: str | None = None  # where snapshots and lossless reading are served, since 1.3
    sent_ns: int | None = None  # monotonic: what other hosts tell this one's clock by, since 1.3

    def _write(self) -> tuple[Header, Arrays]:
        return {
            "last_seq": {topic: dict(vars(last)) for topic, last in self.last_seq.items()},
            "cameras": {
                name: {"state": c.state, "rate_hz": c.rate_hz, **_write_error(c.error)}
                for name, c in self.cameras.items()
            },
            "config_hash": self.config_hash,
            "stopped": self.is_stopped,
            **({"service": self.service} if self.service else {}),
            **({} if self.sent_ns is None else {"sent_ns": self.sent_ns}),
        }, {}

    @classmethod
    def _read(cls, header: _Reader, arrays: Arrays) -> Heartbeat:
        del arrays
        topics, cameras = header.reader("last_seq"), header.reader("cameras")
        states = {name: cameras.reader(name) for name in cameras}
        return cls(
            last_seq={topic: _read_last_seq(topics.reader(topic)) for topic in topics},
            cameras={
                name: CameraState(c.text("state"), c.number_or_none("rate_hz"), _read_error(c))
                for name, c in states.items()
            },
            config_hash=header.text("config_hash"),
            is_stopped=header.flag("stopped"),
            service=header.text("service") if "service" in header else None,
            sent_ns=header.integer("sent_ns") if "sent_ns" in header else None,
            **_identity(header),
        )


def _write_error(error: str) -> Header:
    return {"error": error} if error else {}


def _read_error(header: _Reader) -> str:
    return header.text("error") if "error" in header else ""


AnyMessage: TypeAlias = (
    DetMessage
    | EmbMessage
    | SemMessage
    | ImgMessage
    | VidMessage
    | PlanMessage
    | StatMessage
    | SyncMessage
    | InfoMessage
    | Heartbeat
)
_MESSAGES: dict[str, type[AnyMessage]] = {cls.kind: cls for cls in get_args(AnyMessage)}


def encode(message: AnyMessage) -> list[Part]:
    """[topic, header, arrays...]; arrays are views, so send before they change."""
    own, arrays = message._write()
    header = {
        "kind": message.kind,
        "pipeline": message.pipeline,
        "camera": message.camera,
        "epoch": message.epoch,
        "clock_id": message.clock_id,
        "seq": message.seq,
        **own,
    }
    return [message.topic.encode(), *_pack(header, arrays)]


def decode(parts: Parts) -> AnyMessage:
    """The typed message; its arrays are read-only views of the parts."""
    with _only_wire_errors():
        seen = peek(parts)
        arrays = _unpack_arrays(seen.header, parts[2:])
        return _MESSAGES[seen.kind]._read(_Reader(seen.header), arrays)


@dataclass(frozen=True)
class Observed:
    """A public message of which only the header was read: what observers of a stream need."""

    topic: str
    kind: str
    pipeline: str
    camera: str
    epoch: str
    seq: int
    header: Header

    @property
    def frame_index(self) -> int:
        return _Reader(self.header).integer("frame_index")

    @property
    def cameras(self) -> list[str]:
        """Of a heartbeat."""
        return list(_Reader(self.header).reader("cameras"))

    @property
    def capture(self) -> CaptureTime:
        with _only_wire_errors():
            return _read_capture(_Reader(self.header).reader("capture"))

    @property
    def stamps_ns(self) -> Mapping[str, int]:
        return _read_stamps(_Reader(self.header))

    @property
    def ledger(self) -> Ledger:
        with _only_wire_errors():
            return _read_ledger(_Reader(self.header).reader("ledger"))

    @property
    def model(self) -> ModelId:
        """Of a `det`, `emb` or `sem` message."""
        with _only_wire_errors():
            return _read_model(_Reader(self.header).reader("model"))

    @property
    def num_detections(self) -> int:
        """Rows of a `det` message's columns."""
        with _only_wire_errors():
            return next(spec.shape[0] for spec in _read_specs(self.header) if spec.name == "score")


def peek(parts: Parts) -> Observed:
    """Topic and header, checked against each other; the arrays are not touched."""
    with _only_wire_errors():
        if not 2 <= len(parts) <= MAX_PARTS:
            raise WireError(f"a message has 2 to {MAX_PARTS} parts, got {len(parts)}")
        topic = _read_text(parts[0])
        kind, pipeline, camera = split_topic(topic)
        if kind not in _MESSAGES:
            raise WireError(f"{kind} is not a kind of message: {', '.join(KINDS)}")
        is_shared = camera == ALL_CAMERAS
        raw = _unpack_header(parts[1], MAX_SHARED_HEADER_BYTES if is_shared else MAX_HEADER_BYTES)
        header = _Reader(raw)
        identity = (header.text("kind"), header.text("pipeline"), header.text("camera"))
        if identity != (kind, pipeline, camera):
            raise WireError(f"topic {topic} carries a header of {identity}")
        epoch, seq = header.text("epoch"), header.integer("seq", at_least=0)
        return Observed(topic, kind, pipeline, camera, epoch, seq, raw)


def canonical(parts: Parts) -> bytes:
    """The message without what differs between two replays: epochs, clocks, time stamps."""
    with _only_wire_errors():
        seen = peek(parts)
        header = {k: v for k, v in seen.header.items() if k not in _VOLATILE}
        capture = header.get("capture")
        if isinstance(capture, dict) and capture.get("source") == "arrival":
            header["capture"] = {"source": "arrival"}
        if seen.kind == "sync":
            members = _Reader(header).reader("members")
            header["members"] = {name: vars(_read_member(members.reader(name))) for name in members}
            for member in header["members"].values():
                del member["epoch"]
        ordered = dict(sorted(header.items()))
        return join([bytes(parts[0]), _packb(ordered), *parts[2:]])


_VOLATILE = frozenset({"epoch", "clock_id", "stamps_ns", "sent_ns"})


def join(parts: Parts) -> bytes:
    """A message as one value, for files: a msgpack array of the unchanged parts."""
    return _packb([bytes(part) for part in parts])


def split(data: Part) -> list[bytes]:
    """Undo `join`."""
    with _only_wire_errors():
        parts = msgpack.unpackb(
            data,
            max_array_len=MAX_PARTS,
            max_bin_len=MAX_PART_BYTES,
            max_str_len=0,
            max_map_len=0,
            max_ext_len=0,
        )
        if not isinstance(parts, list) or not all(isinstance(part, bytes) for part in parts):
            raise WireError("expected an array of byte strings")
        return parts


# ---------------------------------------------------------------- the service


@dataclass(frozen=True)
class SnapshotRequest:
    """What was published last in each topic that begins with one of the prefixes?"""

    request: int  # comes back in the answer
    prefixes: tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """The last message of each topic, as it was at the moment of the heartbeat `barrier`: all that
    a subscriber gets before that heartbeat is contained, nothing that it gets after it."""

    request: int
    barrier: LastSeq  # of the heartbeats' topic
    messages: Sequence[Parts]


@dataclass(frozen=True)
class ReadRequest:
    """Send me what follows `after`, up to `credit` messages that I have not acknowledged.

    Repeated whenever messages were handled, with their position in `after`: everything in it is
    absolute, so that a lost request or a repeated one does no harm.
    """

    session: int  # another number: forget what you sent, begin again behind `after`
    prefixes: tuple[str, ...]
    store: str  # names the numbering of `after`; "": from now on
    after: int  # a position in the store; -1: from the oldest message that is kept
    credit: int


@dataclass(frozen=True)
class LeaveRequest:
    """I have read everything that I want."""

    session: int


@dataclass(frozen=True)
class Batch:
    """Messages in the order they were published; none in a mere sign of life."""

    session: int
    store: str
    end: int  # all that the reader wants up to this position was sent
    num_skipped: int  # positions before these messages that the store had to forget unread
    positions: tuple[int, ...]  # one a message, ascending
    messages: Sequence[Parts]


@dataclass(frozen=True)
class SchemasRequest:
    """The JSON Schemas of the headers?"""

    request: int


@dataclass(frozen=True)
class Schemas:
    request: int
    by_kind: Mapping[str, str]  # JSON


@dataclass(frozen=True)
class Refusal:
    """The service cannot do that."""

    why: str


Request: TypeAlias = SnapshotRequest | ReadRequest | LeaveRequest | SchemasRequest
Answer: TypeAlias = Snapshot | Batch | Schemas | Refusal
_REQUESTS: dict[str, type[Request]] = {
    "snapshot": SnapshotRequest,
    "read": ReadRequest,
    "leave": LeaveRequest,
    "schemas": SchemasRequest,
}


def encode_request(request: Request) -> list[Part]:
    kind = next(kind for kind, cls in _REQUESTS.items() if type(request) is cls)
    return _pack({"kind": kind, **vars(request)}, {})


def decode_request(parts: Parts) -> Request:
    with _only_wire_errors():
        if len(parts) != 1:
            raise WireError(f"a request has 1 part, got {len(parts)}")
        header = _Reader(_unpack_header(parts[0]))
        match header.text("kind"):
            case "snapshot":
                return SnapshotRequest(header.integer("request"), _read_prefixes(header))
            case "read":
                return ReadRequest(
                    session=header.integer("session"),
                    prefixes=_read_prefixes(header),
                    store=header.text("store"),
                    after=header.integer("after", at_least=-1),
                    credit=header.integer("credit", at_least=0),
                )
            case "leave":
                return LeaveRequest(header.integer("session"))
            case "schemas":
                return SchemasRequest(header.integer("request"))
            case other:
                raise WireError(f"{other!r} is not a request to this service")


def _read_prefixes(header: _Reader) -> tuple[str, ...]:
    prefixes = header.texts("prefixes")
    if len(prefixes) > MAX_PREFIXES:
        raise WireError(f"a request has up to {MAX_PREFIXES} prefixes, got {len(prefixes)}")
    return tuple(prefixes)


def encode_snapshot(request: int, barrier: LastSeq, joined: Sequence[Part]) -> list[Part]:
    """The messages are given as `join` makes them."""
    header = {"kind": "snapshot", "request": request, "barrier": dict(vars(barrier))}
    return [*_pack(header, {}), *joined]


def encode_batch(
    session: int,
    store: str,
    end: int,
    num_skipped: int,
    joined: Mapping[int, Part],
) -> list[Part]:
    """The messages by their position, as `join` makes them."""
    header = {
        "kind": "batch",
        "session": session,
        "store": store,
        "end": end,
        "num_skipped": num_skipped,
        "positions": list(joined),
    }
    return [*_pack(header, {}), *joined.values()]


def encode_schemas(request: int, by_kind: Mapping[str, str]) -> list[Part]:
    header = {"kind": "schemas", "request": request, "kinds": list(by_kind)}
    return [*_pack(header, {}), *(text.encode() for text in by_kind.values())]


def encode_refusal(why: str) -> list[Part]:
    return _pack({"kind": "refusal", "why": why}, {})


def decode_answer(parts: Parts) -> Answer:
    """The messages in it are only split: `peek` and `decode` read them."""
    with _only_wire_errors():
        if not 1 <= len(parts) <= MAX_ITEMS + 1:
            raise WireError(f"an answer has 1 to {MAX_ITEMS + 1} parts, got {len(parts)}")
        header = _Reader(_unpack_header(parts[0]))
        match header.text("kind"):
            case "snapshot":
                barrier = _read_last_seq(header.reader("barrier"))
                return Snapshot(header.integer("request"), barrier, [*map(split, parts[1:])])
            case "batch":
                return _read_batch(header, parts[1:])
            case "schemas":
                texts = [bytes(part).decode() for part in parts[1:]]
                by_kind = dict(zip(header.texts("kinds"), texts, strict=True))
                return Schemas(header.integer("request"), by_kind)
            case "refusal":
                return Refusal(header.text("why"))
            case other:
                raise WireError(f"{other!r} is not an answer of this service")


def _read_batch(header: _Reader, joined: Parts) -> Batch:
    positions = header.integers("positions", length=len(joined), at_least=0)
    end = header.integer("end", at_least=-1)
    if any(a >= b for a, b in pairwise([*positions, end + 1])):
        raise WireError(f"positions must ascend up to the end {end}")
    return Batch(
        session=header.integer("session"),
        store=header.text("store"),
        end=end,
        num_skipped=header.integer("num_skipped", at_least=0),
        positions=tuple(positions),
        messages=[*map(split, joined)],
    )


# ---------------------------------------------------------------- the tile stream


@dataclass(frozen=True)
class End:
    """A front's last message: its source is over, and these were all its frames."""

    camera: str
    counts: SourceCounts


FromFront: TypeAlias = TilePacket | End


def encode_packet(packet: TilePacket) -> list[Part]:
    """[header, arrays...]; the tiles are a view of the packet's own memory, not a copy."""
    about_plan, arrays = _write_plan(packet.plan)
    header = {
        "kind": "packet",
        "camera": packet.camera,
        "seq": packet.seq,
        "base_seq": packet.base_seq,
        "frame_index": packet.frame_index,
        **about_plan,
        "letterbox": _write_letterbox(packet.letterbox),
        "pts": packet.pts,
        "time_base": _write_fraction(packet.time_base),
        "capture": dict(vars(packet.capture)),
        "stamps_ns": dict(packet.stamps_ns),
        "counts": dict(vars(packet.counts)),
        "lost_infer": packet.lost_infer,
        "discont": packet.is_discont,
        "corrupt": packet.is_corrupt,
    }
    return _pack(header, {**arrays, "tiles": packet.tiles})


def decode_from_front(parts: Parts) -> FromFront:
    """Whatever a front sends: TilePackets, then End once. Arrays are read-only views."""
    with _only_wire_errors():
        raw, arrays = _unpack(parts)
        header = _Reader(raw)
        match header.text("kind"):
            case "packet":
                return _read_packet(header, arrays)
            case "end":
                return End(header.text("camera"), _read_counts(header.reader("counts")))
            case other:
                raise WireError(f"{other!r} is not a message of a front")


def encode_end(end: End) -> list[Part]:
    return _pack({"kind": "end", "camera": end.camera, "counts": dict(vars(end.counts))}, {})


def encode_feedback(feedback: Feedback) -> list[Part]:
    header = {
        "kind": "feedback",
        "acked_seq": feedback.acked_seq,
        "credit": feedback.credit,
        "need_i": feedback.need_i,
        "canary_error": float(feedback.canary_error),
        "service_ns": feedback.service_ns,
    }
    return _pack(header, {"boxes": feedback.boxes})


def decode_feedback(parts: Parts) -> Feedback:
    with _only_wire_errors():
        raw, arrays = _unpack(parts)
        header = _Reader(raw)
        if header.text("kind") != "feedback":
            raise WireError(f"expected feedback, got {header.text('kind')!r}")
        return Feedback(
            acked_seq=header.integer("acked_seq"),
            credit=header.integer("credit", at_least=0),
            need_i=header.flag("need_i"),
            boxes=_array(arrays, "boxes"),
            canary_error=header.number("canary_error"),
            # Absent in 1.0.
            service_ns=header.integer("service_ns", at_least=0) if "service_ns" in header else 0,
        )


def _read_packet(header: _Reader, arrays: Arrays) -> TilePacket:
    return TilePacket(
        camera=header.text("camera"),
        seq=header.integer("seq", at_least=0),
        base_seq=header.integer("base_seq", at_least=-1),
        frame_index=header.integer("frame_index", at_least=0),
        plan=_read_plan(header, arrays),
        tiles=_array(arrays, "tiles"),
        letterbox=LetterBox(*header.integers("letterbox", length=4)),
        pts=header.integer("pts"),
        time_base=_read_fraction(header, "time_base"),
        capture=_read_capture(header.reader("capture")),
        stamps_ns=_read_stamps(header),
        counts=_read_counts(header.reader("counts")),
        # Absent in 1.2.
        lost_infer=header.integer("lost_infer", at_least=0) if "lost_infer" in header else 0,
        is_discont=header.flag("discont"),
        is_corrupt=header.flag("corrupt"),
    )


# ---------------------------------------------------------------- pieces that messages share


def _identity(header: _Reader) -> dict[str, Any]:
    origin = Origin(header.text("pipeline"), header.text("epoch"), header.text("clock_id"))
    return {
        "origin": origin,
        "camera": header.text("camera"),
        "seq": header.integer("seq", at_least=0),
    }


def _shared_fields(result: FrameResult) -> dict[str, Any]:
    return {name: getattr(result, name) for name in _SHARED}


_SHARED = ("camera", *FrameMessage.__annotations__)


def _write_frame(message: FrameMessage) -> Header:
    return {
        "frame_index": message.frame_index,
        "pts": message.pts,
        "time_base": _write_fraction(message.time_base),
        "capture": dict(vars(message.capture)),
        "stamps_ns": dict(message.stamps_ns),
        "source_size": list(message.source_size),
        "model": _write_model(message.model),
        "tiles": dict(vars(message.tiles)),
        "packet_kind": message.packet_kind,
        "ledger": _write_ledger(message.ledger),
        "discont": message.is_discont,
        "corrupt": message.is_corrupt,
    }


def _read_frame(header: _Reader) -> dict[str, Any]:
    tiles = header.reader("tiles")
    width, height = header.integers("source_size", length=2)
    counts = (tiles.integer(k) for k in ("total", "encoded", "moved", "stale", "max_age"))
    return {
        **_identity(header),
        "frame_index": header.integer("frame_index", at_least=0),
        "pts": header.integer("pts"),
        "time_base": _read_fraction(header, "time_base"),
        "capture": _read_capture(header.reader("capture")),
        "stamps_ns": _read_stamps(header),
        "source_size": (width, height),
        "model": _read_model(header.reader("model")),
        "tiles": TileCounts(*counts),
        "packet_kind": header.choice("packet_kind", PacketKind),
        "ledger": _read_ledger(header.reader("ledger")),
        "is_discont": header.flag("discont"),
        "is_corrupt": header.flag("corrupt"),
    }


def _write_model(model: ModelId) -> Header:
    return {
        "name": model.name,
        "weights_sha256": model.weights_sha256,
        "classes": list(model.classes),
    }


def _read_model(header: _Reader) -> ModelId:
    classes = tuple(header.texts("classes"))
    return ModelId(header.text("name"), header.text("weights_sha256"), classes)


def _write_camera(camera: CameraInfo) -> Header:
    intrinsics = dict(vars(camera.intrinsics)) if camera.intrinsics else None
    return {**vars(camera), "intrinsics": intrinsics}


def _read_camera(header: _Reader) -> CameraInfo:
    lens = header.reader_or_none("intrinsics")
    return CameraInfo(
        width=header.integer("width"),
        height=header.integer("height"),
        fps=header.number("fps"),
        codec=header.text("codec"),
        num_frames=header.integer_or_none("num_frames"),
        intrinsics=Intrinsics(*map(lens.number, ("fx", "fy", "cx", "cy"))) if lens else None,
    )


def _write_plan(plan: TilePlan) -> tuple[Header, Arrays]:
    arrays: Arrays = {
        "index": plan.index,
        "motion": plan.motion,
        "score": plan.score,
        "age": plan.age,
    }
    return {"grid": [plan.rows, plan.cols, plan.tile_px], "plan_kind": plan.kind}, arrays


def _read_plan(header: _Reader, arrays: Arrays) -> TilePlan:
    rows, cols, tile_px = header.integers("grid", length=3)
    kind = header.choice("plan_kind", PacketKind)
    columns = (_array(arrays, name) for name in ("index", "motion", "score", "age"))
    return TilePlan(rows, cols, tile_px, kind, *columns)


def _read_capture(header: _Reader) -> CaptureTime:
    return CaptureTime(
        header.integer("t_ns"),
        header.choice("source", CaptureSource),
        header.integer("uncertainty_ns"),
    )


def _read_stamps(header: _Reader) -> dict[str, int]:
    stamps = header.reader("stamps_ns")
    stamps.integer("ingest")  # every age and latency starts there
    return {stage: stamps.integer(stage) for stage in stamps}


def _write_ledger(ledger: Ledger) -> Header:
    return {
        "source_frames": ledger.source_frames,
        "published": ledger.published,
        "in_flight": ledger.in_flight,
        "lost": dict(ledger.lost),
    }


def _read_ledger(header: _Reader) -> Ledger:
    lost = header.reader("lost")
    return Ledger(
        header.integer("source_frames"),
        header.integer("published"),
        header.integer("in_flight"),
        {stage: lost.integer(stage) for stage in lost},
    )


def _read_member(header: _Reader) -> SyncMember:
    return SyncMember(
        header.text("epoch"), header.integer("frame_index"), header.integer("t_capture_ns")
    )


def _read_last_seq(header: _Reader) -> LastSeq:
    return LastSeq(header.text("epoch"), header.integer("seq", at_least=0))


def _read_counts(header: _Reader) -> SourceCounts:
    return SourceCounts(
        header.integer("frames"),
        header.integer("lost_source"),
        header.integer("lost_decode"),
        header.integer("lost_policy"),
    )


def _write_letterbox(box: LetterBox) -> list[int]:
    return [box.source_width, box.source_height, box.width, box.height]


def _write_fraction(value: Fraction) -> list[int]:
    return [value.numerator, value.denominator]


def _read_fraction(header: _Reader, key: str) -> Fraction:
    numerator, denominator = header.integers(key, length=2)
    if denominator < 1:
        raise WireError(f"{key} has the denominator {denominator}")
    return Fraction(numerator, denominator)


# ---------------------------------------------------------------- headers and arrays <-> parts


@dataclass(frozen=True)
class _PartSpec:
    name: str
    dtype: str
    shape: tuple[int, ...]
    enc: str  # "raw" or "jpeg"


def _pack(header: Header, arrays: Arrays) -> list[Part]:
    header = {"v": list(VERSION), **header}
    if arrays:
        header["parts"] = [_write_spec(name, array) for name, array in arrays.items()]
    return [_packb(header), *(_bytes_view(array) for array in arrays.values())]


def _write_spec(name: str, array: NDArray[Any]) -> Header:
    dtype = array.dtype.newbyteorder("<").str
    assert dtype in _DTYPES, f"{name}: {dtype} does not travel"
    enc = "jpeg" if name == "jpeg" else "raw"
    return {"name": name, "dtype": dtype, "shape": list(array.shape), "enc": enc}


def _bytes_view(array: NDArray[Any]) -> memoryview:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def _packb(value: Any) -> bytes:
    data: bytes = msgpack.packb(value)
    return data


def _unpack(parts: Parts) -> tuple[Header, Arrays]:
    if not 1 <= len(parts) <= MAX_PARTS:
        raise WireError(f"a message has 1 to {MAX_PARTS} parts, got {len(parts)}")
    header = _unpack_header(parts[0])
    return header, _unpack_arrays(header, parts[1:])


def _unpack_header(part: Part, max_bytes: int = MAX_HEADER_BYTES) -> Header:
    if len(part) > max_bytes:
        raise WireError(f"the header has {len(part)} bytes, more than {max_bytes}")
    header = msgpack.unpackb(
        part,
        max_str_len=max_bytes,
        max_bin_len=0,
        max_array_len=MAX_ITEMS,
        max_map_len=MAX_ITEMS,
        max_ext_len=0,
    )
    if not isinstance(header, dict):
        raise WireError(f"a header is a map, got {type(header).__name__}")
    _check_depth(header, MAX_DEPTH)
    major, _minor = _Reader(header).integers("v", length=2)
    if major != VERSION[0]:
        raise VersionError(
            f"the message is of wire version {major}, this is version {VERSION[0]}. "
            "Install the same major version of streamvis on both sides."
        )
    return header


def _check_depth(value: dict[Any, Any] | list[Any], levels: int) -> None:
    """msgpack itself allows 1024 levels: what recurses over a header later would not."""
    if levels == 0:
        raise WireError(f"the header is nested deeper than {MAX_DEPTH} levels")
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, (dict, list)):
            _check_depth(item, levels - 1)


def _unpack_arrays(header: Header, buffers: Parts) -> dict[str, NDArray[Any]]:
    specs = list(_read_specs(header))
    if len(specs) != len(buffers):
        raise WireError(f"the header names {len(specs)} arrays, {len(buffers)} came")
    pairs = zip(specs, buffers, strict=True)
    return {spec.name: _view_array(spec, buffer) for spec, buffer in pairs}


def _read_specs(header: Header) -> Iterator[_PartSpec]:
    for item in _Reader(header).items("parts") if "parts" in header else []:
        spec = _Reader(item)
        shape = spec.integers("shape", at_least=0)
        yield _PartSpec(spec.text("name"), spec.text("dtype"), tuple(shape), spec.text("enc"))


def _view_array(spec: _PartSpec, buffer: Part) -> NDArray[Any]:
    if spec.dtype not in _DTYPES or spec.enc not in ("raw", "jpeg"):
        raise WireError(f"{spec.name}: {spec.dtype} {spec.enc} does not travel")
    if len(spec.shape) > MAX_DIMS:
        raise WireError(f"{spec.name} has {len(spec.shape)} dimensions, more than {MAX_DIMS}")
    array = np.frombuffer(buffer, np.dtype(spec.dtype)).reshape(spec.shape)
    array.flags.writeable = False
    return array


def _array(arrays: Arrays, name: str) -> NDArray[Any]:
    if name not in arrays:
        raise WireError(f"the array {name} is missing")
    return arrays[name]


def _read_text(topic: Part) -> str:
    if len(topic) > MAX_TOPIC_BYTES:
        raise WireError(f"the topic has {len(topic)} bytes, more than {MAX_TOPIC_BYTES}")
    return bytes(topic).decode("ascii")


class _Reader:
    """Typed look-ups in a header: whatever is absent or of another type is a WireError."""

    def __init__(self, values: Any) -> None:
        if not isinstance(values, dict):
            raise WireError(f"expected a map, got {type(values).__name__}")
        self._values = values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def _get(self, key: str, *types: type) -> Any:
        if key not in self._values:
            raise WireError(f"the header lacks {key}")
        value = self._values[key]
        if type(value) not in types:  # exact: True is no integer here
            raise WireError(f"{key} cannot be of type {type(value).__name__}")
        return value

    def integer(self, key: str, at_least: int | None = None) -> int:
        value: int = self._get(key, int)
        if at_least is not None and value < at_least:
            raise WireError(f"{key} must be at least {at_least}, got {value}")
        return value

    def number(self, key: str) -> float:
        return float(self._get(key, float, int))

    def number_or_none(self, key: str) -> float | None:
        value = self._get(key, float, int, type(None))
        return None if value is None else float(value)

    def integer_or_none(self, key: str) -> int | None:
        value: int | None = self._get(key, int, type(None))
        return value

    def text(self, key: str) -> str:
        value: str = self._get(key, str)
        return value

    def choice(self, key: str, literal: Any) -> Any:
        """A text that is one of a Literal's values."""
        value = self.text(key)
        if value not in get_args(literal):
            raise WireError(f"{key} must be one of {get_args(literal)}, got {value!r}")
        return value

    def flag(self, key: str) -> bool:
        value: bool = self._get(key, bool)
        return value

    def items(self, key: str) -> list[Any]:
        value: list[Any] = self._get(key, list)
        return value

    def integers(
        self, key: str, length: int | None = None, at_least: int | None = None
    ) -> list[int]:
        values = self.items(key)
        if any(type(value) is not int for value in values):
            raise WireError(f"{key} must hold integers only")
        if length is not None and len(values) != length:
            raise WireError(f"{key} must have {length} values, got {len(values)}")
        if at_least is not None and any(value < at_least for value in values):
            raise WireError(f"{key} must hold values of at least {at_least}")
        return values

    def texts(self, key: str) -> list[str]:
        values = self.items(key)
        if not all(isinstance(value, str) for value in values):
            raise WireError(f"{key} must hold texts only")
        return values

    def reader(self, key: str) -> _Reader:
        return _Reader(self._get(key, dict))

    def reader_or_none(self, key: str) -> _Reader | None:
        value = self._get(key, dict, type(None))
        return None if value is None else _Reader(value)


_REFUSALS = (
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    StopIteration,
    msgpack.UnpackException,
)


@contextmanager
def _only_wire_errors() -> Iterator[None]:
    """What the checks of msgpack, numpy and the message types refuse, in one class of error."""
    try:
        yield
    except _REFUSALS as error:
        raise WireError(f"not a message of this protocol: {error}") from error
