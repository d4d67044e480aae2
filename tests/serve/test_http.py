"""Health, metrics and control over HTTP, on a real socket of loopback."""

from __future__ import annotations

import http.client
import json
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from live_samples import wait_for
from matrix import contract
from session_twin import CONFIG, TwinSession

from streamvis.errors import AddressError, ControlError
from streamvis.serve.desk import Desk
from streamvis.serve.guard import RateLimit
from streamvis.serve.server import HttpServer, read_token
from streamvis.topology import ControlConfig

TOKEN = "a-token-of-enough-length"


class Client:
    def __init__(self, server: HttpServer, session: TwinSession) -> None:
        self.session = session
        self.netloc = server.url.removeprefix("http://")

    def ask(self, method: str, path: str, body: bytes | None = None, own: str = "", **headers: str):
        """(status, text), asked from this own address of loopback."""
        source = (own, 0) if own else None
        connection = http.client.HTTPConnection(self.netloc, timeout=10, source_address=source)
        names = {key.replace("_", "-"): value for key, value in headers.items()}
        connection.request(method, path, body, names)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, text


def serve(config: ControlConfig, rate: RateLimit | None = None) -> Iterator[Client]:
    session = TwinSession()
    with HttpServer(Desk(session, lambda: CONFIG), config, rate) as server:
        yield Client(server, session)


@pytest.fixture
def client() -> Iterator[Client]:
    yield from serve(ControlConfig(http="127.0.0.1:0"))


@pytest.fixture
def guarded(tmp_path) -> Iterator[Client]:
    (tmp_path / "token").write_text(TOKEN + "\n")
    yield from serve(ControlConfig(http="127.0.0.1:0", token_file=tmp_path / "token"))


def test_health_and_readiness_say_how_the_session_is(client):
    assert client.ask("GET", "/healthz")[0] == 200
    status, text = client.ask("GET", "/readyz")
    assert (status, json.loads(text)["cameras"]) == (200, {"a": "live"})
    client.session.state = "reconnecting"
    assert client.ask("GET", "/readyz")[0] == 503, "no camera is live"
    client.session.turned_s -= 1000
    assert client.ask("GET", "/healthz")[0] == 503, "the session's thread is stuck"
    for phase in ("loading", "stopping"):
        client.session.phase = phase
        assert client.ask("GET", "/healthz")[0] == 200, "models and films take their time"


def test_metrics_are_prometheus_text(client):
    status, text = client.ask("GET", "/metrics")
    assert status == 200
    for line in (
        'streamvis_published_frames_total{camera="a"} 7.0',
        'streamvis_lost_frames_total{camera="a",stage="policy"} 2.0',
        'streamvis_latency_seconds{camera="a",quantile="0.99"} 0.05',
        'streamvis_camera_state{camera="a",state="live"} 1.0',
        "streamvis_worker_deaths_total 3.0",
    ):
        assert line in text
    assert "planted" not in text


def test_sources_are_listed_added_restarted_and_removed(client):
    status, text = client.ask("GET", "/api/sources")
    assert status == 200
    assert json.loads(text)["sources"]["a"]["published"] == 7
    assert "planted" not in text, "credentials of a camera"
    body = json.dumps({"name": "b", "source": {"uri": "x.mp4", "loop": True}}).encode()
    assert client.ask("POST", "/api/sources", body)[0] == 202
    assert client.ask("POST", "/api/sources/a/restart")[0] == 202
    assert client.ask("DELETE", "/api/sources/a")[0] == 202
    status, text = client.ask("DELETE", "/api/sources/no")
    assert (status, json.loads(text)["error"]) == (409, "there is no camera no; there are: a")
    assert client.session.orders == [
        ("add", "b", {"uri": "x.mp4", "loop": True}),
        ("restart", "a"),
        ("remove", "a"),
    ]


@contract("hostile_bytes", "g")
@pytest.mark.parametrize("body", [b"no json", b"[1]", b'{"name": 3, "source": {}}', b"[" * 9000])
def test_a_bad_body_is_refused_in_one_sentence(client, body):
    status, text = client.ask("POST", "/api/sources", body)
    assert status == 409
    assert json.loads(text)["error"]
    assert client.session.orders == []


