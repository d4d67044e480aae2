"""The second stage for embeddings: what counts as the same, the loss, and a whole short run."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tiny_drive import write_tiny_drive
from typer.testing import CliRunner

from streamvis.cli.app import app
from streamvis.encode.config import EncoderConfig
from streamvis.encode.embedder import EmbeddingReader
from streamvis.encode.encoder import build_encoder
from streamvis.encode.weights import load_bundle
from streamvis.errors import ConfigError, OutputError, WeightsError
from streamvis.train import embed
from streamvis.train.embed import EmbedConfig, contrast, train_embedder
from streamvis.train.second_stage import StageConfig, fit
from streamvis.train.shots import SceneConfig, Shot, alter, load_shots, number

SIZE = (256, 192)


class SilentTeacher:
    def __init__(self, _: Path) -> None:
        pass

    def look(self, image: Any) -> Any:
        del image
        return SimpleNamespace(presence=np.zeros(80, np.float32))


@pytest.fixture(autouse=True)
def silent_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "Teacher", SilentTeacher)


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_drive(tmp_path_factory.mktemp("embed") / "drive")


def make_config(tmp_path: Path, weights: Path, drive: Path, **changes: Any) -> EmbedConfig:
    values: dict[str, Any] = {
        "out": tmp_path / "out",
        "weights": weights,
        "input_size": SIZE,
        "data": [SceneConfig(drive=drive, every=5)],
        "teacher": tmp_path / "teacher.onnx",
        "steps": 40,
        "log_every": 10,
    }
    return EmbedConfig(**{**values, **changes})


def make_shot(boxes: list[list[float]]) -> Shot:
    image = np.full((192, 256, 3), 100, np.uint8)
    for x0, y0, x1, y1 in np.array(boxes).astype(int):
        image[y0:y1, x0:x1] = 250
    things = tuple(range(len(boxes)))
    return Shot(image, np.array(boxes, np.float32), things, "place", 0.0, "series")


# ---------------------------------------------------------------- the data


def test_shots_of_a_drive_know_their_objects_again(drive: Path) -> None:
    shots = list(load_shots([SceneConfig(drive=drive, every=2)], SIZE, Path()))
    assert len({shot.series for shot in shots}) == 2
    first, second = shots[:2]
    assert first.things == second.things
    assert first.place == second.place
    assert second.t_s - first.t_s == pytest.approx(0.2)
    np.testing.assert_allclose(second.xyxy[0] - first.xyxy[0], [16, 0, 16, 0], atol=1e-4)
    assert all((s.xyxy[:, 2:] - s.xyxy[:, :2]).min(initial=99) >= 10 for s in shots)


def test_an_altered_look_keeps_its_boxes_on_their_objects() -> None:
    shot = make_shot([[100, 60, 150, 110]])
    for seed in range(20):
        other = alter(shot, np.random.default_rng(seed))
        assert other.things == (0,)
        bright = cv2.cvtColor(other.image, cv2.COLOR_RGB2GRAY) > 160
        y, x = np.nonzero(cv2.medianBlur(bright.astype(np.uint8), 5))
        seen = [x.min(), y.min(), x.max() + 1, y.max() + 1]
        np.testing.assert_allclose(other.xyxy[0], seen, atol=3)


def test_what_the_altered_look_cuts_off_is_gone() -> None:
    shot = make_shot([[0, 60, 30, 110], [226, 60, 256, 110]])
    counts = [len(alter(shot, np.random.default_rng(seed), 0.5).things) for seed in range(20)]
    assert min(counts) < 2
    assert all(
        len(look.things) == len(look.xyxy)
        for look in (alter(shot, np.random.default_rng(seed), 0.5) for seed in range(20))
    )


def test_a_missing_video_is_named(tmp_path: Path) -> None:
    scene = SceneConfig(drive=tmp_path / "none")
    with pytest.raises(Exception, match="none"):
        list(load_shots([scene], SIZE, Path()))


def test_numbers_in_order_of_appearance() -> None:
    assert number(["b", "a", "b", ("c", 1)]).tolist() == [0, 1, 0, 2]


# ---------------------------------------------------------------- the loss


def test_contrast_is_small_where_partners_lie_together() -> None:
    apart = torch.eye(4)
    nothing = torch.zeros(8, 8, dtype=torch.bool)
    good = contrast(torch.cat([apart, apart]), nothing)
    bad = contrast(torch.cat([apart, apart.roll(1, 0)]), nothing)
    assert good < 0.01 < 5 < bad


def test_what_may_be_the_same_is_no_negative() -> None:
    """Two pairs of one place: each other's rows are equal, and that costs nothing."""
    same = torch.tensor([[1.0, 0.0]]).repeat(4, 1)
    assert contrast(same, torch.ones(4, 4, dtype=torch.bool)) == pytest.approx(0)
    assert contrast(same, torch.zeros(4, 4, dtype=torch.bool)) == pytest.approx(np.log(3), abs=1e-4)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    part = torch.nn.Linear(1, 1)
    with pytest.raises(WeightsError, match="step 0: the loss is nan"):
        fit(
            part,
            lambda _: {"x": part.weight.sum() * torch.nan},
            StageConfig(out=tmp_path),
            lambda *_: None,
        )


