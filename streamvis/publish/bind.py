"""Binding a socket so that it is private, takes over from the dead, and explains itself."""

from __future__ import annotations

import errno
import socket as unix
import stat
from pathlib import Path

import zmq

from streamvis.address import Address
from streamvis.errors import AddressError

_OWNER_ONLY = 0o600

_WHY = {
    errno.EADDRINUSE: "is in use. Stop what runs there, or choose another port (0: any free one)",
    errno.EADDRNOTAVAIL: "is no address of this host. Use 127.0.0.1 for this host only",
    errno.ENODEV: "is no address of this host. Use 127.0.0.1 for this host only",
    errno.EACCES: "may not be used by this user. Choose a port above 1023, or another folder",
    errno.ENAMETOOLONG: "is too long for a socket file. Choose a path of less than 100 characters",
    errno.ENOENT: "lies in a folder that does not exist. Create it first",
}


def bind(socket: zmq.Socket[bytes], address: Address) -> str:
    """Bind, and return the endpoint with the real port. Raises AddressError."""
    path = Path(address.ipc_path) if address.ipc_path else None
    if path:
        _remove_stale(path)
    try:
        socket.bind(address.endpoint)
    except zmq.ZMQError as error:
        why = _WHY.get(error.errno or 0, f"cannot be bound: {error}")
        raise AddressError(f"{address.endpoint} {why}.") from None
    if path:
        path.chmod(_OWNER_ONLY)
    return socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")


def check_hop(address: Address, keys: object | None) -> None:
    """Between processes of one run: raises AddressError if others could listen."""
    if keys is None and not address.is_local:
        raise AddressError(
            f"{address} leaves this host, and the run has no keys. Use ipc:// or 127.0.0.1, or "
            "give it keys."
        )


def remove_file(endpoint: str) -> None:
    """Delete the file of a socket that was bound here: libzmq leaves it behind."""
    path = Address.parse(endpoint).ipc_path
    if path:
        Path(path).unlink(missing_ok=True)


def _remove_stale(path: Path) -> None:
    """libzmq deletes whatever lies at the path before it binds: even a living socket."""
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise AddressError(f"{path} exists and is not a socket. Choose another path.")
    if _is_alive(path):
        raise AddressError(
            f"ipc://{path} is in use by another process. Stop it, or choose another path."
        )
    path.unlink()


def _is_alive(path: Path) -> bool:
    with unix.socket(unix.AF_UNIX, unix.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
    return True
