import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from streamvis.cli.train import train
from streamvis.encode.weights import load_bundle
from streamvis.errors import ConfigError, OutputError, WeightsError
from streamvis.train import batches
from streamvis.train.config import DataConfig, TrainConfig, ViewConfig
from streamvis.train.teacher import Opinion, Teacher
from streamvis.train.trainer import Trainer, learning_rate
from streamvis.types import CLASSES

VIEW = ViewConfig(size=64, mosaic=0.0, scale=(0.9, 1.1))


class SilentTeacher:
    """Sees nothing, anywhere."""

    def __init__(self, _: Path) -> None:
        pass

    def check_view(self, side_px: int) -> None:
        pass

    def look(self, image: Any) -> Opinion:
        cells = sum((image.shape[0] // s) ** 2 for s in (8, 16, 32))
        boxes = np.tile(np.array([0, 0, 8, 8], np.float32), (cells, 1))
        return Opinion(boxes, np.zeros((cells, 8), np.float32), np.zeros(80, np.float32))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two pictures of a white car on black."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for i in range(2):
        picture = np.zeros((64, 64, 3), np.uint8)
        picture[20:40, 16 + 8 * i : 48 + 8 * i] = 255
        cv2.imwrite(str(folder / f"images/{i}.png"), picture)
        row = {"id": i, "file_name": f"{i}.png", "source": "made", "labelled": list(CLASSES)}
        images.append({**row, "width": 64, "height": 64})
        xywh = [16 + 8 * i, 20, 32, 20]
        annotations.append({"id": i, "image_id": i, "category_id": 3, "bbox": xywh, "iscrowd": 0})
    categories = [{"id": n + 1, "name": name} for n, name in enumerate(CLASSES)]
    text = json.dumps({"categories": categories, "images": images, "annotations": annotations})
    (folder / "annotations.json").write_text(text)
    return folder


def make_config(tmp_path: Path, data: Path, name: str, **changes: Any) -> TrainConfig:
    values: dict[str, Any] = {
        "out": tmp_path / name,
        "data": [DataConfig(coco=data)],
        "teacher": tmp_path / "teacher.onnx",
        "view": VIEW,
        "views": 16,
        "batch": 4,
        "warmup_views": 4,
        "workers": 0,
        "threads": 1,
        "log_every": 1,
    }
    return TrainConfig(**{**values, **changes})


@pytest.fixture(autouse=True)
def silent_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "Teacher", SilentTeacher)


def ignore(_: int, __: dict[str, float]) -> None:
    pass


def test_a_run_logs_and_writes_weights(tmp_path: Path, data: Path) -> None:
    config = make_config(tmp_path, data, "a")
    seen: list[int] = []
    weights = Trainer(config).run(lambda views, _: seen.append(views))
    assert seen == [4, 8, 12, 16]
    lines = (config.out / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["views"] for line in lines] == seen
    bundle = load_bundle(weights)
    assert bundle.manifest.training["views"] == 16
    assert str(tmp_path) not in bundle.manifest.model_dump_json()


def test_a_stopped_run_resumes_to_the_same_weights(tmp_path: Path, data: Path) -> None:
    whole = make_config(tmp_path, data, "whole")
    Trainer(whole).run(ignore)
    cut = make_config(tmp_path, data, "cut")
    first = Trainer(cut)

    def stop(views: int, _: dict[str, float]) -> None:
        if views == 8:
            first.save()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.run(stop)
    second = Trainer(cut)
    second.resume()
    assert second.views == 8
    second.run(ignore)
    a, b = (load_bundle(c.out / "sv_tiny.safetensors").model for c in (whole, cut))
    assert a == b


def test_the_loss_falls(tmp_path: Path, data: Path) -> None:
    config = make_config(tmp_path, data, "fall", views=120, batch=4, warmup_views=8)
    rows: list[dict[str, float]] = []
    Trainer(config).run(lambda _, values: rows.append(values))
    early, late = (np.mean([r["box"] for r in part]) for part in (rows[:5], rows[-5:]))
    assert late < 0.7 * early


def test_schedule() -> None:
    config = TrainConfig(
        out=Path("x"), data=[DataConfig(video=Path("v"))], teacher=Path("t"),
        views=100_000, warmup_views=4_000, learning_rate=1.0, batch=16,
    )  # fmt: skip
    assert learning_rate(0, config) < 0.01
    assert learning_rate(4_000, config) == pytest.approx(1.0)
    assert learning_rate(100_000, config) == pytest.approx(0.02)
    rates = [learning_rate(v, config) for v in range(4_000, 100_000, 1_000)]
    assert rates == sorted(rates, reverse=True)


def test_missing_data_says_what_to_set(tmp_path: Path) -> None:
    config = make_config(tmp_path, tmp_path / "nowhere", "x")
    with pytest.raises(ConfigError, match="set STREAMVIS_TRAIN_DATA"):
        Trainer(config).run(ignore)


def test_nothing_to_resume(tmp_path: Path, data: Path) -> None:
    trainer = Trainer(make_config(tmp_path, data, "none"))
    with pytest.raises(WeightsError, match="start without --resume"):
        trainer.resume()


def test_average_follows_the_network(tmp_path: Path, data: Path) -> None:
    trainer = Trainer(make_config(tmp_path, data, "ema"))
    before = trainer._average.network.encoder.context.embed.weight.clone()
    with torch.no_grad():
        trainer._network.encoder.context.embed.weight += 1
    trainer._average.update(trainer._network, step=0)
    moved = trainer._average.network.encoder.context.embed.weight - before
    torch.testing.assert_close(moved, torch.full_like(moved, 0.9))


def test_the_command(tmp_path: Path, data: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(
        f"out: run\ndata: [{{coco: {data.name}}}]\nteacher: none.onnx\n"
        "view: {size: 64}\nviews: 4\nbatch: 4\nworkers: 0\nthreads: 1\n"
    )
    app = typer.Typer()
    app.command()(train)
    first = CliRunner().invoke(app, [str(path)])
    assert first.exit_code == 0, first.output
    assert (tmp_path / "run/sv_tiny.safetensors").exists()
    again = CliRunner().invoke(app, [str(path), "--resume", "--set", "views=8"])
    assert again.exit_code == 0, again.output
    assert load_bundle(tmp_path / "run/sv_tiny.safetensors").manifest.training["views"] == 8


def test_a_damaged_checkpoint_is_told(tmp_path: Path, data: Path) -> None:
    config = make_config(tmp_path, data, "damaged")
    config.out.mkdir()
    (config.out / "last.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match="is damaged"):
        Trainer(config).resume()


def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path: Path, data: Path) -> None:
    (tmp_path / "file").touch()
    config = make_config(tmp_path, data, "file/out")
    with pytest.raises(OutputError, match="check `out`"):
        Trainer(config).run(lambda *_: None)


def test_views_must_fit_the_teacher() -> None:
    teacher = Teacher.__new__(Teacher)
    teacher._session = SimpleNamespace(height=416, width=416)  # type: ignore[assignment]
    teacher.check_view(384)
    with pytest.raises(ConfigError, match="at most 416"):
        teacher.check_view(448)
