"""A subscription without its socket: what is for the caller, what was lost, who is alive."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from time import monotonic_ns

from streamvis import wire
from streamvis.client.clocks import Clocks
from streamvis.client.health import CameraHealth, Health
from streamvis.errors import Lagging
from streamvis.wire import AnyMessage, FrameMessage, Heartbeat, Observed, Parts

_QUEUE_LENGTH = {
    "det": 64,
    "emb": 16,
    "sem": 16,
    "img": 4,
    "vid": 64,
    "plan": 64,
    "stat": 16,
    "sync": 16,
    "info": 4,
    "hb": 16,
}
_FRAME_KINDS = ("det", "emb", "sem")
_FOR_ALL_CAMERAS = ("sync", "info", "hb")


class Inbox:
    """Feed it every message that arrives, in order. Tests use it as the socket's twin."""

    def __init__(
        self,
        kinds: Iterable[str],
        cameras: Iterable[str] | None = None,
        pipeline: str | None = None,
        max_age_ms: float | None = None,
    ) -> None:
        self.gaps: Counter[tuple[str, str]] = Counter()  # messages missed, by (epoch, topic)
        self.num_restarts = 0  # topics that went on under another epoch
        self.is_stopped = False  # the pipeline said goodbye
        self.heartbeat: Heartbeat | None = None  # the newest
        self._kinds = _check_kinds(kinds)
        self._cameras = None if cameras is None else frozenset(map(wire.check_name, cameras))
        self._pipeline = None if pipeline is None else wire.check_name(pipeline)
        self._max_age_ms = max_age_ms
        self._epochs: dict[str, str] = {}  # the newest, by topic
        self._epochs_before: dict[str, str] = {}  # it may still have something to say
        self._last_seq: dict[tuple[str, str], int] = {}  # by (epoch, topic)
        self._health: defaultdict[str, CameraHealth] = defaultdict(CameraHealth)
        self._heartbeat_ns: int | None = None
        self._clocks = Clocks()

    @property
    def topics(self) -> list[str]:
        """What to subscribe to. Heartbeats come last and always, whatever the filter: whoever
        has subscribed to them has subscribed to everything (the publisher counts on it)."""
        prefixes = [self._prefix(kind, camera) for kind in self._kinds for camera in self._wanted]
        heartbeats = wire.topic_prefix("hb")
        return [*(p for p in dict.fromkeys(prefixes) if p != heartbeats), heartbeats]

    @property
    def queue_length(self) -> int:
        """Messages to hold for a caller that is busy: few where they are large or soon stale."""
        return sum(_QUEUE_LENGTH[kind] for kind in {*self._kinds, "hb"})

    def accept(self, parts: Parts, now_ns: int | None = None) -> Observed | None:
        """Book a message's arrival; None if it is not for the caller."""
        now_ns = monotonic_ns() if now_ns is None else now_ns
        seen = wire.peek(parts)
        if self._pipeline not in (None, seen.pipeline):
            return None
        if seen.kind == "hb":
            self._book_heartbeat(parts, now_ns)  # which tells of the heartbeat before it, too
        if self._is_wanted(seen.kind, seen.camera):
            self._book_arrival(seen, now_ns)
            return seen
        return None

    def accept_state(self, parts: Parts, now_ns: int | None = None) -> Observed | None:
        """Book a message of a snapshot; None if it is not for the caller: not asked for, older than
        `max_age_ms`, or here already. What went by before the first one of a topic is no gap."""
        now_ns = monotonic_ns() if now_ns is None else now_ns
        seen = wire.peek(parts)
        if self._has(seen) or self._pipeline not in (None, seen.pipeline):
            return None
        if seen.topic not in self._epochs:
            self._epochs[seen.topic] = seen.epoch
            self._last_seq[seen.epoch, seen.topic] = seen.seq - 1
        if seen.kind == "hb":
            self._book_heartbeat(parts, now_ns)
        if not self._is_wanted(seen.kind, seen.camera):
            return None
        self._book_arrival(seen, now_ns)
        return None if self._is_too_old(parts, now_ns) else seen

    def _has(self, seen: Observed) -> bool:
        return self._last_seq.get((seen.epoch, seen.topic), -1) >= seen.seq

    def _is_too_old(self, parts: Parts, now_ns: int) -> bool:
        try:
            self.open(parts, now_ns)
        except Lagging:
            return True
        return False

    def open(self, parts: Parts, now_ns: int | None = None) -> AnyMessage:
        """The typed message. Raises Lagging when it is older than `max_age_ms`."""
        message = wire.decode(parts)
        if self._max_age_ms is not None and isinstance(message, FrameMessage):
            age_ms = self.age_ms(message, now_ns)
            if age_ms is not None and age_ms > self._max_age_ms:
                raise Lagging(
                    f"frame {message.frame_index} of {message.camera} is {age_ms:.0f} ms old, "
                    f"more than {self._max_age_ms:g} ms. Read faster, or use latest=True."
                )
        return message

    def age_ms(self, message: FrameMessage, now_ns: int | None = None) -> float | None:
        """Since ingest, on whatever host; None before the first heartbeat of another one."""
        now_ns = monotonic_ns() if now_ns is None else now_ns
        return self._clocks.age_ms(message.clock_id, message.stamps_ns["ingest"], now_ns)

    def health(self, camera: str, now_ns: int | None = None) -> Health:
        """Needs `det`, `emb` or `sem` among the kinds: it goes by the results that arrive here."""
        now_ns = monotonic_ns() if now_ns is None else now_ns
        return self._health[camera].check(now_ns, self._heartbeat_ns)

    @property
    def why_silent(self) -> str:
        """One sentence for a user to whom nothing came."""
        if self.heartbeat is None:
            return "Nothing publishes there: start the pipeline, or check the address and the keys."
        states = {name: camera.state for name, camera in self.heartbeat.cameras.items()}
        cameras = ", ".join(f"{name} ({state})" for name, state in states.items()) or "none yet"
        return f"The pipeline {self.heartbeat.pipeline} is alive; its cameras: {cameras}."

    @property
    def _wanted(self) -> Iterable[str | None]:
        return [None] if self._cameras is None else sorted(self._cameras)

    def _prefix(self, kind: str, camera: str | None) -> str:
        """ZeroMQ filters prefixes, and the pipeline comes before the camera: without it all
        cameras are let in here, and sorted out in `accept`. So are messages about all cameras."""
        if kind in _FOR_ALL_CAMERAS:
            camera = None
        return wire.topic_prefix(kind, self._pipeline, camera)

    def _is_wanted(self, kind: str, camera: str) -> bool:
        is_from = self._cameras is None or camera in self._cameras or kind in _FOR_ALL_CAMERAS
        return kind in self._kinds and is_from

    def _book_arrival(self, seen: Observed, now_ns: int) -> None:
        self._count_gap(seen.topic, seen.epoch, seen.seq - 1)
        self._last_seq[seen.epoch, seen.topic] = seen.seq
        if seen.kind == self._rate_kind:
            is_corrupt = bool(seen.header.get("corrupt"))
            self._health[seen.camera].arrived(now_ns, is_corrupt)

    @property
    def _rate_kind(self) -> str | None:
        """The kind by which a camera's results are counted: one, or each would count twice."""
        return next((kind for kind in self._kinds if kind in _FRAME_KINDS), None)

    def _book_heartbeat(self, parts: Parts, now_ns: int) -> None:
        message = wire.decode(parts)
        assert isinstance(message, Heartbeat)
        # It comes after what it tells of: what is not here by now is lost.
        for topic, last in message.last_seq.items():
            kind, _pipeline, camera = wire.split_topic(topic)
            if self._is_wanted(kind, camera):
                self._count_gap(topic, last.epoch, last.seq)
                self._last_seq[last.epoch, topic] = last.seq
        if message.sent_ns is not None:
            self._clocks.see(message.clock_id, message.sent_ns, now_ns)
        self.heartbeat = message
        self._heartbeat_ns = now_ns
        self.is_stopped = message.is_stopped
        for camera, told in message.cameras.items():
            self._health[camera].state = told.state
            self._health[camera].rate_hz = told.rate_hz

    def _count_gap(self, topic: str, epoch: str, upto_seq: int) -> None:
        """Every message of the topic up to `upto_seq` should be here by now."""
        if self._epochs.setdefault(topic, epoch) != epoch:
            self._change_epoch(topic, epoch)
        last_seq = self._last_seq.get((epoch, topic), -1)
        is_joining = last_seq < 0 and self.heartbeat is None  # what went by before is not ours
        if upto_seq > last_seq and not is_joining:
            self.gaps[epoch, topic] += upto_seq - last_seq

    def _change_epoch(self, topic: str, epoch: str) -> None:
        """Of epochs long gone nothing is kept: there may be thousands."""
        over = self._epochs_before.get(topic)
        if over not in (None, epoch):
            self._last_seq.pop((over, topic), None)
        self._epochs_before[topic] = self._epochs[topic]
        self._epochs[topic] = epoch
        self.num_restarts += 1


def _check_kinds(kinds: Iterable[str]) -> tuple[str, ...]:
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    unknown = set(kinds) - set(wire.KINDS)
    if unknown or not kinds:
        raise ValueError(f"kinds must be some of {', '.join(wire.KINDS)}, got {kinds}")
    return kinds
