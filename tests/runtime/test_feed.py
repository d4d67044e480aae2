"""What a camera's feed says of it."""

from __future__ import annotations

from types import SimpleNamespace

from streamvis.runtime.feed import CameraFeed, FeedPlan
from streamvis.runtime.rounds import Inbox
from streamvis.source.live_state import Condition, LiveState
from streamvis.types import SourceCounts


def test_a_live_camera_that_tries_again_has_not_said_its_last_word():
    live = LiveState()
    live.condition = Condition("timeout", "no answer")
    source = SimpleNamespace(live=live, lost_source=0, lost_decode=0, info=None)
    feed = CameraFeed("a", source, Inbox(["a"], "live"), FeedPlan(is_live=True))
    front = SimpleNamespace(account=lambda seen: seen)
    waiting, drained = feed.report(front, is_drained=False), feed.report(front, is_drained=True)
    assert waiting.counts == SourceCounts()
    assert (waiting.state, waiting.is_settled) == ("timeout", False)
    assert (drained.state, drained.is_settled) == ("timeout", True)