# ---------------------------------------------------------------- the whole


def test_a_run_adds_a_part_that_a_pipeline_can_load(
    tmp_path: Path, untrained_weights: Path, drive: Path
) -> None:
    config = make_config(tmp_path, untrained_weights, drive)
    seen: list[tuple[int, dict[str, float]]] = []
    path = train_embedder(config, lambda step, values: seen.append((step, values)))
    assert [step for step, _ in seen] == [10, 20, 30, 40]
    assert seen[-1][1]["presence"] < 0.8 * seen[0][1]["presence"]
    assert set(seen[0][1]) == {"frame", "pyramid", "presence", "object", "clip"}
    rows = [json.loads(line) for line in (tmp_path / "out/log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [10, 20, 30, 40]
    bundle = load_bundle(path)
    assert bundle.manifest.training["embed"]["steps"] == 40
    assert str(tmp_path) not in path.with_suffix(".json").read_text(), "nothing of the machine"
    encoder = build_encoder(EncoderConfig(weights=path, input_size=SIZE, threads=1))
    assert EmbeddingReader(encoder).makes_clips


def test_the_seed_gives_the_same_part_again(
    tmp_path: Path, untrained_weights: Path, drive: Path
) -> None:
    tensors = []
    for name in ("a", "b"):
        config = make_config(tmp_path, untrained_weights, drive, steps=3, out=tmp_path / name)
        tensors.append(load_bundle(train_embedder(config, lambda *_: None)).tensors)
    for name, tensor in tensors[0].items():
        torch.testing.assert_close(tensors[1][name], tensor)


def test_pictures_of_nothing_are_refused(
    tmp_path: Path, untrained_weights: Path, drive: Path
) -> None:
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    cv2.imwrite(str(folder / "images/0.png"), np.zeros((64, 64, 3), np.uint8))
    image = {"id": 1, "file_name": "0.png", "source": "x", "labelled": [], "width": 64}
    text = json.dumps({"categories": [], "annotations": [], "images": [{**image, "height": 64}]})
    (folder / "annotations.json").write_text(text)
    config = make_config(tmp_path, untrained_weights, drive, data=[SceneConfig(coco=folder)])
    with pytest.raises(ConfigError, match="nothing in it is seen twice"):
        train_embedder(config, lambda *_: None)


def test_an_out_that_cannot_be_written_is_told(
    tmp_path: Path, untrained_weights: Path, drive: Path
) -> None:
    (tmp_path / "file").write_text("")
    config = make_config(tmp_path, untrained_weights, drive, out=tmp_path / "file", steps=1)
    with pytest.raises(OutputError, match="check `out`"):
        train_embedder(config, lambda *_: None)


def test_the_command_line_chooses_the_stage(
    tmp_path: Path, untrained_weights: Path, drive: Path
) -> None:
    text = make_config(tmp_path, untrained_weights, drive, steps=2).model_dump_json()
    path = tmp_path / "embed.yaml"
    path.write_text(text)
    done = CliRunner().invoke(app, ["train", str(path)])
    assert done.exit_code == 0, done.output
    assert load_bundle(tmp_path / "out/sv_tiny.safetensors").has("embed")


def test_an_unknown_stage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("stage: embedd\n")
    done = CliRunner().invoke(app, ["train", str(path)])
    assert isinstance(done.exception, ConfigError)
    assert "stage" in str(done.exception)
