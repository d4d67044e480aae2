from __future__ import annotations

from pathlib import Path

import pytest

from streamvis.errors import OutputError
from streamvis.render.output_file import PendingFile, write_file


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_the_name_appears_with_commit(tmp_path: Path) -> None:
    pending = PendingFile(tmp_path / "deep" / "er" / "a.bin")
    pending.part.write_bytes(b"data")
    assert not pending.path.exists()
    pending.commit()
    assert pending.path.read_bytes() == b"data"
    assert names(pending.path.parent) == ["a.bin"]


def test_discard_leaves_nothing(tmp_path: Path) -> None:
    PendingFile(tmp_path / "a.bin").discard()
    assert names(tmp_path) == []


def test_a_failure_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    write_file(path, b"old")

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError, match="the disk is full"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_a_folder_of_that_name(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="it is a folder"):
        PendingFile(tmp_path)


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="is not a folder"):
        PendingFile(tmp_path / "out" / "a.mp4")
