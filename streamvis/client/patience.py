"""How long a service may be silent whose pipeline is alive."""

from __future__ import annotations

from streamvis.address import Address
from streamvis.errors import AddressError

_PATIENCE_S = 10.0


class Patience:
    """With one service. Times are monotonic seconds."""

    def __init__(self, pipeline: Address) -> None:
        self._pipeline = pipeline
        self._service: Address | None = None  # that was asked and has not answered
        self._asked_s = 0.0  # for the first time

    def asked(self, service: Address, now_s: float) -> None:
        if self._service != service:
            self._service, self._asked_s = service, now_s

    def answered(self) -> None:
        self._service = None

    def check(self, service: Address, now_s: float) -> None:
        """Call it when the pipeline gave a sign of life, and said where its service is. Raises
        AddressError."""
        if service != self._service or now_s - self._asked_s < _PATIENCE_S:
            return
        self._service = None  # whoever goes on has as much patience again
        raise AddressError(
            f"the pipeline at {self._pipeline} is alive, but its service at {service} gave no "
            f"answer for {_PATIENCE_S:g} s. Give its publish output a fixed `service` address, "
            "and let that port through the firewall."
        )
