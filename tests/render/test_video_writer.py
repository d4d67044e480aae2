from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamvis.errors import OutputError
from streamvis.render.picture import Picture
from streamvis.render.video_writer import VideoWriter

SIZE = (160, 96)


def ramp(k: int) -> Picture:
    """Colours that differ from frame to frame."""
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    return np.stack([x + 8 * k, 2 * y, 200 - x], axis=2).astype(np.uint8)


def write(path: Path, num_frames: int = 10) -> None:
    writer = VideoWriter(path, SIZE, Fraction(10))
    for k in range(num_frames):
        writer.write(ramp(k))
    writer.close()


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 10
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 10
    for k, picture in enumerate(pictures):
        assert np.abs(picture.astype(int) - ramp(k)).mean() < 6, k


def test_starts_before_it_is_loaded(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_the_same_pictures_make_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4")
    write(tmp_path / "b.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_the_name_appears_when_it_is_complete(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", SIZE, Fraction(10))
    writer.write(ramp(0))
    assert not (tmp_path / "a.mp4").exists()
    writer.close()
    writer.close()
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_discard_leaves_nothing(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", SIZE, Fraction(10))
    writer.write(ramp(0))
    writer.discard()
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_wrong_sizes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be even"):
        VideoWriter(tmp_path / "a.mp4", (161, 96), Fraction(10))
    writer = VideoWriter(tmp_path / "a.mp4", SIZE, Fraction(10))
    with pytest.raises(ValueError, match="must be of size"):
        writer.write(ramp(0)[:50])
    writer.discard()


def test_a_folder_of_that_name(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="it is a folder"):
        VideoWriter(tmp_path, SIZE, Fraction(10))


IN_A_CHILD = """
import os, resource, signal, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from streamvis.errors import OutputError
from streamvis.render.video_writer import VideoWriter

path, max_bytes = Path(sys.argv[1]), int(sys.argv[2])
noise = np.random.default_rng(0).integers(0, 255, (40, 240, 320, 3), np.uint8)
if max_bytes:  # as on a full disk, a write fails (EFBIG for ENOSPC)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))
elif os.getuid() == 0:  # root may write anywhere
    os.setuid(65534)
try:
    writer = VideoWriter(path, (320, 240), Fraction(10))
    for picture in noise:
        writer.write(picture)
    writer.close()
except OutputError as error:
    print(error)
"""


def run_child(path: Path, max_bytes: int) -> str:
    command = [sys.executable, "-c", IN_A_CHILD, str(path), str(max_bytes)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("max_bytes", [500, 300_000, 1_900_000])
def test_a_full_disk(tmp_path: Path, max_bytes: int) -> None:
    """While the header, the pictures, or the last of them are written."""
    path = tmp_path / "a.mp4"
    said = run_child(path, max_bytes)
    assert said == (
        f"cannot write {path}: the disk is full. Free some space or choose another place."
    )
    assert list(tmp_path.iterdir()) == []


def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    said = run_child(tmp_path / "a.mp4", 0)
    assert "no permission in" in said
    assert "Choose a folder that you may write to" in said
    assert list(tmp_path.iterdir()) == []
