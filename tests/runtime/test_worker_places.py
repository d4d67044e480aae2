"""Where a worker is put, and how long one may take to open."""

from __future__ import annotations

import pickle
import socket

import pytest
from supervised import config

from streamvis.runtime import ray_workers
from streamvis.runtime.engine import Hops
from streamvis.runtime.ray_calls import Calls
from streamvis.runtime.ray_workers import Workers
from streamvis.source.config import SourceConfig


def node(name: str, port: int) -> dict[str, object]:
    return {
        "NodeID": name,
        "NodeManagerAddress": "127.0.0.1",
        "NodeManagerPort": port,
        "Alive": True,
    }


class TwinRay:
    """What Workers asks of Ray while it chooses a node."""

    def __init__(self, nodes: list[dict[str, object]]) -> None:
        self._nodes = nodes

    def get_runtime_context(self) -> TwinRay:
        return self

    def get_node_id(self) -> str:
        return "own"

    def nodes(self) -> list[dict[str, object]]:
        return self._nodes


def test_a_node_that_ray_takes_for_alive_and_that_answers_nobody_gets_no_worker(
    tmp_path, monkeypatch
):
    made = config(tmp_path, workers=2, spread=True)
    with socket.create_server(("127.0.0.1", 0)) as living, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        own = node("own", living.getsockname()[1])
        lost = node("a-lost-one", closed.getsockname()[1])
        workers = Workers(made, Hops("", tmp_path), Calls(), lambda *_: None)
        workers._places[0].worker = ray_workers._Worker(actor=None, began_s=0.0, node="own")
        monkeypatch.setattr(ray_workers, "ray", TwinRay([own, lost]))
        assert workers._emptiest_node() == "own"
        closed.listen()
        assert workers._emptiest_node() == "a-lost-one", "it has none yet"


def test_while_no_node_answers_a_worker_is_tried_here(tmp_path, monkeypatch):
    made = config(tmp_path, workers=2, spread=True)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        workers = Workers(made, Hops("", tmp_path), Calls(), lambda *_: None)
        lost = node("a-lost-one", closed.getsockname()[1])
        monkeypatch.setattr(ray_workers, "ray", TwinRay([lost]))
        assert workers._emptiest_node() == "own"


def test_workers_are_not_told_how_to_log_in_to_a_camera(tmp_path):
    uri = "rtsp://root:s3cr3t@10.0.0.5/cam"
    live = {"options": {"headers": "Authorization: Bearer s3cr3t"}}
    made = config(tmp_path)
    sources = {"a": SourceConfig.model_validate({"uri": uri, "live": live}), **made.sources}
    made = made.model_copy(update={"sources": sources})
    workers = Workers(made, Hops("", tmp_path), Calls(), lambda *_: None)
    assert b"s3cr3t" not in pickle.dumps(workers._config)
    assert list(workers._config.sources) == list(sources)


@pytest.mark.parametrize(("slowest_s", "patience_s"), [(1.0, 30.0), (20.0, 80.0)])
def test_a_replacement_that_does_not_open_is_replaced_after_a_patience(
    slowest_s, patience_s, tmp_path, monkeypatch
):
    workers = Workers(config(tmp_path), Hops("", tmp_path), Calls(), lambda *_: None)
    killed = []
    monkeypatch.setattr(ray_workers.ray, "kill", killed.append)
    workers._has_begun, workers._slowest_s = True, slowest_s
    place = workers._places[0]
    place.worker = ray_workers._Worker(actor="stuck", began_s=100.0)
    workers.tick(100.0 + patience_s - 0.1)
    assert killed == []
    workers.tick(100.0 + patience_s + 0.1)
    assert killed == ["stuck"]
    assert (place.worker, place.num_deaths) == (None, 1)
