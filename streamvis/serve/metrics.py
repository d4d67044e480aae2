"""A session's figures for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from streamvis.runtime.ledger import CameraStatus
from streamvis.runtime.report import REMOVED
from streamvis.runtime.session import Session

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Collected when they are asked for: nothing is counted twice."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._most_lost: dict[tuple[str, str], int] = {}  # by camera and stage
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Called by Prometheus' registry."""
        known = self._session.ledger.status(recent=True)
        cameras = [status for status in known if status.state != REMOVED]
        yield from _frames(cameras, self._lost(cameras))
        yield from _times(cameras)
        yield _states(cameras)
        deaths = CounterMetricFamily(
            "streamvis_worker_deaths", "Encoder workers that died or hung and were replaced"
        )
        deaths.add_metric([], self._session.num_worker_deaths)
        yield deaths

    def _lost(self, cameras: list[CameraStatus]) -> dict[tuple[str, str], int]:
        """The most it ever was: a frame that was given up may come after all, and a counter that
        sinks was started anew, says Prometheus."""
        before = self._most_lost
        self._most_lost = {
            (status.camera, stage): max(count, before.get((status.camera, stage), 0))
            for status in cameras
            for stage, count in status.ledger.lost.items()
        }
        return self._most_lost


def _frames(cameras: list[CameraStatus], most_lost: dict[tuple[str, str], int]) -> Iterator[Metric]:
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
    for labels, count in most_lost.items():
        lost.add_metric(labels, count)
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
