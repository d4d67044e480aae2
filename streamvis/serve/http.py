"""Health, metrics and control over HTTP."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamvis.address import is_loopback
from streamvis.errors import ConfigError, StreamvisError
from streamvis.serve.control_socket import read_request
from streamvis.serve.desk import Desk
from streamvis.serve.guard import MAX_REQUEST_BYTES, RareLog, RateLimit
from streamvis.serve.metrics import CONTENT_TYPE, Metrics

_OPEN = ("/healthz", "/readyz")  # without the token they say nothing that is worth one
_OF_PROXIES = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_BODY_PATIENCE_S = 5.0


def make_app(desk: Desk, token: str | None = None, rate: RateLimit | None = None) -> ASGIApp:
    """The application; with a token everything but the health of it is asked for."""
    app = FastAPI(title="streamvis", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    app.add_exception_handler(StreamvisError, _explain)
    _add_health(app, desk, token)
    _add_sources(app, desk)
    return Guard(app, token, rate or RateLimit())


def _add_health(app: FastAPI, desk: Desk, token: str | None) -> None:
    metrics = Metrics(desk.session)

    @app.get("/healthz")
    def healthz() -> JSONResponse:
        """200 while the session's own thread turns."""
        is_alive = desk.is_alive()
        return JSONResponse({"alive": is_alive}, 200 if is_alive else 503)

    @app.get("/readyz")
    def readyz(request: Request) -> JSONResponse:
        """200 while it runs and, if it has cameras, one of them is live."""
        readiness = desk.readiness()
        if not _is_known(token, request.headers.get("authorization", "")):
            del readiness["cameras"]
        return JSONResponse(readiness, 200 if readiness["ready"] else 503)

    @app.get("/metrics")
    def show_metrics() -> Response:
        """For Prometheus."""
        return Response(metrics.text(), headers={"content-type": CONTENT_TYPE})


def _add_sources(app: FastAPI, desk: Desk) -> None:
    @app.get("/api/sources")
    def list_sources() -> dict[str, Any]:
        return desk.carry_out({"verb": "list"})

    @app.post("/api/sources", status_code=202)
    async def add_source(request: Request) -> dict[str, Any]:
        """A body of {"name": ..., "source": {"uri": ..., ...}}."""
        return await _carry_out(desk, "add", request)

    @app.delete("/api/sources/{name}", status_code=202)
    def remove_source(name: str) -> dict[str, Any]:
        return desk.carry_out({"verb": "remove", "name": name})

    @app.post("/api/sources/{name}/restart", status_code=202)
    def restart_source(name: str) -> dict[str, Any]:
        return desk.carry_out({"verb": "restart", "name": name})

    @app.post("/api/reload")
    async def reload(request: Request) -> dict[str, Any]:
        """A body of {"dry_run": true} only tells the difference."""
        return await _carry_out(desk, "reload", request)


async def _carry_out(desk: Desk, verb: str, request: Request) -> dict[str, Any]:
    body = read_request(await request.body() or b"{}")
    asked = {**body, "verb": verb} if isinstance(body, dict) else body
    return await run_in_threadpool(desk.carry_out, asked)


def _explain(request: Request, error: Exception) -> JSONResponse:
    del request
    status = 422 if isinstance(error, ConfigError) else 409
    return JSONResponse({"error": str(error)}, status)


class Guard:
    """Refuses strangers, floods and large bodies before the application sees them."""

    def __init__(self, app: ASGIApp, token: str | None, rate: RateLimit) -> None:
        self._app = app
        self._token = token
        self._log = RareLog()
        self._rate = rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = scope["client"][0] if scope.get("client") else "unknown"
        refusal = self._refusal(client, scope)
        if refusal:
            await self._refuse(client, *refusal, send)
            return
        await self._limited(client, scope, receive, send)

    def _refusal(self, client: str, scope: Scope) -> tuple[int, str] | None:
        """(status, why)"""
        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        is_open = scope["path"] in _OPEN
        if not self._rate.allows(f"{client} health" if is_open else client):
            return 429, "too many requests"
        if self._token is None:
            return _foreign_page(headers)
        if not is_open and not _is_known(self._token, headers.get("authorization", "")):
            return 401, "no token, or a wrong one"
        return None

    async def _limited(self, client: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Only a request that came whole is carried out: of one that broke off, half the body may
        be missing."""
        try:
            body = await asyncio.wait_for(_read_body(receive), _BODY_PATIENCE_S)
        except TimeoutError:
            await self._refuse(client, 408, "its body did not come in time", send)
        except _TooLargeError:
            await self._refuse(client, 413, f"a body of more than {MAX_REQUEST_BYTES} B", send)
        except _BrokenOffError:
            self._log.warn(client, "an HTTP request broke off and was dropped")
        else:
            await self._app(scope, _once(body, receive), send)

    async def _refuse(self, client: str, status: int, why: str, send: Send) -> None:
        self._log.warn(client, f"an HTTP request was refused: {why}")
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"error": "%s"}' % why.encode()})


def _is_known(token: str | None, authorization: str) -> bool:
    """Everybody is where there is no token."""
    if token is None:
        return True
    return hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode())


class _TooLargeError(Exception):
    pass


class _BrokenOffError(Exception):
    pass


async def _read_body(receive: Receive) -> bytes:
    """Counted as it comes: what its length says is not to be trusted."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _BrokenOffError
        body += message.get("body", b"")
        if len(body) > MAX_REQUEST_BYTES:
            raise _TooLargeError
        if not message.get("more_body"):
            return bytes(body)


def _foreign_page(headers: dict[str, str]) -> tuple[int, str] | None:
    """Without a token only this host can ask; so can the pages in its browsers and, through a
    proxy, everybody: their requests mostly give themselves away."""
    if any(name in headers for name in _OF_PROXIES):
        return 403, "it came through a proxy: that needs a token"
    if not is_loopback(_host_of(headers.get("host", "localhost"))):
        return 403, "another host's name was asked for"
    origin = headers.get("origin")
    if origin is not None and not is_loopback(_host_of(origin.partition("://")[2])):
        return 403, "it came from a foreign page"
    return None


def _host_of(netloc: str) -> str:
    host, colon, port = netloc.rpartition(":")
    return (host if colon and port.isdigit() else netloc).strip("[]")


def _once(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """A body that was read already, then whatever comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_once() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_once
