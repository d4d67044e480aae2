"""Whatever is asked of a session, over its socket or HTTP: an answer, and it goes on."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matrix import contract
from mutations import mutate, mutations
from session_twin import CONFIG

from streamvis.errors import ControlError
from streamvis.runtime.control import Control
from streamvis.runtime.roster import Roster
from streamvis.serve.control_socket import read_request
from streamvis.serve.desk import Desk
from streamvis.serve.guard import RateLimit
from streamvis.serve.http import make_app

FUZZ = settings(max_examples=100, deadline=None, derandomize=True)
PATIENCE_S = 10.0

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = ("loop", "live", "camera", "start", "end", "max_frames", "\ud800")
uris = st.one_of(st.text(st.characters(exclude_categories=()), max_size=8), st.just("rtsp://u:p@c"))
sources = st.fixed_dictionaries({"uri": uris}, optional=dict.fromkeys(KEYS, values))
names = st.one_of(st.sampled_from(["a", "b", "../b", "\ud800", "x" * 300]), values)
requests = st.fixed_dictionaries(
    {"verb": st.sampled_from(["list", "add", "remove", "restart", "reload", "?"])},
    optional={
        "name": names,
        "source": st.one_of(values, sources),
        "dry_run": values,
    },
)
SURROGATE = {"verb": "add", "name": "b", "source": {"uri": "x\ud800"}}
ADD = {"verb": "add", "name": "b", "source": {"uri": "rtsp://user:planted@cam/2"}}


def make_desk() -> Desk:
    """A real control, whose orders are carried out at once, before an engine that does nothing."""
    roster = Roster(CONFIG)
    control = Control(CONFIG, roster)
    control.attach(SimpleNamespace(add=_nothing, remove=_nothing, gone=list))
    control._orders = SimpleNamespace(run=lambda order: order())
    session = SimpleNamespace(
        control=control, ledger=roster.ledger, address="ipc:///x", phase="running", turned_s=0.0
    )
    return Desk(session, lambda: CONFIG)


def _nothing(*_: object) -> None:
    pass


def is_told(answer: dict[str, Any]) -> None:
    text = json.dumps(answer).encode()
    assert answer["ok"] or answer["error"]
    assert b"planted" not in text


@contract("hostile_bytes", "g")
@FUZZ
@given(st.one_of(values, requests), st.lists(mutations, max_size=3))
@example(ADD, [])
@example(SURROGATE, [])
def test_any_bytes_get_an_answer_and_so_does_who_asks_next(request, changes) -> None:
    data = json.dumps(request).encode()
    for change in changes:
        data = mutate(data, change)
    desk = make_desk()
    for _ in range(2):  # the second finds what the first has done
        with suppress(ControlError):  # refused
            is_told(desk.answer(read_request(data)))
    is_told(desk.answer({"verb": "list"}))


def ask(messages: list[dict[str, Any]], **scope: Any) -> int | None:
    """The status; None where it hung up without one."""
    sent: list[dict[str, Any]] = []
    waiting = [*messages, {"type": "http.disconnect"}]

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    app = make_app(make_desk(), rate=RateLimit(1e9, 1 << 30))
    base = {"type": "http", "http_version": "1.1", "query_string": b"", "root_path": ""}
    asyncio.run(asyncio.wait_for(app({**base, **scope}, receive, send), PATIENCE_S))
    return sent[0]["status"] if sent else None


paths = st.one_of(
    st.sampled_from(["/api/sources", "/api/reload", "/api/sources/a", "/api/sources/a/restart"]),
    st.text(max_size=10).map(lambda text: f"/api/sources/{text}"),
)


@contract("hostile_bytes", "g")
@FUZZ
@given(
    paths,
    st.sampled_from(["GET", "POST", "DELETE", "PUT", "?"]),
    st.lists(st.tuples(st.sampled_from([b"host", b"origin", b"x"]), st.binary(max_size=12))),
    st.one_of(st.binary(max_size=40), requests.map(lambda r: json.dumps(r).encode())),
    st.integers(1, 20),
    st.booleans(),
)
@example("/api/sources", "POST", [], json.dumps(ADD).encode(), 99, True)
@example("/api/sources", "POST", [], json.dumps(SURROGATE).encode(), 99, True)
def test_any_http_request_gets_an_answer(path, method, headers, body, step, is_whole) -> None:
    pieces = [body[at : at + step] for at in range(0, len(body), step)] or [b""]
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages[-1]["more_body"] = not is_whole
    status = ask(messages, path=path, method=method, headers=headers)
    assert status is None or 200 <= status < 500
    assert is_whole or status in (None, 403), "half a request was carried out"


@contract("hostile_bytes", "g")
@pytest.mark.parametrize("name", ['"\\ud800"', '"' + "x" * 60_000 + '"', "1e999", "NaN", "-0"])
def test_names_that_nobody_has(name: str) -> None:
    body = b'{"name": %s, "source": {"uri": "x"}}' % name.encode()
    messages = [{"type": "http.request", "body": body}]
    assert ask(messages, path="/api/sources", method="POST", headers=[]) in (409, 422)
