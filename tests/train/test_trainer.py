from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import typer
from train import tiny_run
from train.tiny_run import ARCH, SilentTeacher, make_config
from typer.testing import CliRunner

from streamvis.cli.train import train
from streamvis.encode.weights import load_bundle
from streamvis.errors import ConfigError, OutputError, WeightsError
from streamvis.train import batches
from streamvis.train.batches import Batch
from streamvis.train.config import DataConfig, TrainConfig
from streamvis.train.teacher import Teacher
from streamvis.train.trainer import MAX_SKIPPED, Trainer, checkpoint_path, learning_rate
from streamvis.types import CLASSES


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


@pytest.fixture(autouse=True)
def silent_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "Teacher", SilentTeacher)


def ignore(_: int, __: dict[str, float]) -> None:
    pass


def test_a_run_logs_and_writes_weights(tmp_path: Path, data: Path) -> None:
    config = make_config(tmp_path / "a", data)
    seen: list[int] = []
    weights = Trainer(config, ARCH).run(lambda views, _: seen.append(views))
    assert seen == [4, 8, 12, 16]
    lines = (config.out / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["views"] for line in lines] == seen
    bundle = load_bundle(weights)
    assert bundle.manifest.training["views"] == 16
    assert str(tmp_path) not in bundle.manifest.model_dump_json()


