"""What a recording holds, counted: `streamvis rec info`."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from streamvis import wire
from streamvis.record.reader import Recorded, Recording
from streamvis.types import LOSS_STAGES
from streamvis.wire import Observed


@dataclass
class CameraTally:
    """One camera, as far as the recording tells."""

    codec: str | None = None
    size: tuple[int, int] | None = None  # (width, height) px
    units: int = 0  # of the bitstream
    key_units: int = 0
    unit_bytes: int = 0
    is_reordered: bool = False
    plans: int = 0  # frames that passed the gate
    results: int = 0  # frames with detections
    source_frames: int = 0  # by the ledger of the newest result
    lost: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LOSS_STAGES, 0))
    gaps: int = 0  # messages that were published and are not in the recording

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "size": list(self.size) if self.size else None}


class Tally:
    """Goes once through the messages; headers only."""

    def __init__(self, recording: Recording) -> None:
        self.messages: Counter[str] = Counter()  # by kind
        self.cameras: defaultdict[str, CameraTally] = defaultdict(CameraTally)
        self.epochs: dict[str, None] = {}
        self.steps_back = 0  # the world's clock ran backwards
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.num_gaps = 0
        self._last_seq: dict[tuple[str, str], int] = {}  # by (epoch, topic)
        self._last_ns: dict[str, int] = {}  # by topic
        for message in recording.messages():
            self._count(message, wire.peek(message.parts))
        self._recording = recording

    @property
    def duration_s(self) -> float:
        """Of the world's time that the frames span."""
        if self.first_ns is None or self.last_ns is None:
            return 0.0
        return (self.last_ns - self.first_ns) / 1e9

    @property
    def num_bytes(self) -> int:
        return sum(path.stat().st_size for path in self._recording.paths)

    def to_dict(self) -> dict[str, Any]:
        recording, model = self._recording, self._recording.model
        about = recording.metadata
        return {
            "segments": [path.name for path in recording.paths],
            "bytes": self.num_bytes,
            "pipeline": about.get("pipeline"),
            "version": about.get("version"),
            "config_hash": about.get("config_hash"),
            "model": model.name if model else about.get("model"),
            "weights_sha256": model.weights_sha256 if model else about.get("weights_sha256"),
            "first_ns": self.first_ns,
            "last_ns": self.last_ns,
            "duration_s": round(self.duration_s, 3),
            "epochs": list(self.epochs),
            "messages": {kind: self.messages[kind] for kind in wire.KINDS if self.messages[kind]},
            "cameras": {name: self.cameras[name].to_dict() for name in sorted(self.cameras)},
            "no_video": self._no_video(),
            "gaps": self.num_gaps,
            "clock_steps_back": self.steps_back,
            "damage": recording.damage,
        }

    def _no_video(self) -> dict[str, str]:
        """Cameras that viewers get no foxglove.CompressedVideo of, and why."""
        flags: dict[str, dict[str, Any]] = json.loads(self._recording.metadata.get("cameras", "{}"))
        reasons = {name: flag.get("no_video_because") for name, flag in flags.items()}
        for name, camera in self.cameras.items():
            if not camera.units:
                reasons[name] = "no bitstream was published"
        return {name: reason for name, reason in sorted(reasons.items()) if reason}

    def _count(self, message: Recorded, seen: Observed) -> None:
        self.messages[message.kind] += 1
        self.epochs.setdefault(seen.epoch)
        self._count_gap(seen)
        if message.camera == wire.ALL_CAMERAS:
            return
        self._count_time(seen, message.log_time_ns)
        camera, header = self.cameras[message.camera], seen.header
        match message.kind:
            case "vid":
                camera.codec = str(header["codec"])
                camera.size = (header["size"][0], header["size"][1])
                camera.units += 1
                camera.key_units += bool(header["key"])
                camera.unit_bytes += len(message.parts[2])
                camera.is_reordered |= bool(header["reordered"])
            case "plan":
                camera.plans += 1
                self._count_lost(camera, header["counts"])
            case "det":
                camera.results += 1
                ledger = seen.ledger
                camera.source_frames = ledger.source_frames
                camera.lost = dict(ledger.lost)

    def _count_lost(self, camera: CameraTally, counts: dict[str, int]) -> None:
        """Of a plan: what was lost before the gate; later losses the results tell."""
        camera.source_frames = max(camera.source_frames, counts["frames"])
        for stage in ("source", "decode", "policy"):
            camera.lost[stage] = max(camera.lost[stage], counts[f"lost_{stage}"])

    def _count_gap(self, seen: Observed) -> None:
        """The info is written only when it changed: its steps are no gaps."""
        key = (seen.epoch, seen.topic)
        missing = seen.seq - self._last_seq.get(key, seen.seq - 1) - 1
        self._last_seq[key] = max(seen.seq, self._last_seq.get(key, 0))
        if missing > 0 and seen.kind != "info":
            self.num_gaps += missing
            if seen.camera != wire.ALL_CAMERAS:
                self.cameras[seen.camera].gaps += missing

    def _count_time(self, seen: Observed, t_ns: int) -> None:
        self.first_ns = t_ns if self.first_ns is None else min(self.first_ns, t_ns)
        self.last_ns = t_ns if self.last_ns is None else max(self.last_ns, t_ns)
        if seen.header.get("reordered"):  # in decode order
            return
        self.steps_back += t_ns < self._last_ns.get(seen.topic, t_ns)
        self._last_ns[seen.topic] = t_ns
