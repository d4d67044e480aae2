"""What a run saw and how long it took, as columns, and the files it is kept in.

A shard holds one turn of rounds. It appears under its name only when it is complete, so a killed
evaluation goes on after the last one.
"""

from __future__ import annotations

import io
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamvis.errors import OutputError
from streamvis.eval.result import FrameKey
from streamvis.render.output_file import PendingFile, output_error, write_file
from streamvis.types import Detections, TileState


@dataclass(frozen=True)
class RunLog:
    """F frames in R rounds with N detections; rounds and frames in the order they ran.

    Boxes are in source pixels; `rows` x `cols` is the encoder's grid.
    """

    camera: NDArray[np.str_]  # [F]
    frame_index: NDArray[np.int64]  # [F]
    media_ns: NDArray[np.int64]  # [F] since the camera's first frame
    is_discont: NDArray[np.bool_]  # [F]
    tiles: NDArray[np.uint8]  # [F, rows, cols] of TileState
    encode_ns: NDArray[np.int64]  # [F] a frame's share of its round
    detect_ns: NDArray[np.int64]  # [F] a frame's share of its round
    latency_ns: NDArray[np.int64]  # [F] decoded to tracked
    embedding: NDArray[np.float32]  # [F, D]
    num_found: NDArray[np.int64]  # [F] detections of each frame
    xyxy: NDArray[np.float32]  # [N, 4]
    score: NDArray[np.float32]  # [N]
    class_id: NDArray[np.int32]  # [N]
    num_frames: NDArray[np.int64]  # [R] of each round
    round_media_ns: NDArray[np.int64]  # [R]
    service_ns: NDArray[np.int64]  # [R] front and back, all cameras

    @property
    def encoded(self) -> NDArray[np.bool_]:
        """[F, rows, cols]"""
        is_encoded: NDArray[np.bool_] = self.tiles == TileState.ENCODED
        return is_encoded

    @property
    def keys(self) -> list[FrameKey]:
        pairs = zip(self.camera.tolist(), self.frame_index.tolist(), strict=True)
        return [(str(camera), int(index)) for camera, index in pairs]

    @property
    def rounds(self) -> list[list[FrameKey]]:
        """The frames of each round."""
        keys, ends = self.keys, np.cumsum(self.num_frames).tolist()
        return [keys[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def found(self) -> dict[FrameKey, Detections]:
        """The detections of each frame, untracked."""
        every = Detections.make(self.xyxy, self.score, self.class_id)
        ends = np.cumsum(self.num_found).tolist()
        starts = [0, *ends]
        return {
            key: every[start:end] for key, start, end in zip(self.keys, starts, ends, strict=False)
        }

    @staticmethod
    def concat(logs: Sequence[RunLog]) -> RunLog:
        names = [field.name for field in fields(RunLog)]
        return RunLog(*(np.concatenate([getattr(log, name) for log in logs]) for name in names))


@dataclass(frozen=True)
class Shard:
    """One turn of a run."""

    log: RunLog
    is_last: bool  # the drive ends with it
    is_resumed: bool  # a new process ran it: each camera began with an I packet
    session: str  # of the process that ran it: times of one session can be compared


class ShardStore:
    """The folder of one run: `0000.npz`, `0001.npz`, ... and what was measured once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, turn: int, shard: Shard) -> None:
        """Raises OutputError."""
        buffer = io.BytesIO()
        facts = {"is_last": shard.is_last, "is_resumed": shard.is_resumed, "session": shard.session}
        columns: dict[str, Any] = {**facts, **vars(shard.log)}
        np.savez_compressed(buffer, **columns)
        write_file(self._path(turn), buffer.getvalue())

    def load(self) -> list[Shard]:
        """The shards from the first one on without a gap."""
        shards: list[Shard] = []
        while (shard := _read(self._path(len(shards)))) is not None:
            shards.append(shard)
            if shard.is_last:
                break
        return shards

    def save_facts(self, text: str) -> None:
        """Raises OutputError."""
        write_file(self.folder / "facts.json", text.encode())

    def load_facts(self) -> str | None:
        path = self.folder / "facts.json"
        return path.read_text() if path.is_file() else None

    def clear(self) -> None:
        """Throw away what an evaluation before this one left. Raises OutputError."""
        try:
            if self.folder.is_dir():
                shutil.rmtree(self.folder)
        except OSError as error:
            raise output_error(self.folder, error) from error

    def _path(self, turn: int) -> Path:
        return self.folder / f"{turn:04d}.npz"


def check_folder(folder: Path) -> None:
    """Raises OutputError when nothing can be written there."""
    if folder.is_file():
        raise OutputError(f"cannot write into {folder}: it is a file. Give another --out.")
    pending = PendingFile(folder / "writable")
    pending.discard()


def _read(path: Path) -> Shard | None:
    """None when it is not there, or damaged: then its turn runs again."""
    try:
        with np.load(path, allow_pickle=False) as data:
            log = RunLog(*(data[field.name] for field in fields(RunLog)))
            is_last, is_resumed = bool(data["is_last"]), bool(data["is_resumed"])
            return Shard(log, is_last, is_resumed, str(data["session"]))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return None
