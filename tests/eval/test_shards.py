from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from streamvis.errors import OutputError
from streamvis.eval.shards import RunLog, Shard, ShardStore, check_folder


def make_log(start: int, num_rounds: int = 2) -> RunLog:
    """Two cameras a round; frame i has i detections."""
    frames = [(c, start + r) for r in range(num_rounds) for c in ("a", "b")]
    index = np.array([i for _, i in frames], np.int64)
    total = int(index.sum())
    rng = np.random.default_rng(start)
    return RunLog(
        camera=np.array([c for c, _ in frames]),
        frame_index=index,
        media_ns=index * 100,
        is_discont=np.zeros(len(frames), np.bool_),
        tiles=rng.integers(0, 4, (len(frames), 2, 3), np.uint8),
        encode_ns=index + 1,
        detect_ns=index + 2,
        latency_ns=index + 3,
        embedding=rng.random((len(frames), 4)).astype(np.float32),
        num_found=index,
        xyxy=rng.random((total, 4)).astype(np.float32),
        score=rng.random(total).astype(np.float32),
        class_id=np.arange(total, dtype=np.int32) % 8,
        num_frames=np.full(num_rounds, 2, np.int64),
        round_media_ns=np.arange(start, start + num_rounds) * 100,
        service_ns=np.full(num_rounds, 9, np.int64),
    )


def assert_same(one: RunLog, other: RunLog) -> None:
    for field in fields(RunLog):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    store, logs = ShardStore(tmp_path / "run"), [make_log(0), make_log(2, 1)]
    store.save(0, Shard(logs[0], is_last=False, is_resumed=False, session="x"))
    store.save(1, Shard(logs[1], is_last=True, is_resumed=True, session="y"))
    shards = store.load()
    facts = [(s.is_last, s.is_resumed, s.session) for s in shards]
    assert facts == [(False, False, "x"), (True, True, "y")]
    for shard, log in zip(shards, logs, strict=True):
        assert_same(shard.log, log)
    assert sorted(p.name for p in store.folder.iterdir()) == ["0000.npz", "0001.npz"]


def test_a_gap_or_a_damaged_shard_ends_what_counts(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    for turn in (0, 1, 3):
        store.save(turn, Shard(make_log(turn), is_last=False, is_resumed=False, session="x"))
    assert len(store.load()) == 2
    path = tmp_path / "0001.npz"
    path.write_bytes(path.read_bytes()[:-300])
    assert len(store.load()) == 1
    store.clear()
    assert store.load() == []


def test_columns_come_apart_by_frame_and_round() -> None:
    log = RunLog.concat([make_log(0), make_log(2, 1)])
    assert log.rounds == [[("a", i), ("b", i)] for i in range(3)]
    found = log.found()
    assert [len(found[key]) for key in log.keys] == [0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(found["b", 2].xyxy, log.xyxy[-2:])


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="it is a file"):
        check_folder(tmp_path / "file")
    with pytest.raises(OutputError, match="is not a folder"):
        check_folder(tmp_path / "file/below")
    check_folder(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
