from __future__ import annotations

from pathlib import Path

import pytest

from streamvis.errors import OutputError
from streamvis.source.synth.folder import whole_folder


def write(folder: Path, text: str, replace: bool = False) -> None:
    with whole_folder(folder, replace) as work:
        (work / "images").mkdir()
        (work / "images" / "0.txt").write_text(text)


def read(folder: Path) -> str:
    return (folder / "images" / "0.txt").read_text()


def test_what_we_made_is_replaced_when_asked(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    with pytest.raises(OutputError, match="exists already"):
        write(tmp_path / "out", "new")
    write(tmp_path / "out", "new", replace=True)
    assert read(tmp_path / "out") == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["thesis.txt", "images/mine.txt"])
def test_a_file_of_somebody_else_keeps_the_folder(tmp_path: Path, name: str) -> None:
    write(tmp_path / "out", "old")
    (tmp_path / "out" / name).write_text("years of work")
    with pytest.raises(OutputError, match=f"holds {name}, which `streamvis synth` did not write"):
        write(tmp_path / "out", "new", replace=True)
    assert (tmp_path / "out" / name).is_file()
    assert read(tmp_path / "out") == "old"


def test_a_recorded_drive_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "rig.json").write_text("{}")
    with pytest.raises(OutputError, match="was not made by `streamvis synth`"):
        write(tmp_path, "new", replace=True)
    assert (tmp_path / "rig.json").is_file()


def test_the_folder_one_is_in_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "out", "old")
    monkeypatch.chdir(tmp_path / "out" / "images")
    for folder in (Path("."), Path(".."), tmp_path / "out"):
        with pytest.raises(OutputError, match="the folder you are in, or above it"):
            write(folder, "new", replace=True)
    assert read(tmp_path / "out") == "old"


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    with (
        pytest.raises(OutputError, match="nothing was changed"),
        whole_folder(tmp_path / "out", replace=True),
    ):
        raise OSError(28, "No space left on device")
    assert read(tmp_path / "out") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
