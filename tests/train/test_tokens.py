"""The tokens' training: what it learns from, that it learns, and what it leaves behind."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import REPO

from streamvis.config.load import load_config
from streamvis.encode.config import EncoderConfig
from streamvis.encode.encoder import build_encoder
from streamvis.encode.sv_tiny import SvTinyArch
from streamvis.encode.tokenizer import TokenReader
from streamvis.encode.weights import load_bundle
from streamvis.errors import ConfigError
from streamvis.train.second_stage import fit
from streamvis.train.tokens import Learner, TokensConfig, _paint, _shake, train_tokens
from streamvis.train.views import View
from streamvis.types import CLASSES

SIDE = 128


def write_pictures(folder: Path, count: int = 3) -> Path:
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, boxes = [], []
    for i in range(count):
        picture = rng.integers(0, 256, (8, 8, 3), np.uint8).repeat(24, 0).repeat(24, 1)
        cv2.imwrite(str(folder / f"images/{i}.png"), picture)
        about = {"id": i, "file_name": f"{i}.png", "source": "s", "labelled": ["car"]}
        images.append({**about, "width": 192, "height": 192})
        boxes.append({"id": i, "image_id": i, "category_id": 3, "bbox": [40, 40, 80, 60]})
    data = {
        "images": images,
        "annotations": boxes,
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)],
    }
    (folder / "annotations.json").write_text(json.dumps(data))
    return folder


def config(folder: Path, weights: Path, **keys: object) -> TokensConfig:
    values = {
        "out": folder / "out",
        "weights": weights,
        "data": [{"coco": write_pictures(folder / "data")}],
        "input_size": (SIDE, SIDE),
        "views": 4,
        "batch": 2,
        "steps": 4,
        "log_every": 2,
        "num_codes": 8,
        **keys,
    }
    return TokensConfig.model_validate(values)


def quiet(step: int, values: dict[str, float]) -> None:
    del step, values


def test_training_adds_a_part_that_reads_tokens(untrained_weights, tmp_path):
    steps = []
    path = train_tokens(config(tmp_path, untrained_weights), lambda step, _: steps.append(step))
    assert steps == [2, 4]
    encoder = build_encoder(EncoderConfig(weights=path, input_size=(SIDE, SIDE), threads=1))
    features = encoder.encode_full(torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8))
    (tokens,) = TokenReader(encoder).read(features)
    assert tokens.num_codes == 8
    old, new = load_bundle(untrained_weights).tensors, load_bundle(path).tensors
    assert all(torch.equal(new[name], tensor) for name, tensor in old.items())
    assert new["tokens.codebook"].norm(dim=1) == pytest.approx(torch.ones(8), abs=1e-3)


def test_the_same_seed_gives_the_same_part(untrained_weights, tmp_path):
    one = train_tokens(config(tmp_path / "a", untrained_weights), quiet)
    other = train_tokens(config(tmp_path / "b", untrained_weights), quiet)
    a, b = load_bundle(one).tensors, load_bundle(other).tensors
    for name in a:
        torch.testing.assert_close(a[name], b[name], msg=name)


def test_the_loss_falls(untrained_weights, tmp_path):
    """On two kinds of cells, which slots can tell apart."""
    torch.manual_seed(0)
    settings = config(tmp_path, untrained_weights, steps=40, log_every=1, learning_rate=1e-2)
    learner = Learner(SvTinyArch(), settings)
    kinds = torch.randn(2, learner.tokenizer.read.in_features)
    halves = (torch.arange(8) < 4).long()
    cells = kinds[halves].expand(4, 2, 8, 8, -1).contiguous()
    present = torch.zeros(4, 2, 8, 8, len(CLASSES), dtype=torch.bool)
    present[..., 4:, 2] = True
    learner.begin_with(cells)
    seen: list[dict[str, float]] = []
    known = torch.ones_like(present)
    fit(
        learner,
        lambda _: learner.losses(cells, present, known),
        settings,
        lambda _, v: seen.append(v),
    )
    for term in ("features", "classes"):
        assert seen[-1][term] < 0.6 * seen[0][term], seen


def test_cells_under_a_box_have_its_class_and_a_small_box_has_one():
    boxes = np.array([[16, 32, 64, 64], [100, 100, 103, 103]], np.float32)
    view = View(
        np.zeros((SIDE, SIDE, 3), np.uint8),
        boxes,
        np.array([2, 0]),
        np.ones((16, 16, len(CLASSES)), bool),
        np.zeros((16, 16), bool),
    )
    present = _paint(view, boxes)
    assert present[2:4, 1:4, 2].all()
    assert present[..., 2].sum() == 6
    assert present[..., 0].sum() == 1
    assert present[6, 6, 0]


def test_points_move_with_the_shaken_picture():
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[60:68, 80:88] = 255
    shaken, move = _shake(image, np.random.default_rng(3))
    y, x = (axis.mean() for axis in np.nonzero(shaken.mean(2) > 128))
    want = move @ (83.5, 63.5, 1)
    assert (x, y) == pytest.approx(tuple(want), abs=1.0)


def test_the_shipped_config_is_valid():
    settings = load_config(REPO / "configs/train/tokens.yaml", TokensConfig)
    paths = [str(entry.coco or entry.drive or entry.video) for entry in settings.data]
    test_only = ("pandaset", "dgp_frames", "tollroad_day")
    assert not any(name in path for path in paths for name in test_only)


def test_views_must_be_square(untrained_weights, tmp_path):
    with pytest.raises(ConfigError, match="square, got 192x128"):
        train_tokens(config(tmp_path, untrained_weights, input_size=(192, 128)), quiet)


def test_a_missing_library_says_what_to_install(untrained_weights, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vector_quantize_pytorch", None)
    with pytest.raises(ConfigError, match=r"needs vector-quantize-pytorch; install it"):
        train_tokens(config(tmp_path, untrained_weights), quiet)
