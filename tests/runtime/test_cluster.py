"""Two Ray nodes on this machine: workers on both, and one node is lost in mid-run."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

import pytest
import ray
from matrix import contract
from ray.cluster_utils import Cluster
from running import check_books, running
from supervised import config

NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made
    ray.shutdown()
    made.shutdown()


@contract("node", "ce")
def test_the_cameras_of_a_lost_node_go_on_with_another_worker(cluster, tmp_path, note):
    # An address of its own, or Ray might take it for the session's node.
    second = cluster.add_node(**NODE, node_ip_address="127.0.0.2")
    with running(config(tmp_path, workers=2, spread=True)) as run:
        run.more_results("a")
        run.more_results("b")
        before = {camera: run.results(camera)[0].epoch for camera in "ab"}
        assert before["a"] != before["b"], "a worker each"
        lost_s = monotonic()
        cluster.remove_node(second, allow_graceful=False)
        moved = run.until(
            lambda: [c for c in "ab" if run.results(c)[-1].epoch != before[c]],
            "results of the worker that replaces the lost one",
        )
        recovery_s = monotonic() - lost_s
        run.more_results("a")
        run.more_results("b")
        summary = run.stop()
    note("new results after a lost node", recovery_s, "s")
    assert recovery_s < 15
    assert len(moved) == 1, "the camera on the other node noticed nothing"
    stayed = "a" if moved == ["b"] else "b"
    stayed_results = run.results(stayed)
    assert {message.epoch for message in stayed_results} == {before[stayed]}
    assert [m.seq for m in stayed_results] == list(range(len(stayed_results)))
    assert stayed_results[-1].ledger.lost["infer"] == 0
    first = next(m for m in run.results(moved[0]) if m.epoch != before[moved[0]])
    assert first.packet_kind == "I"
    assert first.ledger.lost["infer"] <= 1, "what the lost worker had in hand"
    assert summary.num_worker_deaths == 1
    assert summary.exit_code == 0
    for camera in "ab":
        check_books(run, summary, camera)
