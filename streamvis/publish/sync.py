"""Which results of different cameras show the same moment."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from streamvis.wire import ALL_CAMERAS, Observed, Origin, SyncMember, SyncMessage

_MAX_WAIT_NS = 500_000_000  # capture time: a camera this far behind is not waited for
_MAX_OPEN = 256  # moments; more are open only when a clock is broken


@dataclass
class _Moment:
    """Results within the tolerance of each other, at most one a camera."""

    members: dict[str, SyncMember] = field(default_factory=dict)

    @property
    def first_ns(self) -> int:
        return min(member.t_capture_ns for member in self.members.values())

    @property
    def last_ns(self) -> int:
        return max(member.t_capture_ns for member in self.members.values())

    def span_with(self, t_ns: int) -> int:
        return max(self.last_ns, t_ns) - min(self.first_ns, t_ns)


class SyncJoiner:
    """Observer: joins `det` messages into `sync` messages by capture time, never by index.

    A moment is published when every camera is in it, or when those that miss have gone past it;
    moments of one camera alone are not published. Results without a capture time are left out.
    """

    def __init__(self, origin: Origin, cameras: Iterable[str], tolerance_ns: int) -> None:
        self._origin = origin
        self.set_cameras(cameras)
        self._tolerance_ns = tolerance_ns
        self._seq = itertools.count()
        self._open: list[_Moment] = []
        self._latest_ns: dict[str, int] = {}  # by camera

    def set_cameras(self, cameras: Iterable[str]) -> None:
        """Those of the pipeline from now on. From any thread."""
        self._cameras = frozenset(cameras)

    def see(self, seen: Observed) -> Iterable[SyncMessage]:
        if seen.kind != "det" or seen.camera not in self._cameras:
            return
        capture = seen.capture
        if capture.source == "none":
            return
        if capture.t_ns < self._latest_ns.get(seen.camera, capture.t_ns):
            yield from self._restart()
        self._latest_ns[seen.camera] = capture.t_ns
        if len(self._latest_ns) > len(self._cameras):  # some were removed
            latest = self._latest_ns
            self._latest_ns = {name: latest[name] for name in self._cameras & latest.keys()}
        member = SyncMember(seen.epoch, seen.frame_index, capture.t_ns)
        self._moment_for(seen.camera, capture.t_ns).members[seen.camera] = member
        yield from self._publish_finished()

    def tick(self, now_ns: int) -> Iterable[SyncMessage]:
        del now_ns  # capture time alone decides, so that a replay gives the same moments
        return ()

    def finish(self) -> Iterable[SyncMessage]:
        return self._restart()

    def _restart(self) -> Iterator[SyncMessage]:
        """A source began again: nothing that is open can still be completed."""
        moments, self._open, self._latest_ns = self._open, [], {}
        for moment in moments:
            yield from self._publish(moment)

    def _moment_for(self, camera: str, t_ns: int) -> _Moment:
        """The nearest open moment without this camera, or a new one."""
        fitting = [
            moment
            for moment in self._open
            if camera not in moment.members and moment.span_with(t_ns) <= self._tolerance_ns
        ]
        if fitting:
            return min(fitting, key=lambda moment: moment.span_with(t_ns))
        self._open.append(_Moment())
        return self._open[-1]

    def _publish_finished(self) -> Iterator[SyncMessage]:
        newest_ns = max(self._latest_ns.values())
        for moment in list(self._open):
            if self._is_finished(moment, newest_ns) or len(self._open) > _MAX_OPEN:
                self._open.remove(moment)
                yield from self._publish(moment)

    def _is_finished(self, moment: _Moment, newest_ns: int) -> bool:
        end_ns = moment.first_ns + self._tolerance_ns
        missing = self._cameras - moment.members.keys()
        have_passed = all(self._latest_ns.get(camera, end_ns) > end_ns for camera in missing)
        return have_passed or newest_ns - moment.first_ns > _MAX_WAIT_NS

    def _publish(self, moment: _Moment) -> Iterator[SyncMessage]:
        if len(moment.members) < 2:
            return
        yield SyncMessage(
            origin=self._origin,
            camera=ALL_CAMERAS,
            seq=next(self._seq),
            members=dict(sorted(moment.members.items())),
            skew_ns=moment.last_ns - moment.first_ns,
            is_complete=moment.members.keys() >= self._cameras,
        )
