"""Everything that a session offers beside its results: made of the pipeline file's `control`."""

from __future__ import annotations

import importlib.util
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from streamvis.errors import AddressError, ControlError
from streamvis.runtime.session import Session
from streamvis.serve.control_socket import ControlSocket
from streamvis.serve.desk import Desk
from streamvis.serve.guard import RateLimit
from streamvis.serve.places import own_place
from streamvis.topology import ControlConfig, PipelineConfig

_MAX_CONNECTIONS = 64
_MIN_TOKEN = 16


@contextmanager
def serving(
    session: Session, load: Callable[[], PipelineConfig] | None = None
) -> Iterator[list[str]]:
    """While it lasts the session can be asked and ordered; yields where. `load` reads the
    pipeline file again. Raises AddressError, ControlError."""
    config = session.control.config
    desk, addresses = Desk(session, load), []
    with ExitStack() as stack:
        address = _socket_address(config)
        if address:
            addresses.append(stack.enter_context(ControlSocket(desk, address)).address)
        if config.control.http:
            addresses.append(stack.enter_context(HttpServer(desk, config.control)).url)
        yield addresses


def _socket_address(config: PipelineConfig) -> str | None:
    wanted = config.control.socket
    if wanted == "off":
        return None
    return own_place(config.name).address if wanted == "auto" else wanted


class HttpServer:
    """uvicorn on a thread of its own."""

    def __init__(self, desk: Desk, config: ControlConfig, rate: RateLimit | None = None) -> None:
        """Binds at once. Raises AddressError, and ControlError when the extra is not installed."""
        _check_installed()
        import uvicorn

        from streamvis.serve.connection import Connection
        from streamvis.serve.http import make_app

        assert config.http is not None, "asked only if it is wanted"
        app = make_app(desk, read_token(config), rate)
        self._listening = _listen(*config.http_address)
        host, port = self._listening.getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                log_config=None,
                access_log=False,
                lifespan="off",
                limit_concurrency=_MAX_CONNECTIONS,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=1,
                server_header=False,
            )
        )
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def __enter__(self) -> HttpServer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listening.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._listening])


def read_token(config: ControlConfig) -> str | None:
    """Of the file, else of STREAMVIS_TOKEN. Raises ControlError where one must be, or is weak."""
    token = os.environ.get("STREAMVIS_TOKEN") or None
    if config.token_file is not None:
        token = _read(config.token_file)
    if token is None and not config.is_http_local:
        raise ControlError(
            f"control.http {config.http} can be reached from other hosts and there is no token; "
            "set control.token_file or STREAMVIS_TOKEN, or use 127.0.0.1"
        )
    if token is not None and len(token) < _MIN_TOKEN:
        raise ControlError(f"a token has at least {_MIN_TOKEN} characters; make a longer one")
    return token


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ControlError(f"{path}: the token cannot be read ({error}); check the file") from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_MAX_CONNECTIONS)
    except (OSError, OverflowError) as error:
        raise AddressError(
            f"{host}:{port} cannot be served: {error}. Stop what runs there, or choose another."
        ) from None


def _check_installed() -> None:
    for name in ("fastapi", "uvicorn", "prometheus_client"):
        if importlib.util.find_spec(name) is None:
            raise ControlError(
                f"control.http needs {name}, which is not installed: pip install 'streamvis[serve]'"
            )
