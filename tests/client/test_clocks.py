from __future__ import annotations

from dataclasses import replace

import pytest
from matrix import contract
from wire_samples import ORIGIN, make_messages, make_result

from streamvis import wire
from streamvis.client.clocks import Clocks
from streamvis.client.inbox import Inbox
from streamvis.errors import Lagging
from streamvis.wire import DetMessage, local_clock_id

MS = 1_000_000
SECOND = 1_000 * MS
AHEAD_NS = 7_000 * SECOND  # this host was started that much earlier


def test_the_shortest_way_there_was_is_what_is_not_seen() -> None:
    clocks = Clocks()
    for way_ms in (9, 2, 30):
        clocks.see("there", sent_ns=0, now_ns=AHEAD_NS + way_ms * MS)
    age_ms = clocks.age_ms("there", stamp_ns=0, now_ns=AHEAD_NS + 100 * MS)
    assert age_ms == pytest.approx(98, abs=0.01)


def test_clocks_may_drift_apart_and_are_followed() -> None:
    """The other clock is slow by 50 ppm: ages stay right within what drifts in between."""
    clocks = Clocks()
    for second in range(600):
        now_ns = AHEAD_NS + second * SECOND
        clocks.see("there", sent_ns=round(second * SECOND * (1 - 50e-6)), now_ns=now_ns)
    sent_ns = round(599 * SECOND * (1 - 50e-6))
    age_ms = clocks.age_ms("there", sent_ns, AHEAD_NS + 599 * SECOND)
    assert age_ms == pytest.approx(0, abs=0.1)


@contract("network", "d")
def test_an_age_is_never_too_large() -> None:
    clocks = Clocks()
    clocks.see("there", sent_ns=0, now_ns=AHEAD_NS)
    later_ns = 3600 * SECOND
    for drift in (-99e-6, 0.0, 99e-6):
        stamp_ns = round(later_ns * (1 + drift))
        age_ms = clocks.age_ms("there", stamp_ns, AHEAD_NS + later_ns)
        assert age_ms is not None
        assert age_ms <= 1e-3


def test_this_hosts_own_clock_needs_no_heartbeat_and_another_does() -> None:
    assert Clocks().age_ms(local_clock_id(), 0, 5 * MS) == 5
    assert Clocks().age_ms("there", 0, 5 * MS) is None


@contract("network", "d")
def test_a_result_of_another_host_lags_too() -> None:
    there = replace(ORIGIN, clock_id="there")
    beat = replace(make_messages()["hb"], origin=there, sent_ns=0)
    inbox = Inbox(["det"], max_age_ms=100)
    inbox.accept(wire.encode(beat), now_ns=AHEAD_NS)
    det = wire.encode(DetMessage.of(make_result(0, t_ingest_ns=0), there, 0))
    assert inbox.open(det, now_ns=AHEAD_NS + 90 * MS).seq == 0
    with pytest.raises(Lagging, match="is 120 ms old"):
        inbox.open(det, now_ns=AHEAD_NS + 120 * MS)
