"""Who may connect: CURVE on the socket, and an allow-list that is asked at every handshake."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import zmq
from zmq.auth.thread import ThreadAuthenticator

from streamvis.client.curve import KeyPair, load_allowed
from streamvis.errors import AddressError

log = logging.getLogger(__name__)

_ZAP = "inproc://zeromq.zap.01"  # RFC 27: the only name it may have
IsAllowed = Callable[[bytes], bool]  # of a public key, Z85


class AllowedFolder:
    """The public keys in a folder, read again when it changes: a key that is put in is let in, one
    that is taken out comes in no more (a connection that stands goes on until it ends)."""

    def __init__(self, folder: Path) -> None:
        """Raises AddressError if there is no such folder, or something in it is no key."""
        self._folder = folder
        self._keys = load_allowed(folder)
        self._stamp = self._look()

    def __call__(self, key: bytes) -> bool:
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            self._read_again()
        return key in self._keys

    def _look(self) -> tuple[tuple[str, int], ...]:
        """What tells that a key came, went or was replaced."""
        try:
            return tuple(sorted((p.name, p.stat().st_mtime_ns) for p in self._folder.iterdir()))
        except OSError:
            return ()

    def _read_again(self) -> None:
        try:
            self._keys = load_allowed(self._folder)
        except AddressError as error:
            log.warning("nobody new is let in: %s", error)
            self._keys = frozenset()


class Gate:
    """The one that answers ZAP in a context: `start` it before anything is bound."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._authenticator = _Authenticator(context, log=_quiet)
        self._has_started = False

    def guard(
        self, socket: zmq.Socket[bytes], own: KeyPair, domain: str, is_allowed: IsAllowed
    ) -> None:
        """Before the socket binds: from then on it speaks CURVE, with these clients only."""
        if not self._has_started:
            self._authenticator.start()
            self._has_started = True
        self._authenticator.configure_curve_callback(domain, _Asks(is_allowed))
        socket.zap_domain = domain.encode()
        socket.curve_secretkey = own.secret
        socket.curve_publickey = own.public
        socket.curve_server = True

    def stop(self) -> None:
        if self._has_started:
            self._authenticator.stop()
            self._has_started = False


class _Authenticator(ThreadAuthenticator):
    """Gives up its name before it stops: a closed socket keeps it for a moment, in which the
    next gate of the same context could not start."""

    def stop(self) -> None:
        if self.is_alive():
            self.pipe.send(b"TERMINATE")
            self.thread.join()
            self.pipe.close()
            self.pipe = None  # type: ignore[assignment]
            self.zap_socket.unbind(_ZAP)
        super().stop()


class _Asks:
    """What pyzmq calls a credentials provider."""

    def __init__(self, is_allowed: IsAllowed) -> None:
        self._is_allowed = is_allowed

    def callback(self, domain: str, key: bytes) -> bool:
        del domain
        return self._is_allowed(key)


_quiet = logging.getLogger(f"{__name__}.zap")
_quiet.setLevel(logging.CRITICAL)  # a line a refused attempt, ten a second, would fill the disk
