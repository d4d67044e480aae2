"""Messages for the tests of wire, publish and client: fixed values, no clock."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from streamvis import wire
from streamvis.types import (
    LOSS_STAGES,
    STAGES,
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
    SourceCounts,
    TileCounts,
    TilePacket,
    TilePlan,
    Tokens,
)
from streamvis.wire import (
    ALL_CAMERAS,
    AnyMessage,
    CameraState,
    DetMessage,
    EmbMessage,
    Heartbeat,
    ImgMessage,
    InfoMessage,
    LastSeq,
    Origin,
    Part,
    PlanMessage,
    SemMessage,
    StatMessage,
    SyncMember,
    SyncMessage,
    VidMessage,
)

GOLDEN = Path(__file__).parent / "data/wire"
T0_NS = 1_700_000_000_000_000_000
FRAME_NS = 100_000_000
ORIGIN = Origin("av_4cam", "0123456789abcdef0123456789abcdef", "boot-1")


def make_ledger(published: int) -> Ledger:
    lost = dict.fromkeys(LOSS_STAGES, 0)
    return Ledger(source_frames=published, published=published, in_flight=0, lost=lost)


def make_result(
    index: int = 0,
    camera: str = "front",
    *,
    t_ingest_ns: int = 5_000_000_000,
    capture_source: CaptureSource = "device",
    t_capture_ns: int | None = None,
) -> FrameResult:
    t_ns = T0_NS + index * FRAME_NS if t_capture_ns is None else t_capture_ns
    return FrameResult(
        camera=camera,
        epoch="set by the publisher",
        frame_index=index,
        pts=index * 512,
        time_base=Fraction(1, 15360),
        capture=CaptureTime(t_ns, capture_source, 1000),
        stamps_ns={stage: t_ingest_ns + 1_000_000 * i for i, stage in enumerate(STAGES)},
        source_size=(1280, 720),
        embedding=np.full(64, 0.125, np.float32),
        detections=Detections(
            xyxy=np.array([[10, 20, 30, 40.5], [0, 0, 1280, 720]], np.float32),
            score=np.array([0.75, 0.5], np.float32),
            class_id=np.array([2, 0], np.int32),
            track_id=np.array([7, -1], np.int64),
        ),
        tiles=TileCounts(total=240, encoded=240),
        packet_kind="I",
        model=ModelId("sv_tiny", "ab" * 32),
        ledger=make_ledger(index + 1),
    )


def make_tokens(num_slots: int = 2, size: int = 4) -> Tokens:
    return Tokens(
        vectors=np.full((num_slots, size), 0.5, np.float16),
        codes=np.arange(num_slots, dtype=np.uint16) + 300,
        xyxy=np.full((num_slots, 4), [0, 16, 640, 352], np.float32),
        share=np.full(num_slots, 1 / num_slots, np.float32),
        num_codes=512,
    )


def make_messages() -> dict[str, AnyMessage]:
    """One of each kind."""
    about_all = {"origin": ORIGIN, "camera": ALL_CAMERAS, "seq": 9}
    member = SyncMember(ORIGIN.epoch, 4, T0_NS)
    return {
        "det": DetMessage.of(make_result(4), ORIGIN, seq=4),
        "emb": replace(  # as 1.0 wrote it
            EmbMessage.of(make_result(4), ORIGIN, seq=4), embedding=np.full(64, 0.125, np.float32)
        ),
        "sem": SemMessage.of(replace(make_result(4), tokens=make_tokens()), ORIGIN, seq=4),
        "img": ImgMessage(
            origin=ORIGIN, camera="front", seq=4, frame_index=4, jpeg=b"\xff\xd8\xff"
        ),
        "vid": VidMessage(origin=ORIGIN, camera="front", seq=4, unit=make_unit(4)),
        "plan": PlanMessage.of(make_packet(2, 3, is_i=False), 5, ORIGIN, seq=4),
        "info": InfoMessage(
            **about_all,
            config='{"version": 1}',
            model=ModelId("sv_tiny", "ab" * 32),
            cameras={
                "front": CameraInfo(
                    1280, 720, 10.0, "h264", 80, Intrinsics(1313.5, 1313.25, 646, 322)
                ),
                "left": CameraInfo(640, 480, 0.0, "synth"),
            },
        ),
        "stat": StatMessage(
            origin=ORIGIN,
            camera="front",
            seq=2,
            state="live",
            fps=9.5,
            latency_p50_ms=31.5,
            latency_p99_ms=None,
            age_ms=40.0,
            stage_ms={"decoded": 2.5, "encoded": 20.0},
            num_detections=2,
            ledger=make_ledger(5),
        ),
        "sync": SyncMessage(
            **about_all, members={"front": member, "left": member}, skew_ns=0, is_complete=False
        ),
        "hb": Heartbeat(
            **about_all,
            last_seq={"sv1/det/av_4cam/front/": LastSeq(ORIGIN.epoch, 4)},
            cameras={"front": CameraState("live", 10.0), "left": CameraState("ended", None)},
            config_hash="cd" * 32,
            is_stopped=False,
        ),
    }


def make_emb_of_all_scopes() -> EmbMessage:
    more = Embeddings(
        pyramid=np.full((3, 4), 0.5, np.float16),
        objects=np.eye(2, 4, dtype=np.float16),
        clip=np.full(4, -0.5, np.float16),
        clip_ns=(1_000_000_000, 3_000_000_000),
    )
    return EmbMessage.of(replace(make_result(4), more=more), ORIGIN, seq=4)


def make_unit(index: int = 0) -> AccessUnit:
    return AccessUnit(
        index=index,
        codec="h264",
        data=b"\x00\x00\x00\x01\x65" + bytes([index]),
        extradata=b"",
        is_key=index == 0,
        is_reordered=False,
        pts=index * 512,
        dts=None,
        time_base=Fraction(1, 15360),
        size=(1280, 720),
        capture=CaptureTime(T0_NS + index * FRAME_NS, "device", 1000),
    )


def make_packet(rows: int = 12, cols: int = 20, *, is_i: bool = True) -> TilePacket:
    count = rows * cols
    index = np.arange(count, dtype=np.int32)[:: 1 if is_i else 2]
    plan = TilePlan(
        rows=rows,
        cols=cols,
        tile_px=32,
        kind="I" if is_i else "P",
        index=index,
        motion=np.zeros((0 if is_i else count, 2), np.int16),
        score=np.linspace(0, 255, count, dtype=np.float32),
        age=np.arange(count, dtype=np.int32),
    )
    tiles = np.random.default_rng(1).integers(0, 255, (len(index), 32, 32, 3), np.uint8)
    return TilePacket(
        camera="front",
        seq=3,
        base_seq=-1 if is_i else 2,
        frame_index=4,
        plan=plan,
        tiles=tiles,
        letterbox=LetterBox(1280, 720, cols * 32, rows * 32),
        pts=-512,
        time_base=Fraction(1, 15360),
        capture=CaptureTime(T0_NS, "container", 500),
        stamps_ns={"ingest": 1, "decoded": 2, "packed": 3},
        counts=SourceCounts(frames=5, lost_policy=1),
        is_discont=True,
    )


def make_feedback() -> Feedback:
    boxes = np.array([[1, 2, 3, 4]], np.float32)
    return Feedback(acked_seq=3, credit=2, need_i=False, boxes=boxes, canary_error=0.25)


def make_tile_stream() -> dict[str, list[Part]]:
    """One encoded message of each kind of the tile stream."""
    return {
        "packet": wire.encode_packet(make_packet(2, 3, is_i=False)),
        "feedback": wire.encode_feedback(make_feedback()),
        "end": wire.encode_end(wire.End("front", SourceCounts(frames=5, lost_decode=1))),
    }


def make_requests() -> dict[str, wire.Request]:
    """One of each kind that the service understands."""
    prefixes = ("sv1/det/", "sv1/hb/")
    return {
        "snapshot": wire.SnapshotRequest(7, prefixes),
        "read": wire.ReadRequest(2, prefixes, ORIGIN.epoch, 41, 256),
        "leave": wire.LeaveRequest(2),
        "schemas": wire.SchemasRequest(8),
    }


def make_answers() -> dict[str, tuple[list[Part], wire.Answer]]:
    """One of each kind, encoded and as it is read."""
    parts = [bytes(part) for part in wire.encode(make_messages()["det"])]
    joined = wire.join(parts)
    barrier = LastSeq(ORIGIN.epoch, 9)
    return {
        "snapshot": (
            wire.encode_snapshot(7, barrier, [joined]),
            wire.Snapshot(7, barrier, [parts]),
        ),
        "batch": (
            wire.encode_batch(2, ORIGIN.epoch, 5, 1, {3: joined, 5: joined}),
            wire.Batch(2, ORIGIN.epoch, 5, 1, (3, 5), [parts, parts]),
        ),
        "schemas": (wire.encode_schemas(8, {"det": "{}"}), wire.Schemas(8, {"det": "{}"})),
        "refusal": (wire.encode_refusal("no store"), wire.Refusal("no store")),
    }


def write_golden(version: str) -> None:
    """A file for each kind that has none yet. What is there is decoded for ever: change none."""
    public = {kind: wire.encode(message) for kind, message in make_messages().items()}
    tiles = {f"tile-{kind}": parts for kind, parts in make_tile_stream().items()}
    requests = {f"request-{k}": wire.encode_request(r) for k, r in make_requests().items()}
    answers = {f"answer-{kind}": parts for kind, (parts, _) in make_answers().items()}
    beat = replace(make_messages()["hb"], service="tcp://127.0.0.1:7701")
    public["hb-service"] = wire.encode(beat)
    for kind, parts in {**public, **tiles, **requests, **answers}.items():
        if not list(GOLDEN.glob(f"v*-{kind}.msgpack")):
            (GOLDEN / f"v{version}-{kind}.msgpack").write_bytes(wire.join(parts))
