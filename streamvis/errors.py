"""Every error that is the world's fault, not the caller's.

    StreamvisError                 exit code
    ├── ConfigError                2   the pipeline file is wrong: file, line, key, nearest name
    ├── SourceError                3   a camera cannot be opened or read
    ├── WeightsError               4   weights or model file missing, wrong hash, wrong shape
    ├── AddressError               5   an endpoint is malformed, in use or unreachable
    ├── OutputError                6   a file or folder cannot be written
    ├── RuntimeStartError          7   Ray cannot start, or a worker process died
    ├── WireError                  8   bytes that are not a message of this protocol
    │   └── VersionError           8   a message of another major version
    ├── Lagging                    9   results arrive older than the subscriber's max_age_ms
    ├── RegressionError            10  `regress` or `--check` found results that differ
    └── ControlError               11  a session that runs cannot be reached, or refuses

A caller's mistake is a ValueError; our own broken invariant is an AssertionError.
Messages are one sentence that says what happened and one that says what to do. Credentials in
URIs are taken out of them here, whoever wrote them.
"""

from streamvis.redact import redact


class StreamvisError(Exception):
    """Base of the tree; `exit_code` is what the command line returns for it."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


class ConfigError(StreamvisError):
    exit_code = 2


class SourceError(StreamvisError):
    """`state` is the typed camera state: not_found, codec_unsupported, corrupt, ..."""

    exit_code = 3

    def __init__(self, message: str, state: str = "error") -> None:
        super().__init__(message)
        self.state = state

    def __reduce__(self) -> tuple[type["SourceError"], tuple[str, str]]:
        return type(self), (str(self), self.state)  # pickled whole across Ray actors


class WeightsError(StreamvisError):
    exit_code = 4


class AddressError(StreamvisError):
    exit_code = 5


class OutputError(StreamvisError):
    exit_code = 6


class RuntimeStartError(StreamvisError):
    exit_code = 7


class WireError(StreamvisError):
    exit_code = 8


class VersionError(WireError):
    pass


class Lagging(StreamvisError):
    exit_code = 9


class RegressionError(StreamvisError):
    exit_code = 10


class ControlError(StreamvisError):
    exit_code = 11
