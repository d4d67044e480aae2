"""What the disk can do to a recording: be full, be slow, fail, and the machine may die."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import REPO
from endpoint import PIPELINE, WAIT_S, endpoint
from matrix import contract
from recording_samples import NOW_NS, make_stream, small_disk, write_archive
from wire_samples import make_result

from streamvis import wire
from streamvis.errors import OutputError
from streamvis.record.archive import Archive
from streamvis.record.config import RecordConfig
from streamvis.record.reader import Recording
from streamvis.record.recorder import Recorder
from streamvis.record.recover import recover
from streamvis.record.segment import CHUNK_BYTES, OpenFile, open_unbuffered

PER_CHUNK = 11  # messages 100 ms apart: a chunk spans a second


class BadFile:
    """A real file on a disk that fails after so many bytes."""

    def __init__(self, path: Path, error: int, after: int) -> None:
        self._file = open_unbuffered(path)
        self._error = error
        self._left = after
        self._num_refused = 0

    def write(self, data: memoryview) -> int:
        is_refused = self._left <= 0 and not (self._num_refused and self._error == errno.ENOSPC)
        if is_refused:  # a full disk once: then the reserve has made room
            self._num_refused += 1
            raise OSError(self._error, os.strerror(self._error))
        taken = min(len(data), max(self._left, 1), 1000)  # as a disk does: less than all
        self._left -= taken
        self._file.write(data[:taken])
        return taken

    def truncate(self, size: int) -> int:
        return self._file.truncate(size)

    def close(self) -> None:
        self._file.close()


def feed(archive: Archive, step_ns: int = 0, count: int = 20, times: int = 2) -> None:
    messages = [[bytes(p) for p in wire.encode(m)] for m in make_stream(count=count)]
    for number, parts in enumerate(messages * times):
        archive.write(wire.peek(parts), parts, NOW_NS + number * step_ns)


def archive_on(folder: Path, open_file: OpenFile) -> Archive:
    config = RecordConfig.model_validate({"dir": folder, "min_free": 0})
    return Archive(config, "av_4cam", NOW_NS, open_file=open_file)


def write_until_it_fails(folder: Path, error: int, after: int) -> tuple[Archive, OutputError]:
    archive = archive_on(folder, lambda path: BadFile(path, error, after))
    with pytest.raises(OutputError) as failure:
        feed(archive, step_ns=100_000_000)
    archive.close()
    return archive, failure.value


@contract("disk")
def test_a_full_disk_ends_the_recording_with_a_finished_file(tmp_path: Path) -> None:
    archive, error = write_until_it_fails(tmp_path, errno.ENOSPC, 100_000)
    assert "the disk is full" in str(error)
    (path,) = archive.path.iterdir()  # no .part
    recording = Recording.open(path)
    assert recording.damage is None
    assert len(list(recording.messages())) == archive.num_messages > 10


@contract("disk")
def test_a_really_full_disk_ends_the_recording_with_a_finished_file(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 5_000_000) as folder:
        archive = archive_on(folder, open_unbuffered)
        with pytest.raises(OutputError, match="the disk is full"):
            feed(archive, step_ns=10_000_000, count=90, times=20)
        (path,) = archive.path.iterdir()
        assert path.name == "0000.mcap"
        assert path.stat().st_size > 3_000_000
        assert len(list(Recording.open(path).messages())) == archive.num_messages


@contract("disk")
def test_a_disk_that_was_full_at_the_very_end_lost_nothing(tmp_path: Path) -> None:
    archive = archive_on(tmp_path, lambda path: BadFile(path, errno.ENOSPC, 5000))
    messages = [[bytes(p) for p in wire.encode(m)] for m in make_stream(count=3)]
    for parts in messages:
        archive.write(wire.peek(parts), parts, NOW_NS)
    archive.close()
    assert len(list(Recording.open(archive.path).messages())) == len(messages)


@contract("disk")
@pytest.mark.parametrize("after", [80_000, 90_000, 100_000, 110_000, 120_000])
def test_a_broken_disk_leaves_whole_chunks(tmp_path: Path, after: int) -> None:
    """One that breaks between a chunk and its index leaves a chunk more than is counted."""
    archive, error = write_until_it_fails(tmp_path, errno.EIO, after)
    assert "Input/output error" in str(error)
    (part,) = archive.path.iterdir()
    assert part.name == "0000.mcap.part"
    kept = [message.parts for message in Recording.open(part).messages()]
    assert kept == [[bytes(p) for p in wire.encode(m)] for m in make_stream()][: len(kept)]
    assert len(kept) % PER_CHUNK == archive.num_messages % PER_CHUNK == 0
    assert archive.num_messages > 10
    assert len(kept) - archive.num_messages in (0, PER_CHUNK)
    assert recover(part).num_messages > archive.num_messages  # viewers' messages, too


@contract("disk")
def test_a_disk_that_takes_nothing_is_an_error_at_once(tmp_path: Path) -> None:
    archive = archive_on(tmp_path, lambda _: open_unbuffered(Path("/dev/full")))
    with pytest.raises(OutputError, match="the disk is full"):  # the kernel's own ENOSPC
        feed(archive)


@contract("disk")
def test_a_folder_that_is_deleted_meanwhile_is_an_error(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, make_stream(count=3))
    shutil.rmtree(archive.path)
    with pytest.raises(OutputError, match="cannot write"):
        archive.close()


@contract("disk")
def test_a_place_that_cannot_be_written_to_is_found_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="not a folder"):
        write_archive(tmp_path / "file/recs", iter(()))


class BlockedFile:
    """A disk that hangs until it is told to go on."""

    def __init__(self, path: Path, may_write: threading.Event) -> None:
        self._file = open_unbuffered(path)
        self._may_write = may_write

    def write(self, data: memoryview) -> int | None:
        assert self._may_write.wait(WAIT_S)
        return self._file.write(data)

    def truncate(self, size: int) -> int:
        return self._file.truncate(size)

    def close(self) -> None:
        self._file.close()


@contract("disk")
def test_a_hanging_disk_slows_nobody_and_what_it_cost_is_counted(tmp_path: Path) -> None:
    may_write = threading.Event()
    config = RecordConfig.model_validate({"dir": tmp_path, "min_free": 0, "queue": "20kB"})
    with endpoint(tmp_path, period_ns=10**12) as opened:
        recorder = Recorder(
            config,
            opened.proxy.address,
            PIPELINE,
            open_file=lambda path: BlockedFile(path, may_write),
        )
        recorder.start()
        assert opened.proxy.wait_for_subscribers(1, WAIT_S)
        watcher = opened.subscriber("det")
        with opened.publisher() as publisher:
            for index in range(60):
                publisher.send(make_result(index))
                assert next(watcher).frame_index == index  # while the disk hangs
        assert recorder.is_running
        may_write.set()
        opened.stop_and_read(watcher)
        recorder.join()
    summary = recorder.summary
    assert recorder.error is None
    assert summary.lost_queue > 0
    assert summary.lost_gap == summary.lost_disk == 0
    frames = list(Recording.open(summary.path).messages(["det", "emb"]))
    assert len(frames) + summary.lost_queue >= 120  # heartbeats may be among the lost
    assert len(list(Recording.open(summary.path).messages())) == summary.messages


def test_a_replay_waits_for_the_disk(tmp_path: Path) -> None:
    config = RecordConfig.model_validate({"dir": tmp_path, "min_free": 0, "queue": "1kB"})
    with endpoint(tmp_path, is_lossless=True) as opened:
        recorder = Recorder(config, opened.proxy.address, PIPELINE, is_lossless=True)
        recorder.start()
        assert opened.proxy.wait_for_subscribers(1, WAIT_S)
        with opened.publisher() as publisher:
            for index in range(200):
                publisher.send(make_result(index))
        opened.proxy.stop()
        recorder.join()
    assert recorder.error is None
    assert sum(recorder.summary.lost.values()) == 0
    recorded = list(Recording.open(recorder.summary.path).messages(["det"]))
    assert [wire.peek(m.parts).frame_index for m in recorded] == list(range(200))


@contract("disk")
def test_after_the_disk_failed_the_rest_is_counted(tmp_path: Path) -> None:
    config = RecordConfig.model_validate({"dir": tmp_path, "min_free": 0})
    with endpoint(tmp_path, is_lossless=True) as opened:
        recorder = Recorder(
            config,
            opened.proxy.address,
            PIPELINE,
            is_lossless=True,  # so that every message reaches it
            open_file=lambda path: BadFile(path, errno.EIO, 100),
        )
        recorder.start()
        assert opened.proxy.wait_for_subscribers(1, WAIT_S)
        with opened.publisher() as publisher:
            for index in range(50):
                publisher.send(make_result(index))
        opened.proxy.stop()
        recorder.join()
    assert isinstance(recorder.error, OutputError)
    assert recorder.summary.messages == 0
    assert recorder.summary.lost_disk >= 100


WRITER = """
import sys
from pathlib import Path
from recording_samples import make_stream, write_archive

