"""Recordings as drives and as COCO."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import STREET
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory
from recording_samples import file_units, make_stream, record, t_of

from streamvis.errors import OutputError, SourceError
from streamvis.record.export import export
from streamvis.record.reader import Recording
from streamvis.source.drive import Drive
from streamvis.wire import VidMessage


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]


def edited(count: int, **changes: object) -> list:
    return [
        replace(m, unit=replace(m.unit, **changes)) if isinstance(m, VidMessage) else m
        for m in make_stream(count=count)
    ]


def test_a_drive_survives_recording_and_export_bit_by_bit(tmp_path: Path) -> None:
    recording = Recording.open(record(tmp_path, make_stream(("front", "left"), 40), segment="1s"))
    done = export(recording, "drive", tmp_path / "drive")
    assert done.left_out == []
    assert done.frames == {"front": 40, "left": 40}
    drive = Drive(tmp_path / "drive")
    for camera in ("front", "left"):
        original = pictures(STREET / f"{camera}.mp4")[:40]
        exported = pictures(drive.video_path(camera))
        assert len(exported) == 40
        assert all(np.array_equal(a, b) for a, b in zip(original, exported, strict=True))
        assert drive.camera(camera).capture_ns == [t_of(i) for i in range(40)]
        assert drive.intrinsics(camera) is not None
    with av.open(str(drive.video_path("front"))) as container:
        assert float(container.streams.video[0].average_rate or 0) == pytest.approx(15)


def test_a_drives_detections_are_coco_results(tmp_path: Path) -> None:
    recording = Recording.open(record(tmp_path, make_stream(count=3)))
    export(recording, "drive", tmp_path / "drive")
    results = json.loads((tmp_path / "drive/detections.json").read_text())
    assert len(results) == 6
    assert results[2] == {
        "image_id": 2,
        "camera": "front",
        "frame_index": 1,
        "category_id": 3,
        "bbox": [10, 20, 20, 20.5],
        "score": 0.75,
        "track_id": 7,
    }


def test_coco_has_the_form_of_a_drives_labels(tmp_path: Path) -> None:
    recording = Recording.open(record(tmp_path, make_stream(count=3, lost=(1,))))
    done = export(recording, "coco", tmp_path / "coco")
    assert done.frames == {"front": 2}
    coco = json.loads((tmp_path / "coco/labels.json").read_text())
    truth = json.loads((STREET / "labels.json").read_text())
    assert coco["images"][1].keys() == truth["images"][1].keys()
    assert coco["images"][1]["frame_index"] == 2
    assert coco["images"][1]["capture_ns"] == t_of(2)
    assert coco["categories"] == truth["categories"]
    common = {"id", "image_id", "category_id", "bbox", "area", "iscrowd", "track_id"}
    assert coco["annotations"][0].keys() == common | {"score"}


def test_what_cannot_be_decoded_is_left_out_and_told(tmp_path: Path) -> None:
    gap = [m for m in make_stream(count=40) if not (isinstance(m, VidMessage) and m.seq == 20)]
    recording = Recording.open(record(tmp_path, iter(gap)))
    done = export(recording, "drive", tmp_path / "drive")
    assert done.left_out == ["front: 10 frames before a key frame, or in a gap, are left out"]
    kept = [*range(20), *range(30, 40)]  # a key frame each 15 frames
    original = pictures(STREET / "front.mp4")
    exported = pictures(tmp_path / "drive/front.mp4")
    assert len(exported) == 30
    assert all(np.array_equal(original[i], p) for i, p in zip(kept, exported, strict=True))
    rig = json.loads((tmp_path / "drive/rig.json").read_text())
    assert rig["front"]["capture_ns"] == [t_of(i) for i in kept]
    results = json.loads((tmp_path / "drive/detections.json").read_text())
    assert {found["frame_index"] for found in results} == set(range(30))  # of the new file


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"is_reordered": True}, "front: its stream has B-frames"),
        ({"codec": "mjpeg"}, "front: its codec, mjpeg, does not go into an .mp4"),
        ({"is_key": False}, "front: no key frame of it was recorded"),
    ],
)
def test_without_any_video_there_is_no_drive(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    recording = Recording.open(record(tmp_path / "recs", iter(edited(3, **changes))))
    with pytest.raises(SourceError, match=reason):
        export(recording, "drive", tmp_path / "drive")
    assert [path.name for path in tmp_path.iterdir()] == ["recs"]  # nothing half-written


def test_what_is_there_is_replaced_only_on_demand(tmp_path: Path) -> None:
    recording = Recording.open(record(tmp_path / "recs", make_stream(count=2)))
    out = tmp_path / "drive"
    export(recording, "drive", out)
    with pytest.raises(OutputError, match="exists already"):
        export(recording, "drive", out)
    export(recording, "drive", out, replace=True)
    with pytest.raises(OutputError, match=r"has no labels.json, so it is not replaced"):
        export(recording, "coco", out, replace=True)


def hevc_clip(path: Path, count: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 192, "yuv420p"
        stream.codec_context.options = {"x265-params": "bframes=0:keyint=5:log-level=none"}
        for i in range(count):
            image = np.full((192, 320, 3), 10 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_hevc_comes_back_too(tmp_path: Path) -> None:
    clip = hevc_clip(tmp_path / "a.mp4", 12)
    recording = Recording.open(record(tmp_path / "recs", make_stream(units=file_units(clip))))
    assert export(recording, "drive", tmp_path / "drive").frames == {"front": 12}
    exported = pictures(tmp_path / "drive/front.mp4")
    assert all(np.array_equal(a, b) for a, b in zip(pictures(clip), exported, strict=True))
    with (recording.paths[0]).open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        formats = {m.format for *_, m in reader.iter_decoded_messages(topics=["front/video"])}
    assert formats == {"h265"}
