"""From a drive to the result, and what is wrong with a drive."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_drive import tiny_config, tiny_peer, write_tiny_drive, write_tiny_yolox

from streamvis.errors import SourceError
from streamvis.eval.evaluate import Evaluation, Options, choose_footage
from streamvis.eval.report.page import write_report
from streamvis.eval.result import EvalResult


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Of a machine that is said to be busy."""
    folder = tmp_path_factory.mktemp("eval")
    peer = tiny_peer(write_tiny_yolox(folder / "tiny.onnx"), score=0.5)
    options = Options(out=folder / "out", probes=("fisheye",), max_frames=25)
    drive = write_tiny_drive(folder / "drive", num_frames=30)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("os.getloadavg", lambda: (99.0, 1.0, 1.0))
        evaluation = Evaluation(drive, [tiny_config(), peer], options)
    evaluation.run(lambda *_: None)
    return evaluation


@pytest.fixture(scope="module")
def result(evaluation: Evaluation) -> EvalResult:
    return evaluation.score(lambda _: None)


def test_the_result_says_what_was_run(result: EvalResult) -> None:
    assert [c.name for c in result.configs] == ["tiny", "peer", "tiny+fisheye", "peer+fisheye"]
    assert (result.cameras, result.num_frames, result.num_labelled) == (("a", "b"), 50, 50)
    assert result.duration_s == pytest.approx(2.5)
    assert result.settings["bootstrap_units"]["vehicle"] == "1 track"
    (busy,) = result.notes
    assert "load 99.0" in busy
    json.dumps(result.to_dict())


def test_every_config_has_accuracy_and_cost(result: EvalResult) -> None:
    for config in result.configs:
        assert set(config.detection) == {"car", "vehicle"}
        assert config.detection["car"].num_boxes == 50
        assert config.streaming is not None
        assert set(config.tracking) == {"car", "vehicle"}
        assert len(config.cost.latency_ms) == 50
        assert config.cost.gflops_per_frame is not None
        assert config.cost.tiles_encoded == config.cost.tiles_total > 0


def test_embeddings_are_compared_where_there_are_two(result: EvalResult) -> None:
    plain, peer, bent, bent_peer = result.configs
    assert (plain.embedding, peer.embedding, bent_peer.embedding) == (None, None, None)
    assert "is the dense one itself" in plain.notes[0]
    assert "no encoder" in peer.notes[0]
    assert bent.embedding is not None
    assert bent.embedding.reference == "tiny"
    assert -1 <= bent.embedding.min <= bent.embedding.p1 <= bent.embedding.median < 1


def test_every_config_stands_beside_the_first_under_the_same_probe(result: EvalResult) -> None:
    plain, peer, bent, bent_peer = result.configs
    assert plain.against is None
    assert bent.against is None
    for config, first in ((peer, "tiny"), (bent_peer, "tiny+fisheye")):
        assert config.against is not None
        assert config.against.run == first
        assert config.against.cosine_median is None, "another model has no embedding to compare"
        assert config.against.speedup is not None
        assert config.against.arrives is not None, "this peer has next to no operations"


def test_reuse_stands_beside_dense(tmp_path: Path) -> None:
    folder = write_tiny_drive(tmp_path / "drive", num_frames=24, cameras="a")
    reuse = tiny_config("reuse", tiling={"policy": "threshold", "max_age": 8})
    evaluation = Evaluation(folder, [tiny_config("dense"), reuse], Options(out=tmp_path / "out"))
    evaluation.run(lambda *_: None)
    dense, sparse = evaluation.score(lambda _: None).configs
    assert (dense.against, sparse.against.run) == (None, "dense")
    assert sparse.cost.tiles_encoded < dense.cost.tiles_encoded
    saved = dense.cost.gflops_per_frame / sparse.cost.gflops_per_frame
    assert saved > 1
    assert sparse.against.flop_speedup == pytest.approx(saved)
    time = [sum(c.cost.encode_ms) + sum(c.cost.detect_ms) for c in (dense, sparse)]
    assert sparse.against.speedup == pytest.approx(time[0] / time[1], rel=1e-3)
    assert sparse.against.arrives == pytest.approx(sparse.against.speedup / saved)
    assert 0.9 < sparse.against.cosine_p1 <= sparse.against.cosine_median
    assert sparse.embedding.reference == "dense"
    assert sparse.embedding.median == pytest.approx(sparse.against.cosine_median)


def test_pictures_show_the_worst_frames_as_the_run_saw_them(evaluation: Evaluation) -> None:
    pictures = evaluation.pictures()
    names = [picture.config for picture in pictures]
    assert names[0] == "tiny"
    assert set(names) == {"tiny", "peer", "tiny+fisheye", "peer+fisheye"}
    for picture in pictures:
        assert picture.image.shape[1] / picture.image.shape[0] == pytest.approx(16 / 9, rel=0.04)
        assert picture.tiles is not None
        assert np.all(picture.detections.score >= 0.3)
        assert picture.source_size == (320, 180)
    of_lens = next(p for p in pictures if p.config == "tiny+fisheye")
    assert np.all(of_lens.image[0, 0] < 20)  # beyond the lens
    assert of_lens.labels.xyxy[0, 2] - of_lens.labels.xyxy[0, 0] != 40


