"""A stranger fills neither the log nor the memory."""

from __future__ import annotations

import json
import logging

import pytest
from matrix import contract

from streamvis.errors import ControlError
from streamvis.serve.control_socket import read_request
from streamvis.serve.guard import MAX_DEPTH, MAX_REQUEST_BYTES, RareLog, RateLimit, depth_of


@contract("hostile_bytes", "g")
def test_one_line_a_source_and_minute_says_how_many_were_kept_back(caplog):
    rare = RareLog()
    with caplog.at_level(logging.WARNING):
        for second in range(130):
            rare.warn("10.0.0.1", "a wrong token", now_s=float(second))
        rare.warn("10.0.0.2", "a wrong token", now_s=129.0)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "10.0.0.1: a wrong token",
        "10.0.0.1: a wrong token (59 more since the last such line)",
        "10.0.0.1: a wrong token (59 more since the last such line)",
        "10.0.0.2: a wrong token",
    ]


@contract("hostile_bytes", "g")
def test_a_million_sources_are_not_remembered():
    rare, rate = RareLog(every_s=1e9), RateLimit()
    logging.disable(logging.WARNING)
    for number in range(3000):
        rare.warn(str(number), "x", now_s=0.0)
        rate.allows(str(number), now_s=0.0)
    logging.disable(logging.NOTSET)
    assert len(rare._last) == len(rate._tokens) == 1024


def test_a_burst_is_let_through_and_then_the_rate():
    rate = RateLimit(rate_hz=10.0, burst=5)
    assert sum(rate.allows("a", now_s=0.0) for _ in range(20)) == 5
    assert rate.allows("b", now_s=0.0), "another source has its own"
    assert sum(rate.allows("a", now_s=1.0) for _ in range(20)) == 5
    assert sum(rate.allows("a", now_s=1.3) for _ in range(20)) == 3


@contract("hostile_bytes", "g")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no json",
        b"\xff\xfe",
        b"[" * 60_000,
        json.dumps({"verb": [[[[[[[[[[1]]]]]]]]]]}).encode(),
        b'"' + b"x" * MAX_REQUEST_BYTES + b'"',
    ],
    ids=["empty", "text", "bytes", "bomb", "deep", "large"],
)
def test_a_bad_request_is_refused_with_one_sentence(data):
    with pytest.raises(ControlError):
        read_request(data)


def test_depth_counts_lists_and_mappings():
    assert depth_of(1) == 0
    assert depth_of({"a": [1, {"b": 2}]}) == 3
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    assert depth_of(deep) > MAX_DEPTH, "without a stack of 5000 calls"
