"""A session's figures for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from streamvis.runtime.ledger import CameraStatus
from streamvis.runtime.session import Session

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Collected when they are asked for: nothing is counted twice."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Called by Prometheus' registry."""
        cameras = self._session.ledger.status(recent=True)
        yield from _frames(cameras)
        yield from _times(cameras)
        yield _states(cameras)
        deaths = CounterMetricFamily(
            "streamvis_worker_deaths", "Encoder workers that died or hung and were replaced"
        )
        deaths.add_metric([], self._session.num_worker_deaths)
        yield deaths


def _frames(cameras: list[CameraStatus]) -> Iterator[Metric]:
    source = CounterMetricFamily(
        "streamvis_source_frames", "Frames the camera had", labels=["camera"]
    )
    published = CounterMetricFamily(
        "streamvis_published_frames", "Frames whose results were published", labels=["camera"]
    )
    lost = CounterMetricFamily(
        "streamvis_lost_frames", "Frames without a result", labels=["camera", "stage"]
    )
    in_flight = GaugeMetricFamily(
        "streamvis_in_flight_frames", "Frames on their way", labels=["camera"]
    )
    for status in cameras:
        ledger = status.ledger
        source.add_metric([status.camera], ledger.source_frames)
        published.add_metric([status.camera], ledger.published)
        in_flight.add_metric([status.camera], ledger.in_flight)
        for stage, count in ledger.lost.items():
            lost.add_metric([status.camera, stage], count)
    yield from (source, published, lost, in_flight)


def _times(cameras: list[CameraStatus]) -> Iterator[Metric]:
    fps = GaugeMetricFamily("streamvis_results_hz", "Results a second, lately", labels=["camera"])
    age = GaugeMetricFamily(
        "streamvis_result_age_seconds", "Age of the newest result, from ingest", labels=["camera"]
    )
    latency = GaugeMetricFamily(
        "streamvis_latency_seconds",
        "From ingest until the result left, lately",
        labels=["camera", "quantile"],
    )
    for status in cameras:
        fps.add_metric([status.camera], status.fps)
        if status.age_ms is not None:
            age.add_metric([status.camera], status.age_ms / 1e3)
        for quantile, ms in (("0.5", status.latency_p50_ms), ("0.99", status.latency_p99_ms)):
            if ms is not None:
                latency.add_metric([status.camera, quantile], ms / 1e3)
    yield from (fps, age, latency)


def _states(cameras: list[CameraStatus]) -> Metric:
    states = GaugeMetricFamily(
        "streamvis_camera_state", "1 for the state the camera is in", labels=["camera", "state"]
    )
    for status in cameras:
        states.add_metric([status.camera, status.state], 1)
    return states
