"""The figures for Prometheus, without a socket."""

from __future__ import annotations

from session_twin import LOST, TwinSession

from streamvis.serve.metrics import Metrics


def test_a_counter_never_sinks_though_a_frame_that_was_given_up_comes_after_all(monkeypatch):
    metrics = Metrics(TwinSession())
    line = 'streamvis_lost_frames_total{camera="a",stage="policy"} 2.0'
    assert line in metrics.text().decode()
    monkeypatch.setitem(LOST, "policy", 1)
    monkeypatch.setitem(LOST, "infer", 1)
    assert line in metrics.text().decode()


def test_of_a_removed_camera_nothing_is_told():
    session = TwinSession()
    metrics = Metrics(session)
    assert 'camera="a"' in metrics.text().decode()
    session.state = "removed"
    assert 'camera="a"' not in metrics.text().decode()