def test_a_drive_without_tracks_says_so(tmp_path: Path) -> None:
    folder = write_tiny_drive(tmp_path / "drive", num_frames=6, cameras="a")
    edit(folder / "labels.json", lambda d: [a.pop("track_id") for a in d["annotations"]])
    evaluation = Evaluation(folder, [tiny_config()], Options(out=tmp_path / "out"))
    evaluation.run(lambda *_: None)
    result = evaluation.score(lambda _: None)
    assert result.configs[0].tracking == {}
    assert any("no track ids" in note for note in result.notes)
    assert "block" in result.settings["bootstrap_units"]["car"]


def evaluate(drive: Path, names: tuple[str, ...], options: Options) -> EvalResult:
    evaluation = Evaluation(drive, [tiny_config(name) for name in names], options)
    evaluation.run(lambda *_: None)
    return evaluation.score(lambda _: None)


def test_times_of_different_runs_are_noted(drive: Path, tmp_path: Path) -> None:
    def notes(*names: str, **more: Any) -> list[str]:
        result = evaluate(drive, names, Options(out=tmp_path / "out", max_frames=2, **more))
        return [note for note in result.notes if "different runs" in note]

    assert notes("old", "older") == []
    (note,) = notes("old", "new", "older")
    assert "The times of old, older and of new were measured in different runs" in note
    assert notes("old", "older") == []
    assert notes("old", "new", "older", is_fresh=True) == []


def test_one_frame_has_no_streaming_or_tracking(drive: Path, tmp_path: Path) -> None:
    result = evaluate(drive, ("tiny",), Options(out=tmp_path / "out", max_frames=1))
    (config,) = result.configs
    assert config.detection["car"].num_boxes == 2
    assert (config.streaming, config.tracking) == (None, {})
    assert any("No camera has two labelled frames" in note for note in result.notes)
    write_report(result, [], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "Streaming accuracy was not computed" in text
    assert "Tracking could not be scored" in text


def edit(path: Path, change: Callable[[Any], object]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    return write_tiny_drive(tmp_path / "drive", num_frames=4)


def test_only_labelled_cameras_are_run_in_the_order_of_the_rig(drive: Path) -> None:
    edit(drive / "labels.json", lambda d: d["images"].reverse())
    assert choose_footage(drive, (), None)[0].cameras == ("a", "b")
    footage, labels = choose_footage(drive, ("b",), 2)
    edit(drive / "rig.json", lambda d: d.pop("a"))  # its labels may stay
    assert choose_footage(drive, ("b",), 2)[0] == footage
    assert footage.cameras == ("b",)
    assert list(labels.frames) == [("b", 0), ("b", 1)]


DRIVE_MISTAKES: dict[str, tuple[str, Callable[[Any], object], str]] = {
    "frames that are not there": (
        "labels.json",
        lambda d: d["images"][0].update(frame_index=99),
        r"labels\.json: camera 'a' has labels for frame 99",
    ),
    "labels of another size": (
        "labels.json",
        lambda d: [image.update(width=640, height=360) for image in d["images"]],
        r"640x360 px and its video has 320x180",
    ),
    "a rig of another size": (
        "rig.json",
        lambda d: d["a"].update(width=640),
        r"rig\.json: a is said to be 640x180 px, but a\.mp4 is 320x180 px",
    ),
    "a camera that is not in the rig": (
        "rig.json",
        lambda d: d.pop("b"),
        r"labels\.json: images\.4 is of camera 'b', which this drive does not have",
    ),
    "a rig without cameras": (
        "rig.json",
        lambda d: d.clear(),
        r"rig\.json: the drive has no cameras",
    ),
    "a video that is not there": (
        "rig.json",
        lambda d: d["b"].update(file="nope.mp4"),
        r"rig\.json: .* nope\.mp4; check `file` of camera 'b'",
    ),
    "too few capture times": (
        "rig.json",
        lambda d: d["a"].update(capture_ns=[1, 2]),
        r"rig\.json: capture_ns of camera 'a' has 2 entries, but labels\.json names frame 3",
    ),
    "no boxes": (
        "labels.json",
        lambda d: d["annotations"].clear(),
        r"labels\.json: .* no labelled boxes: nothing to score",
    ),
    "only ignore regions": (
        "labels.json",
        lambda d: [a.update(iscrowd=1) for a in d["annotations"]],
        "no labelled boxes: nothing to score",
    ),
    "no categories": ("labels.json", lambda d: d["categories"].clear(), "`categories` is empty"),
}


@pytest.mark.parametrize("mistake", DRIVE_MISTAKES)
def test_what_does_not_fit_is_found_before_the_run(mistake: str, drive: Path) -> None:
    name, change, message = DRIVE_MISTAKES[mistake]
    edit(drive / name, change)
    with pytest.raises(SourceError, match=message):
        choose_footage(drive, (), None)


def test_a_camera_without_labels(drive: Path) -> None:
    def remove(data: Any) -> None:
        data["images"] = [image for image in data["images"] if image["camera"] == "a"]
        known = {image["id"] for image in data["images"]}
        data["annotations"] = [a for a in data["annotations"] if a["image_id"] in known]

    edit(drive / "labels.json", remove)
    assert choose_footage(drive, (), None)[0].cameras == ("a",)
    with pytest.raises(SourceError, match="camera 'b' has no labels; those that have are a"):
        choose_footage(drive, ("b",), None)


def test_none_of_the_frames_has_labels(drive: Path) -> None:
    edit(drive / "labels.json", lambda d: [i.update(frame_index=3) for i in d["images"][:1]])
    edit(drive / "labels.json", lambda d: d.update(images=d["images"][:1], annotations=[]))
    with pytest.raises(SourceError, match="none of the frames to run has labels"):
        choose_footage(drive, (), 2)