def stream():
    for number, message in enumerate(make_stream(count=70), 1):
        yield message
        print(number, flush=True)  # the message before it is written by now

archive = write_archive(Path(sys.argv[1]), stream(), segment="2s")
print("safe", archive.num_messages, flush=True)
sys.stdin.read()
"""


def start_writer(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPO / "tests")},
    )


def read_what_is_left(folder: Path) -> tuple[Recording, int]:
    (run,) = folder.iterdir()
    for part in run.glob("*.part"):
        before = part.read_bytes()
        assert recover(part).damage is not None
        assert part.read_bytes() == before
    recording = Recording.open(run)
    return recording, len({tuple(m.parts) for m in recording.messages()})  # heads repeat the info


@contract("kill_recorder")
def test_kill_9_loses_the_open_chunk_only(tmp_path: Path) -> None:
    with start_writer(tmp_path) as process:
        assert process.stdout is not None
        last = line = ""
        for line in iter(process.stdout.readline, ""):
            if line.startswith("safe"):
                break
            last = line
        process.kill()
    handed, safe = int(last), int(line.split()[1])
    recording, found = read_what_is_left(tmp_path)
    assert len(recording.paths) == 2
    assert recording.damage is None
    assert found == safe
    sent = [wire.encode(message) for message in make_stream(count=70)]
    assert handed == len(sent) == 281
    lost_bytes = sum(len(part) for parts in sent[safe:] for part in parts)
    assert 0 < handed - safe <= 100  # of a second, at 10 ms each
    assert lost_bytes <= CHUNK_BYTES


@contract("kill_recorder")
def test_kill_9_in_the_middle_of_writing(tmp_path: Path, times) -> None:
    for number, at in enumerate([150, *np.random.default_rng(0).integers(1, 280, times(0, 15))]):
        kill_at(tmp_path / str(number), at)


def kill_at(folder: Path, at: int) -> None:
    """At most the chunk that was open is lost."""
    folder.mkdir()
    with start_writer(folder) as process:
        assert process.stdout is not None
        for line in iter(process.stdout.readline, ""):
            if int(line) == at:
                process.kill()  # it goes on writing until the signal arrives
                break
        rest = [line for line in process.stdout.read().split("\n") if line.isdigit()]
    handed = int(rest[-1]) if rest else at
    _, found = read_what_is_left(folder)
    assert handed - 100 <= found <= handed + 1
