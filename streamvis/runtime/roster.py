"""The cameras of a run, told to everyone who must know when one comes or goes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from streamvis.publish.heartbeat import Heart
from streamvis.publish.info import Informer
from streamvis.publish.observer import Observer
from streamvis.publish.sync import SyncJoiner
from streamvis.runtime.ledger import RunLedger
from streamvis.runtime.report import CameraReport
from streamvis.topology import PipelineConfig
from streamvis.wire import Origin

_MAX_ERROR_CHARS = 400  # of each camera, in every heartbeat; the log has all of it


class Roster:
    """Owns the observers in the proxy that keep something for each camera."""

    def __init__(self, config: PipelineConfig) -> None:
        origin = Origin.here(config.name)
        period_ns, cameras = config.publish.heartbeat, list(config.sources)
        self.ledger = RunLedger(origin, cameras, period_ns)
        self.heart = Heart(origin, period_ns, config.digest())
        self._informer = Informer(origin, period_ns, config.resolved_json())
        self._joiner = SyncJoiner(origin, cameras, config.publish.sync_tolerance)
        self.observers: tuple[Observer, ...] = (self.ledger, self._joiner, self._informer)

    def change(self, config: PipelineConfig) -> None:
        """From now on this is what runs."""
        self._joiner.set_cameras(config.sources)
        self._informer.config = config.resolved_json()
        self.heart.config_hash = config.digest()

    def note(self, reports: Iterable[CameraReport]) -> None:
        """How the cameras are."""
        for report in map(_shorten, reports):
            self.ledger.update(report)
            self.heart.set_camera(report.camera, report.state, report.rate_hz, report.error)
            if report.info:
                self._informer.set_camera(report.camera, report.info)

    def drop(self, report: CameraReport) -> None:
        """This camera is gone; the report is its last."""
        self.ledger.update(_shorten(report))
        self.ledger.end_camera(report.camera)
        self.heart.drop_camera(report.camera)
        self._informer.drop_camera(report.camera)


def _shorten(report: CameraReport) -> CameraReport:
    if len(report.error) <= _MAX_ERROR_CHARS:
        return report
    return replace(report, error=report.error[:_MAX_ERROR_CHARS] + " ...")
