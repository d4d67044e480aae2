"""How the GPU benchmark counts streams, on a CPU and at a tiny size."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from types import ModuleType

import pytest
import torch
from conftest import REPO
from hypothesis import given
from hypothesis import strategies as st

BENCHMARKS = REPO / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(BENCHMARKS)
        return importlib.import_module("reuse_cuda")


def test_a_round_waits_for_the_one_before(bench: ModuleType) -> None:
    assert bench.latencies_ms([10.0, 10.0]) == [10.0, 10.0]
    spike = bench.latencies_ms([10.0, 60.0, 10.0, 10.0])
    assert spike == pytest.approx([10, 60, 60 - 1e3 / 30 + 10, 10 + max(0, 70 - 2e3 / 30)])


@pytest.mark.parametrize(
    ("service_ms", "holds"),
    [
        ([10.0] * 50, True),
        ([33.0] * 50, True),
        ([34.0] * 50, False),  # late some day, though in 50 rounds by 33 ms only
        ([10.0] * 40 + [120.0] * 10, False),
        ([], False),  # the memory did not suffice
    ],
)
def test_streams_hold_when_the_worker_keeps_up_and_is_in_time(
    bench: ModuleType, service_ms: list[float], holds: bool
) -> None:
    assert bench.Trial(service_ms).holds is holds


@given(st.integers(0, 80), st.integers(1, 100))
def test_the_largest_number_that_holds_is_found(limit: int, most: int) -> None:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        bench = importlib.import_module("reuse_cuda")
    finally:
        sys.path.remove(str(BENCHMARKS))
    tried: list[int] = []

    def holds(count: int) -> bool:
        tried.append(count)
        return count <= limit

    assert bench.most_streams(holds, most) == min(limit, most)
    assert max(tried) <= most
    assert len(tried) == len(set(tried)) <= 14


@pytest.mark.parametrize("name", ["sv_tiny", "vit_tiny_patch16_224"])
@pytest.mark.parametrize("share", [None, 0.5])
def test_a_trial_serves_every_round(bench: ModuleType, name: str, share: float | None) -> None:
    worker = bench.load(name, (128, 64), "cpu")
    trial = bench.attempt(worker, 2, share, rounds=3)
    assert len(trial.service_ms) == 3
    assert min(trial.service_ms) > 0
    assert set(trial.to_dict()) == {"service_p50_ms", "latency_p99_ms"}


def test_reuse_encodes_the_active_tiles_only(bench: ModuleType) -> None:
    stream = bench.Stream(bench.load("sv_tiny", (256, 128), "cpu").encoder, seed=0)
    first, second = stream.update(1.0), stream.update(0.25)
    assert first.is_full
    assert len(second.plan.index) == 2
    where = divmod(int(second.plan.index[1]), 4)
    y, x = (64 * n for n in where)
    assert (second.picture[y : y + 64, x : x + 64] == second.tiles[1]).all()


def test_without_a_gpu_it_says_so_and_measures_nothing(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["reuse_cuda.py"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as stopped:
        bench.main()
    assert stopped.value.code == bench.NO_GPU != 0
    out, err = capsys.readouterr()
    assert "needs a GPU" in err
    assert out == ""


def test_it_runs_from_the_shell_without_av_ray_and_zmq() -> None:
    code = (
        "import sys, reuse_cuda; sys.argv = ['x', '--device', 'cpu', '--models', 'sv_tiny',"
        " '--size', '128', '64', '--rounds', '2', '--most', '1', '--active', '0.5'];"
        " reuse_cuda.main(); print(sorted({'av', 'ray', 'zmq'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    *_, report, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    assert set(json.loads(report)["rows"]["sv_tiny"]) == {"dense", "50%"}
