"""When a message's frame was, on the world's clock: one time axis for a whole recording."""

from __future__ import annotations

from fractions import Fraction

from streamvis.wire import Observed


class WorldTime:
    """Gives each message its log time, Unix ns. A camera's media time is tied to the world by its
    capture times; without them, by the receipt of its first frame."""

    def __init__(self) -> None:
        self._offset_ns: dict[str, int] = {}  # world minus media, by camera
        self._newest_ns: int | None = None

    def of(self, seen: Observed, receipt_ns: int) -> int | None:
        """None before any time is known: the message waits for the first frame, or a recording of
        an old drive would begin today."""
        is_frame = "capture" in seen.header
        t_ns = self._of_frame(seen, receipt_ns) if is_frame else self._newest_ns
        if t_ns is not None:
            self._newest_ns = max(t_ns, self._newest_ns or t_ns)
        return t_ns

    def _of_frame(self, seen: Observed, receipt_ns: int) -> int | None:
        capture, media_ns = seen.capture, _media_ns(seen)
        if capture.source != "none":
            if media_ns is not None:
                self._offset_ns[seen.camera] = capture.t_ns - media_ns
            return capture.t_ns
        is_told_later = bool(seen.header.get("reordered"))
        if media_ns is None or (is_told_later and seen.camera not in self._offset_ns):
            return self._newest_ns
        return self._offset_ns.setdefault(seen.camera, receipt_ns - media_ns) + media_ns


def _media_ns(seen: Observed) -> int | None:
    pts: int | None = seen.header.get("pts")
    time_base: list[int] | None = seen.header.get("time_base")
    if pts is None or time_base is None:
        return None
    seconds = pts * Fraction(*time_base)
    return round(seconds * 1_000_000_000)