@contract("hostile_bytes", "g")
def test_without_the_token_only_health_is_told(guarded, caplog):
    with caplog.at_level(logging.WARNING):
        assert guarded.ask("GET", "/healthz")[0] == 200
        assert json.loads(guarded.ask("GET", "/readyz")[1]) == {"ready": True, "phase": "running"}
        known = guarded.ask("GET", "/readyz", Authorization=f"Bearer {TOKEN}")
        assert json.loads(known[1])["cameras"] == {"a": "live"}
        for wrong in ("", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"):
            assert guarded.ask("GET", "/api/sources", Authorization=wrong)[0] == 401
            assert guarded.ask("GET", "/metrics", Authorization=wrong)[0] == 401
        assert guarded.ask("DELETE", "/api/sources/a", Authorization=f"Bearer {TOKEN}")[0] == 202
    refused = [r.getMessage() for r in caplog.records if "token" in r.getMessage()]
    assert len(refused) == 1, "once per source and minute"
    assert TOKEN not in caplog.text


@contract("hostile_bytes", "g")
def test_a_body_of_100_MB_is_cut_off_before_it_is_read(client, caplog):
    chunk = b"x" * (1 << 20)
    connection = http.client.HTTPConnection(client.netloc, timeout=10)
    connection.putrequest("POST", "/api/sources")
    connection.putheader("Content-Length", str(100 << 20))
    connection.endheaders()
    sent = 0
    with caplog.at_level(logging.WARNING), suppress(ConnectionError):
        while sent < 100 << 20:
            connection.send(chunk)
            sent += len(chunk)
    connection.close()
    assert sent < 50 << 20, "it hung up long before the end"
    assert "a body of more than" in caplog.text
    assert client.ask("GET", "/healthz")[0] == 200


def send_raw(client: Client, data: bytes) -> socket.socket:
    host, _, port = client.netloc.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(data)
    return connection


@contract("hostile_bytes", "g")
@pytest.mark.parametrize("part", [b"", b'{"dry_'])
def test_a_request_that_breaks_off_is_not_carried_out(client, part, caplog):
    head = b"POST /api/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 17\r\n\r\n"
    with caplog.at_level(logging.WARNING):
        send_raw(client, head + part).close()
        wait_for(lambda: "broke off" in caplog.text or client.session.orders)
    assert client.session.orders == []
    assert client.ask("POST", "/api/reload", b'{"dry_run": true}')[0] == 200
    assert client.session.orders == [("dry run",)]


@pytest.fixture
def slow() -> Iterator[Client]:
    yield from serve(ControlConfig(http="127.0.0.1:0"), RateLimit(rate_hz=0.01, burst=5))


@contract("hostile_bytes", "g")
def test_many_tiny_requests_are_refused_and_logged_once(slow, caplog):
    with caplog.at_level(logging.WARNING):
        statuses = [slow.ask("GET", "/api/sources")[0] for _ in range(12)]
    assert slow.ask("GET", "/healthz")[0] == 200, "a flood does not make the session unhealthy"
    assert statuses == [200] * 5 + [429] * 7
    lines = [r.getMessage() for r in caplog.records if "too many requests" in r.getMessage()]
    assert len(lines) == 1


@contract("hostile_bytes", "g")
def test_pages_of_other_sites_in_a_browser_of_this_host_are_refused(client):
    assert client.ask("GET", "/api/sources", Host="evil.example")[0] == 403
    assert client.ask("DELETE", "/api/sources/a", Origin="http://evil.example")[0] == 403
    assert client.session.orders == []
    assert client.ask("DELETE", "/api/sources/a", Origin="http://localhost:1")[0] == 202


@contract("hostile_bytes", "g")
@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via"])
def test_what_came_through_a_proxy_needs_a_token(client, guarded, header):
    proxied = {header: "for=10.0.0.9" if header == "Forwarded" else "10.0.0.9"}
    assert client.ask("DELETE", "/api/sources/a", **proxied)[0] == 403
    assert client.session.orders == []
    proxied["Authorization"] = f"Bearer {TOKEN}"
    assert guarded.ask("DELETE", "/api/sources/a", **proxied)[0] == 202


def test_every_address_of_loopback_may_ask_without_a_token():
    for client in serve(ControlConfig(http="127.0.0.2:0")):
        assert client.ask("GET", "/api/sources")[0] == 200


@contract("hostile_bytes", "g")
def test_idle_connections_of_one_stranger_leave_places_for_others(client):
    with ExitStack() as stack:
        for _ in range(70):
            stack.enter_context(send_raw(client, b""))
        assert client.ask("GET", "/healthz", own="127.0.0.2")[0] == 200


@contract("hostile_bytes", "g")
def test_who_is_slow_is_hung_up_on(client, monkeypatch):
    monkeypatch.setattr("streamvis.serve.connection.HEAD_PATIENCE_S", 0.2)
    monkeypatch.setattr("streamvis.serve.http._BODY_PATIENCE_S", 0.2)
    for part in (b"", b"GET /healthz HTTP/1.1\r\nHost: loc"):
        with send_raw(client, part) as connection:
            assert connection.recv(1) == b""
    head = b"POST /api/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 17\r\n\r\n"
    with send_raw(client, head + b'{"dry_') as connection:
        assert connection.recv(12) == b"HTTP/1.1 408"
    assert client.session.orders == []


def test_where_others_can_reach_it_there_must_be_a_token(tmp_path, monkeypatch):
    monkeypatch.delenv("STREAMVIS_TOKEN", raising=False)
    with pytest.raises(ControlError, match="no token"):
        read_token(ControlConfig(http="0.0.0.0:0"))
    (tmp_path / "short").write_text("abc")
    with pytest.raises(ControlError, match="16 characters"):
        read_token(ControlConfig(http="0.0.0.0:0", token_file=tmp_path / "short"))
    with pytest.raises(ControlError, match="cannot be read"):
        read_token(ControlConfig(http="0.0.0.0:0", token_file=tmp_path / "none"))
    monkeypatch.setenv("STREAMVIS_TOKEN", TOKEN)
    assert read_token(ControlConfig(http="0.0.0.0:0")) == TOKEN


def test_a_port_that_is_taken_is_one_sentence(client):
    port = client.netloc.rpartition(":")[2]
    with pytest.raises(AddressError, match="cannot be served"):
        HttpServer(Desk(client.session), ControlConfig(http=f"127.0.0.1:{port}"))
