"""The YAML loader: what it adds to YAML, and that every error names file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamvis.config.load import load_config
from streamvis.config.model import ConfigModel, DurationNs, LocalPath
from streamvis.errors import ConfigError


class Camera(ConfigModel):
    width: int = 640
    file: LocalPath | None = None
    window: DurationNs = 0


class Rig(ConfigModel):
    version: int
    cameras: dict[str, Camera] = {}
    extras: list[Camera] = []


@pytest.fixture
def write(tmp_path: Path):
    def _write(text: str, name: str = "rig.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return _write


def test_plain_values_durations_and_paths(write, tmp_path):
    path = write("version: 1\ncameras:\n  a: {file: clips/a.mp4, window: 1.5ms}\n")
    rig = load_config(path, Rig)
    assert rig.cameras["a"].file == tmp_path / "clips/a.mp4"
    assert rig.cameras["a"].window == 1_500_000


def test_use_is_overridden_by_the_keys_beside_it(write, tmp_path):
    (tmp_path / "parts").mkdir()
    write("width: 320\nfile: b.mp4\n", "parts/camera.yaml")
    rig = load_config(
        write("version: 1\ncameras:\n  a:\n    use: parts/camera.yaml\n    width: 64\n"), Rig
    )
    assert rig.cameras["a"].width == 64
    assert rig.cameras["a"].file == tmp_path / "parts/b.mp4", "relative to the file it stands in"


def test_environment_beats_its_default_and_is_relative_to_the_working_directory(
    write, tmp_path, monkeypatch
):
    path = write("version: 1\ncameras:\n  a: {file: '${CLIP:-own.mp4}'}\n")
    monkeypatch.delenv("CLIP", raising=False)
    assert load_config(path, Rig).cameras["a"].file == tmp_path / "own.mp4"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("CLIP", "mine.mp4")
    assert load_config(path, Rig).cameras["a"].file == elsewhere / "mine.mp4"


def test_overrides_reach_into_mappings_and_lists(write):
    path = write("version: 1\nextras:\n  - {width: 2}\n")
    rig = load_config(path, Rig, ["extras.0.width=8", "cameras.new.window=3s"])
    assert rig.extras[0].width == 8
    assert rig.cameras["new"].window == 3_000_000_000


BAD = {
    "unknown key": ("version: 1\ncameras:\n  a:\n    widht: 3\n", 4, "cameras.a.widht", "'width'"),
    "unknown key at the top": ("version: 1\ncamera: {}\n", 2, "camera", "'cameras'"),
    "wrong type": ("version: 1\ncameras:\n  a: {width: wide}\n", 3, "cameras.a.width", "integer"),
    "no unit": ("version: 1\ncameras:\n  a: {window: 3}\n", 3, "cameras.a.window", "20ms"),
    "twice": ("version: 1\ncameras:\n  a: {}\n  a: {}\n", 4, "cameras.a", "twice"),
    "missing use": ("version: 1\ncameras:\n  a:\n    use: no.yaml\n", 4, "use", "no file"),
    "unset variable": ("version: 1\ncameras:\n  a: {file: '${NO_SUCH_X}'}\n", 3, "file", "not set"),
    "not yaml": ("version: 1\ncameras: [\n", 3, "", "not valid YAML"),
    "in a list": ("version: 1\nextras:\n  - {}\n  - {wide: 1}\n", 4, "extras.1.wide", "'width'"),
}


@pytest.mark.parametrize("case", BAD, ids=str)
def test_an_error_names_file_line_key_and_what_to_do(write, case):
    text, line, key, hint = BAD[case]
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, Rig)
    message = str(caught.value)
    assert f"{path}:{line}:" in message
    assert key in message
    assert hint in message
    assert "\n" not in message


def test_missing_key_file_and_circle(write, tmp_path):
    with pytest.raises(ConfigError, match="version: this key is required"):
        load_config(write("cameras: {}\n"), Rig)
    with pytest.raises(ConfigError, match="cannot read this file"):
        load_config(tmp_path / "nowhere.yaml", Rig)
    with pytest.raises(ConfigError, match="circle"):
        load_config(write("version: 1\nuse: rig.yaml\n"), Rig)


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("width", "key.path=value"),
        ("extras.7.width=1", "entries"),
        ("version.deep=1", "not a group"),
        ("extras.0.widht=1", "'width'"),
        ("version=[", "not a YAML value"),
    ],
)
def test_a_bad_override_says_so(write, override, hint):
    path = write("version: 1\nextras:\n  - {}\n")
    with pytest.raises(ConfigError, match=hint):
        load_config(path, Rig, [override])
