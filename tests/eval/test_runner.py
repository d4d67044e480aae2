"""Contenders over a small drive: in turns, kept, resumed, disturbed."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from tiny_drive import tiny_config, tiny_peer, write_tiny_drive, write_tiny_yolox

from streamvis.errors import WeightsError
from streamvis.eval.config import EvalConfig
from streamvis.eval.contenders import Run, digest, list_runs
from streamvis.eval.rounds import Footage
from streamvis.eval.runner import Contender, RunRecord, run_all
from streamvis.eval.shards import RunLog
from streamvis.eval.stepper import Stepper

TIMES = ("encode_ns", "detect_ns", "latency_ns", "service_ns")


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    return Footage(write_tiny_drive(tmp_path_factory.mktemp("drive")), ("a", "b"))


def run_configs(
    footage: Footage, out: Path, *configs: EvalConfig, probes: tuple[str, ...] = ()
) -> list[RunRecord]:
    contenders = [Contender(run, footage, out) for run in list_runs(configs, probes)]
    return run_all(contenders, footage, lambda *_: None)


def assert_same(one: RunLog, other: RunLog) -> None:
    """But for the times."""
    for field in fields(RunLog):
        if field.name not in TIMES:
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_every_frame_of_every_camera_is_there(footage: Footage, tmp_path: Path) -> None:
    (record,) = run_configs(footage, tmp_path, tiny_config())
    assert record.log.rounds == [[("a", i), ("b", i)] for i in range(50)]
    assert record.log.encoded.shape == (100, 1, 2)
    assert record.log.encoded.all()
    assert record.resumed_rounds == ()
    np.testing.assert_allclose(np.linalg.norm(record.log.embedding, axis=1), 1, atol=1e-3)
    assert np.all(record.log.latency_ns > record.log.encode_ns + record.log.detect_ns)
    assert record.log.score.min() < tiny_config().detector.score  # weak ones are kept


def test_a_killed_run_goes_on_and_ends_the_same(
    footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, steps = tiny_config(), 0
    (whole,) = run_configs(footage, tmp_path / "whole", config)
    step = Stepper.step

    def killed(self: Stepper, frames: list) -> object:
        nonlocal steps
        steps += 1
        if steps > 44:  # 20 for counting, 20 of the first turn, 4 of the second
            raise KeyboardInterrupt
        return step(self, frames)

    with monkeypatch.context() as patched:
        patched.setattr(Stepper, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            run_configs(footage, tmp_path / "killed", config)
    assert len(list((tmp_path / "killed").rglob("*.npz"))) == 1
    resumed = Contender(list_runs([config], [])[0], footage, tmp_path / "killed")
    assert resumed.num_frames == 40
    (record,) = run_all([resumed], footage, lambda *_: None)
    assert_same(record.log, whole.log)
    assert record.resumed_rounds == (20,)
    assert len(record.sessions) == 2


def test_what_is_complete_is_not_run_again(
    footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = run_configs(footage, tmp_path, tiny_config())
    monkeypatch.setattr("streamvis.eval.runner.Models.load", None)
    (again,) = run_configs(footage, tmp_path, tiny_config())
    assert_same(first.log, again.log)
    np.testing.assert_array_equal(first.log.service_ns, again.log.service_ns)
    (run,) = list_runs([tiny_config()], [])
    assert Contender(run, footage, tmp_path, is_fresh=True).num_turns == 0


def test_a_probe_disturbs_the_pictures_and_names_its_reference(
    footage: Footage, tmp_path: Path
) -> None:
    plain, dark = run_configs(footage, tmp_path, tiny_config(), probes=("night",))
    assert (dark.run.name, dark.run.reference) == ("tiny+night", "tiny")
    assert np.abs(plain.log.embedding - dark.log.embedding).max() > 0.05


def test_a_detector_without_an_encoder(footage: Footage, tmp_path: Path) -> None:
    config = tiny_peer(write_tiny_yolox(tmp_path / "tiny.onnx"))
    ours, peer = run_configs(footage, tmp_path, tiny_config(), config)
    assert peer.log.embedding.shape == (100, 0)
    assert peer.facts.model.name == "onnx/tiny"
    assert peer.gflops_per_frame == pytest.approx(2 * 4 * 32 * 32 * 27 / 1e9)
    assert ours.log.keys == peer.log.keys
    assert set(peer.log.class_id.tolist()) == {2}


def test_a_busy_machine_is_noted(
    footage: Footage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (99.0, 1.0, 1.0))
    (record,) = run_configs(replace(footage, max_frames=2), tmp_path, tiny_config())
    assert record.facts.load_average == 99


def test_a_missing_model_is_found_before_the_run(footage: Footage, tmp_path: Path) -> None:
    config = tiny_peer(tmp_path / "gone.onnx")
    with pytest.raises(WeightsError, match="no such model file"):
        run_configs(footage, tmp_path / "out", config)
    assert not (tmp_path / "out").exists()


def reusing(name: str, threshold: float = 12.0, **keys: object) -> EvalConfig:
    tiling = {"policy": "threshold", "threshold": threshold}
    return EvalConfig.model_validate({"name": name, "tiling": tiling, **keys})


def test_configs_that_reuse_tiles_share_a_dense_twin() -> None:
    runs = {run.name: run for run in list_runs([reusing("one"), reusing("two", 30)], ["fade"])}
    assert list(runs) == [
        *("one", "one@dense", "two"),
        *("one+fade", "one@dense+fade", "two+fade"),
    ]
    assert runs["one@dense"].config.is_dense
    assert runs["one"].reference == runs["two"].reference == "one@dense"
    assert runs["one+fade"].reference == "one"
    assert runs["one@dense"].reference is None


def test_a_dense_config_of_the_same_models_is_the_twin() -> None:
    other = reusing("other", encoder={"input_size": (128, 64)})
    configs = [reusing("reuse"), EvalConfig(name="dense"), other]
    runs = {run.name: run for run in list_runs(configs, [])}
    assert list(runs) == ["reuse", "dense", "other", "other@dense"]
    assert runs["reuse"].reference == "dense"
    assert runs["other"].reference == "other@dense"


def test_the_digest_knows_what_shards_depend_on(footage: Footage, tmp_path: Path) -> None:
    config = tiny_config()
    run = Run("tiny", config, None, None)
    fewer = replace(footage, max_frames=3)
    copied = write_tiny_drive(tmp_path / "copy")
    weights = tmp_path / "own.safetensors"
    weights.write_bytes(b"1")
    own = replace(
        run, config=tiny_config(encoder={"weights": weights, "input_size": (128, 64), "threads": 1})
    )
    digests = [
        digest(run, footage),
        digest(run, fewer),
        digest(run, replace(footage, cameras=("a",))),
        digest(run, replace(footage, folder=copied)),
        digest(replace(run, probe="fade"), footage),
        digest(replace(run, config=tiny_config(detector={"nms_iou": 0.6})), footage),
        digest(own, footage),
    ]
    weights.write_bytes(b"2")
    digests.append(digest(own, footage))
    assert len(set(digests)) == len(digests)
    assert digest(run, footage) == digests[0]
    # Tracks and labels come afterwards: other settings of theirs use the same shards.
    other = replace(run, config=tiny_config(tracker={"min_hits": 3}))
    labels = footage.folder / "labels.json"
    labels.write_text(json.dumps(json.loads(labels.read_text()), indent=1))
    assert digest(other, footage) == digests[0]
