"""The gate's settings over a small drive: what is tried, what is kept, what is recommended."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_drive import tiny_config, tiny_peer, write_tiny_drive, write_tiny_yolox

from streamvis.errors import ConfigError, SourceError
from streamvis.eval.agreement import sure_boxes
from streamvis.eval.config import EvalConfig
from streamvis.eval.report.front import draw_front
from streamvis.eval.result import Against
from streamvis.eval.tune import DENSE, Limits, Sweep, Tried, Tuning, list_settings
from streamvis.tiling.config import TilingConfig


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    write_tiny_yolox(path)
    return path


@pytest.fixture
def config(onnx: Path) -> EvalConfig:
    """Reuse in the encoder, and a detector that sees the same car in every picture."""
    return tiny_config(detector={"onnx": onnx, "decode": "yolox"})


def unlabelled(folder: Path, num_frames: int = 12) -> Path:
    write_tiny_drive(folder, num_frames, cameras="a")
    (folder / "labels.json").unlink()
    return folder


def tried(gflops: float, loss: float, cosine: float | None = 0.99, name: str = "") -> Tried:
    against = Against(DENSE, cosine, cosine, 10 / gflops, 10 / gflops)
    return Tried(
        name=name or f"t{gflops:g}",
        values={"threshold": gflops, "max_age": 30},
        tiling=TilingConfig(policy="threshold"),
        encoded=gflops / 10,
        moved=0.0,
        stale=0.0,
        gflops=gflops,
        ms=gflops,
        against=against,
        scores={},
        loss_points=loss,
    )


def tuning(*settings: Tried, **limits: float) -> Tuning:
    dense = replace(tried(10, 0.0, name=DENSE), values={}, against=None)
    return Tuning("pier", ("a",), 20, True, {}, Limits(**limits), (dense, *settings))


def test_every_combination_and_the_dense_run(config: EvalConfig) -> None:
    settings = list_settings(config, ["threshold=12, 30", "max_age=10,20"])
    assert [s.name for s in settings] == [
        DENSE,
        "threshold-12_max_age-10",
        "threshold-12_max_age-20",
        "threshold-30_max_age-10",
        "threshold-30_max_age-20",
    ]
    assert settings[0].is_dense
    assert settings[4].tiling == TilingConfig(policy="threshold", threshold=30, max_age=20)


def test_what_the_config_says_of_tiling_stays(config: EvalConfig) -> None:
    base = TilingConfig(policy="budget", budget=9, noise_factor=2)
    own = config.model_copy(update={"tiling": base})
    dense, one = list_settings(own, ["budget=4"])
    assert dense.tiling == TilingConfig()
    assert one.tiling == TilingConfig(policy="budget", budget=4, noise_factor=2)


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("treshold=12", "unknown key; did you mean 'threshold'"),
        ("threshold=-1", "threshold: Input should be greater than or equal to 0"),
        ("threshold=", "--vary takes key=value,value"),
        ("threshold", "--vary takes key=value,value"),
        ("=3", "--vary takes key=value,value"),
        ("threshold=]", "not YAML values"),
        ("policy='off'", "policy off is the dense run"),
        ("budget=3", "budget is for policy budget"),
        ("max_age=" + ",".join(map(str, range(1, 63))), "62 combinations are more than 60"),
    ],
)
def test_a_mistake_in_what_to_vary(config: EvalConfig, vary: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        list_settings(config, [vary])


def test_without_an_encoder_there_is_nothing_to_tune(onnx: Path) -> None:
    with pytest.raises(ConfigError, match="no tiles"):
        list_settings(tiny_peer(onnx), ["threshold=12"])


def test_the_front_holds_what_no_other_beats() -> None:
    found = tuning(tried(2, 3.0), tried(3, 1.0), tried(4, 1.5), tried(5, 0.2), tried(6, 0.2))
    assert [one.gflops for one in found.front] == [2, 3, 5, 10]


def test_the_cheapest_within_the_limits_is_recommended() -> None:
    settings = tried(2, 3.0), tried(3, 0.4, cosine=0.9), tried(4, 0.4), tried(5, 0.1)
    assert tuning(*settings).recommended.gflops == 4
    assert tuning(*settings, loss_points=5).recommended.gflops == 2
    assert tuning(*settings, cosine_p1=0.5).recommended.gflops == 3
    assert tuning(*settings, loss_points=0.05).recommended.name == DENSE
    assert tuning(tried(12, 0.0)).recommended.name == DENSE, "dearer than dense"
    assert tuning(tried(3, 0.0, cosine=None)).recommended.gflops == 3, "no embedding to compare"


def test_agreement_may_lose_more_than_labels() -> None:
    found = tuning(tried(3, 0.8))
    assert found.recommended.name == DENSE
    assert replace(found, has_labels=False).recommended.gflops == 3


def test_a_drive_without_labels_is_judged_by_the_dense_run(
    config: EvalConfig, tmp_path: Path
) -> None:
    drive = unlabelled(tmp_path / "drive")
    settings = list_settings(config, ["threshold=12,.inf", "max_age=4"])
    sweep = Sweep(drive, settings, tmp_path / "runs")
    sweep.run(lambda *_: None)
    found = sweep.weigh(Limits(), lambda _: None)
    dense, usual, blind = found.tried
    assert not found.has_labels
    assert (dense.encoded, dense.loss_points, dense.against) == (1.0, 0.0, None)
    assert round(dense.scores["vehicle"].AP50, 6) == 1
    assert blind.encoded < usual.encoded <= 1
    assert blind.gflops < dense.gflops
    assert blind.loss_points == 0, "this detector does not look"
    assert found.recommended is blind
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert json.loads(text)["settings"][2]["tiling"] == {"threshold": "inf", "max_age": 4}
    done = []
    Sweep(drive, settings, tmp_path / "runs").run(lambda *now: done.append(now))
    assert done == [], "what was run is kept"


def test_labels_are_used_where_there_are_any(config: EvalConfig, tmp_path: Path) -> None:
    drive = write_tiny_drive(tmp_path / "drive", 6, cameras="a")
    labels = json.loads((drive / "labels.json").read_text())
    seen = unlabelled(tmp_path / "seen", 6)
    settings = list_settings(config, ["threshold=.inf"])
    boxes = boxes_of(seen, settings, tmp_path / "look")
    for row in labels["annotations"]:
        row["bbox"] = boxes
    (drive / "labels.json").write_text(json.dumps(labels))
    sweep = Sweep(drive, settings, tmp_path / "runs")
    sweep.run(lambda *_: None)
    found = sweep.weigh(Limits(), lambda _: None)
    assert found.has_labels
    assert round(found.tried[1].scores["vehicle"].AP50, 6) == 1


def boxes_of(drive: Path, settings: list[EvalConfig], out: Path) -> list[float]:
    """x, y, width, height of the one car that the detector always sees."""
    sweep = Sweep(drive, settings, out)
    sweep.run(lambda *_: None)
    frames = sure_boxes(sweep._records[0].log, "vehicle").frames
    x0, y0, x1, y1 = np.concatenate([frame.xyxy for frame in frames.values()])[0].tolist()
    return [x0, y0, x1 - x0, y1 - y0]


def test_where_nothing_is_found_nothing_can_be_judged(config: EvalConfig, tmp_path: Path) -> None:
    drive = write_tiny_drive(tmp_path / "drive", 6, cameras="a")  # the detector's car is elsewhere
    sweep = Sweep(drive, list_settings(config, ["threshold=20"]), tmp_path / "runs")
    sweep.run(lambda *_: None)
    with pytest.raises(SourceError, match="next to no vehicles and people"):
        sweep.weigh(Limits(), lambda _: None)


def test_a_camera_that_is_not_there(config: EvalConfig, tmp_path: Path) -> None:
    drive = unlabelled(tmp_path / "drive")
    with pytest.raises(SourceError, match="no camera 'z'"):
        Sweep(drive, list_settings(config, ["threshold=20"]), tmp_path / "runs", ("z",))


def test_the_picture_names_the_front_and_marks_the_choice() -> None:
    svg, png = draw_front(tuning(tried(2, 3.0), tried(3, 0.4), tried(6, 2.5)))
    text = svg.decode()
    for word in ("2 · 30", "3 · 30", "dense", "recommended", "most allowed", "threshold · max_age"):
        assert word in text
    assert "6 · 30" not in text, "beaten by another: no name"
    assert png.startswith(b"\x89PNG")
    assert draw_front(tuning(tried(2, 3.0), tried(3, 0.4), tried(6, 2.5)))[0] == svg


def test_a_sweep_of_dense_alone_has_a_picture() -> None:
    assert draw_front(tuning())[1]