def test_a_stopped_run_resumes_to_the_same_weights(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamvis.train.network._MAX_SKIP_WORTH", 2.0)  # many tiles are lost
    whole = make_config(tmp_path / "whole", data)
    Trainer(whole, ARCH).run(ignore)
    cut = make_config(tmp_path / "cut", data)
    first = Trainer(cut, ARCH)

    def stop(views: int, _: dict[str, float]) -> None:
        if views == 8:
            first.save()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.run(stop)
    second = Trainer(cut, ARCH)
    second.resume()
    assert second.views == 8
    torch.rand(7)  # whoever else uses the global generator
    second.run(ignore)
    a, b = (load_bundle(c.out / "sv_tiny.safetensors").model for c in (whole, cut))
    assert a == b


def test_a_run_killed_at_any_moment_resumes_to_the_same_weights(tmp_path: Path, data: Path) -> None:
    """Five starts, four kills: in a step, in the writing of a checkpoint before and after there
    was one, between weights and manifest."""
    moments = ["step:2", "checkpoint:2", "checkpoint:1", "weights:2", "end"]
    command = [sys.executable, tiny_run.__file__, tmp_path / "cut", data, "32", *moments]
    done = subprocess.run(command, check=True, timeout=120, stdout=subprocess.PIPE)
    assert json.loads(done.stdout) == [-signal.SIGKILL] * 4 + [0]
    Trainer(make_config(tmp_path / "whole", data, views=32), ARCH).run(ignore)
    whole, cut = (load_state(tmp_path / name) for name in ("whole", "cut"))
    assert whole["views"] == cut["views"] == 32
    for part in ("network", "average"):
        for name, x in whole[part].items():
            torch.testing.assert_close(cut[part][name], x, msg=lambda text, n=name: f"{n}: {text}")
    load_bundle(tmp_path / "cut/sv_tiny.safetensors")


def load_state(out: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(out / "last.pt", weights_only=True)
    return state


def test_which_tiles_are_lost_depends_on_seed_and_view_only(tmp_path: Path, data: Path) -> None:
    trainer = Trainer(make_config(tmp_path / "a", data), ARCH)
    other = Trainer(make_config(tmp_path / "b", data, seed=1), ARCH)
    first, again, elsewhere = (
        torch.rand(4, generator=t._generator()) for t in (trainer, trainer, other)
    )
    trainer.views += 4
    assert torch.equal(first, again)
    assert not torch.equal(first, elsewhere)
    assert not torch.equal(first, torch.rand(4, generator=trainer._generator()))


def test_the_loss_falls(tmp_path: Path, data: Path) -> None:
    config = make_config(tmp_path / "fall", data, views=160, learning_rate=6e-3)
    rows: list[dict[str, float]] = []
    Trainer(config, ARCH).run(lambda _, values: rows.append(values))
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
    config = make_config(tmp_path / "x", tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="set STREAMVIS_TRAIN_DATA"):
        Trainer(config, ARCH).run(ignore)


def test_nothing_to_resume(tmp_path: Path, data: Path) -> None:
    trainer = Trainer(make_config(tmp_path / "none", data), ARCH)
    with pytest.raises(WeightsError, match="start without --resume"):
        trainer.resume()


def test_average_follows_the_network(tmp_path: Path, data: Path) -> None:
    trainer = Trainer(make_config(tmp_path / "ema", data), ARCH)
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
    config = make_config(tmp_path / "damaged", data)
    config.out.mkdir()
    (config.out / "last.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match="is damaged"):
        Trainer(config, ARCH).resume()


def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path: Path, data: Path) -> None:
    (tmp_path / "file").touch()
    config = make_config(tmp_path / "file/out", data)
    with pytest.raises(OutputError, match="check `out`"):
        Trainer(config, ARCH).run(lambda *_: None)


def test_views_must_fit_the_teacher() -> None:
    teacher = Teacher.__new__(Teacher)
    teacher._session = SimpleNamespace(height=416, width=416)  # type: ignore[assignment]
    teacher.check_view(384)
    with pytest.raises(ConfigError, match="at most 416"):
        teacher.check_view(448)


class Spoiler(Trainer):
    """A trainer whose batches from view `start` to `end` teach nonsense."""

    spoilt = range(0)

    def step(self, batch: Batch) -> Any:
        if self.views in self.spoilt:
            batch = replace(batch, presence=torch.full_like(batch.presence, torch.nan))
        return super().step(batch)


def test_a_step_without_a_finite_loss_is_skipped_and_counted(tmp_path: Path, data: Path) -> None:
    trainer = Spoiler(make_config(tmp_path / "nan", data, views=32), ARCH)
    trainer.spoilt = range(8, 16)
    rows: list[dict[str, float]] = []
    trainer.run(lambda _, values: rows.append(values))
    assert [row["skipped"] for row in rows] == [0, 0, 1, 2, 2, 2, 2, 2]
    state = load_state(tmp_path / "nan")
    assert state["skipped"] == 2
    assert all(x.isfinite().all() for x in state["network"].values())


def test_a_training_that_diverged_stops_and_keeps_the_last_checkpoint(
    tmp_path: Path, data: Path
) -> None:
    views = 8 + 4 * (MAX_SKIPPED + 5)
    trainer = Spoiler(make_config(tmp_path / "nan", data, views=views), ARCH)
    trainer.spoilt = range(8, views)

    def save_twice(views: int, _: dict[str, float]) -> None:
        if views <= 8:
            trainer.save()

    with pytest.raises(WeightsError, match=r"diverged by view 48 .*with --resume and a smaller"):
        trainer.run(save_twice)
    assert load_state(tmp_path / "nan")["views"] == 8
    load_bundle(tmp_path / "nan/sv_tiny.safetensors")


def test_spoilt_statistics_are_never_saved(tmp_path: Path, data: Path) -> None:
    """A norm's running mean may be spoilt by a step that was skipped: losses do not show it."""
    trainer = Trainer(make_config(tmp_path / "a", data), ARCH)
    trainer.save()
    before = checkpoint_path(trainer._config).read_bytes()
    trainer._network.encoder.stem.norm.running_mean[0] = torch.nan
    with pytest.raises(WeightsError, match="no longer numbers"):
        trainer.save()
    assert checkpoint_path(trainer._config).read_bytes() == before


@contextmanager
def disk_of(num_bytes: int) -> Iterator[None]:
    """No file may grow larger: what a full disk does, without filling one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path: Path, data: Path) -> None:
    config = make_config(tmp_path / "full", data)
    trainer = Trainer(config, ARCH)
    trainer.save()
    files = {path.name: path.read_bytes() for path in config.out.iterdir()}
    assert set(files) == {"last.pt", "sv_tiny.safetensors", "sv_tiny.json"}
    trainer.views = 4
    with disk_of(10_000), pytest.raises(OutputError, match=r"last\.pt: the disk is full"):
        trainer.save()
    assert {path.name: path.read_bytes() for path in config.out.iterdir()} == files
    with disk_of(len(files["last.pt"]) // 1000), pytest.raises(OutputError, match="disk is full"):
        trainer.run(ignore)
    Trainer(config, ARCH).resume()


def test_a_full_disk_at_the_weights_leaves_the_old_pair(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(tmp_path / "full", data)
    trainer = Trainer(config, ARCH)
    trainer.save()
    before = load_bundle(config.out / "sv_tiny.safetensors").model
    with torch.no_grad():
        trainer._average.network.encoder.stem.conv.weight += 1
    limit = len((config.out / "sv_tiny.safetensors").read_bytes()) - 1
    monkeypatch.setattr("streamvis.train.trainer.write_file", lambda *_: None)  # it has the space
    with (
        disk_of(limit),
        pytest.raises(OutputError, match=r"sv_tiny\.safetensors: the disk is full"),
    ):
        trainer.save()
    assert load_bundle(config.out / "sv_tiny.safetensors").model == before
    assert not (config.out / ".export").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_checkpoint_is_told(tmp_path: Path, data: Path, share: float) -> None:
    config = make_config(tmp_path / "cut", data)
    Trainer(config, ARCH).save()
    path = checkpoint_path(config)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(WeightsError, match="is damaged; start without --resume"):
        Trainer(config, ARCH).resume()


def test_something_else_in_place_of_a_checkpoint_is_told(tmp_path: Path, data: Path) -> None:
    config = make_config(tmp_path / "else", data)
    config.out.mkdir()
    torch.save({"network": {}}, checkpoint_path(config))
    with pytest.raises(WeightsError, match="is damaged"):
        Trainer(config, ARCH).resume()


@pytest.mark.parametrize("other", [{"num_mixers": 2}, {"channels": (8, 8, 24)}])
def test_a_checkpoint_of_another_architecture_is_told(
    tmp_path: Path, data: Path, other: dict[str, Any]
) -> None:
    config = make_config(tmp_path / "arch", data)
    Trainer(config, replace(ARCH, **other)).save()
    with pytest.raises(WeightsError, match=r"of another architecture \(.*\); start without"):
        Trainer(config, ARCH).resume()


def test_no_picture_at_all(tmp_path: Path, data: Path) -> None:
    for path in (data / "images").iterdir():
        path.write_bytes(b"not a picture")
    with pytest.raises(ConfigError, match="no picture was found"):
        Trainer(make_config(tmp_path / "x", data), ARCH).run(ignore)
