"""Endpoints as they stand in a pipeline file: `pub+bind:tcp://127.0.0.1:7700`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from streamvis.errors import AddressError

_GRAMMAR = re.compile(r"^(?:(?P<socket>pub|sub)\+(?P<verb>bind|connect):)?(?P<endpoint>.+)$")
_TCP = re.compile(r"^tcp://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.*-]+):(?P<port>\d{1,5}|\*)$")
_IPC = re.compile(r"^ipc://(?P<path>[^\0]+)$")
_INPROC = re.compile(r"^inproc://.+$")


@dataclass(frozen=True)
class Address:
    """Where a ZeroMQ socket binds or connects; without a prefix in the text it is neither."""

    endpoint: str  # tcp://host:port or ipc://path
    verb: str | None = None  # "bind", "connect"
    socket: str | None = None  # "pub", "sub"

    @staticmethod
    def parse(text: str) -> Address:
        """Raises AddressError with what the address should look like."""
        match = _GRAMMAR.match(text.strip())
        if match is None or not _is_endpoint(match["endpoint"]):
            raise AddressError(
                f"{text!r} is not an address. Write tcp://HOST:PORT or ipc:///PATH, "
                "with pub+bind: before it in a pipeline file."
            )
        return Address(match["endpoint"], match["verb"], match["socket"])

    @property
    def ipc_path(self) -> str | None:
        match = _IPC.match(self.endpoint)
        return match["path"] if match else None

    @property
    def is_local(self) -> bool:
        """Only processes on this machine can reach it."""
        match = _TCP.match(self.endpoint)
        return match is None or is_loopback(match["host"].strip("[]"))

    def beside(self, suffix: str) -> Address:
        """Another socket of the same host: a free port, or a file with a longer name."""
        tcp = _TCP.match(self.endpoint)
        return Address(f"tcp://{tcp['host']}:0" if tcp else self.endpoint + suffix)

    def seen_from(self, other: Address) -> Address:
        """This endpoint, as it was bound, for somebody who reaches its host by `other`."""
        own, way = _TCP.match(self.endpoint), _TCP.match(other.endpoint)
        return Address(f"tcp://{way['host']}:{own['port']}") if own and way else self

    def __str__(self) -> str:
        return self.endpoint


def _is_endpoint(text: str) -> bool:
    tcp = _TCP.match(text)
    if tcp is None:
        return bool(_IPC.match(text) or _INPROC.match(text))
    return tcp["port"] == "*" or int(tcp["port"]) < 65536


def is_loopback(host: str) -> bool:
    """Of a name or an IP address, without brackets."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: others may resolve elsewhere
        return host == "localhost"
