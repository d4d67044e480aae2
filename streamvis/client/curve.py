"""Keys: who may listen, and who is really the pipeline (CurveZMQ, curve25519).

A key pair is two files: NAME.key is public and is given to the others, NAME.key_secret stays where
it is, readable by its owner only. The format is ZeroMQ's own (ZPL certificates).
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import zmq
import zmq.auth
from zmq.utils import z85

from streamvis.errors import AddressError, OutputError

_PUBLIC, _SECRET = ".key", ".key_secret"
_KEY_LENGTH = 40  # of 32 bytes in Z85


@dataclass(frozen=True)
class KeyPair:
    """Z85 text, 40 bytes each. Its repr does not tell the secret."""

    public: bytes
    secret: bytes = field(repr=False)

    @staticmethod
    def fresh() -> KeyPair:
        return KeyPair(*zmq.curve_keypair())


@dataclass(frozen=True)
class ClientKeys:
    """What a client needs: the pipeline's public key, and its own pair."""

    server: bytes
    own: KeyPair

    @staticmethod
    def load(server_key: Path | str, key: Path | str) -> ClientKeys:
        """Raises AddressError if a file is missing, is no key, or others may read the secret."""
        return ClientKeys(load_public(Path(server_key)), load_pair(Path(key)))

    def secure(self, socket: zmq.Socket[bytes]) -> None:
        """Before it connects."""
        socket.curve_serverkey = self.server
        socket.curve_publickey = self.own.public
        socket.curve_secretkey = self.own.secret


@dataclass(frozen=True)
class RunKeys:
    """Made anew for each run, for the hops between its own processes; never written to a file."""

    server: KeyPair
    client: KeyPair

    @staticmethod
    def fresh() -> RunKeys:
        return RunKeys(KeyPair.fresh(), KeyPair.fresh())

    @property
    def of_client(self) -> ClientKeys:
        return ClientKeys(self.server.public, self.client)


def make_key_files(folder: Path, name: str) -> tuple[Path, Path]:
    """A new pair: (public file, secret file). Raises OutputError; overwrites nothing."""
    public, secret = folder / f"{name}{_PUBLIC}", folder / f"{name}{_SECRET}"
    taken = next((path for path in (public, secret) if path.exists()), None)
    if taken:
        raise OutputError(f"{taken} is there already. Choose another name, or delete it first.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _for_owner_only():
            zmq.auth.create_certificates(folder, name)
        public.chmod(0o644)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot write keys there ({error.strerror}). Choose another folder."
        ) from None
    return public, secret


def load_public(path: Path) -> bytes:
    """Of either file of a pair."""
    return _load(path)[0]


def load_pair(path: Path) -> KeyPair:
    """Of the secret file."""
    public, secret = _load(path)
    if secret is None:
        raise AddressError(f"{path} holds no secret key. Give the file that ends in {_SECRET}.")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise AddressError(f"others may read the secret key {path}. Run: chmod 600 {path}")
    return KeyPair(public, secret)


def load_allowed(folder: Path) -> frozenset[bytes]:
    """The public keys in a folder. Raises AddressError if it is none, or one of them is none."""
    if not folder.is_dir():
        raise AddressError(f"{folder} is no folder. Put the public keys (*{_PUBLIC}) into one.")
    return frozenset(load_public(path) for path in folder.glob(f"*{_PUBLIC}"))


def _load(path: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = zmq.auth.load_certificate(path)
        for key in (public, secret or public):
            z85.decode(key)
            if len(key) != _KEY_LENGTH:
                raise ValueError("too long or too short")
        return public, secret
    except OSError:
        raise AddressError(
            f"there is no key file {path}. Make one: streamvis keygen NAME"
        ) from None
    except (ValueError, LookupError, struct.error):
        raise AddressError(f"{path} is not a key file. Make one: streamvis keygen NAME") from None


@contextmanager
def _for_owner_only() -> Iterator[None]:
    old = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(old)
