"""What the pipeline file may say about publishing."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from streamvis.address import Address
from streamvis.config.model import ConfigModel, DurationNs, LocalPath, NumBytes
from streamvis.errors import AddressError

OptInKind = Literal["img", "vid", "plan", "sem", "pyramid", "object", "clip"]


class PublishConfig(ConfigModel):
    """The one public endpoint of a pipeline; every worker publishes through it."""

    address: str = Field(
        default="pub+bind:tcp://127.0.0.1:0",
        description="pub+bind:tcp://HOST:PORT or pub+bind:ipc:///PATH; port 0 takes a free one.",
    )
    key: LocalPath | None = Field(
        default=None,
        description="The pipeline's own NAME.key_secret (streamvis keygen): what is published is "
        "encrypted. Needs `allow`.",
    )
    allow: LocalPath | None = Field(
        default=None,
        description="A folder with the public keys (*.key) of all who may subscribe.",
    )
    insecure: bool = Field(
        default=False,
        description="Allow an address that other hosts can reach, without encryption.",
    )
    wait_subscribers: int = Field(
        default=0, ge=0, description="Start the cameras when so many subscribers are there."
    )
    hwm: int = Field(
        default=64, ge=1, description="Messages queued for a subscriber that reads too slowly."
    )
    store: NumBytes = Field(
        default=16_000_000,
        ge=0,
        description="What was published lately, kept in memory for lossless readers; 0B: none.",
    )
    service: str | None = Field(
        default=None,
        description="Where snapshots and lossless reading are served; beside the address (a free "
        "port of the same host, or the path with .service) if not given. Subscribers are told.",
    )
    heartbeat: DurationNs = Field(
        default=1_000_000_000, gt=0, le=1_000_000_000, description="Time between heartbeats."
    )
    sync_tolerance: DurationNs = Field(
        default=60_000_000, ge=0, description="Capture times this close show the same moment."
    )

    opt_in: tuple[OptInKind, ...] = Field(
        default=(),
        description="Kinds that are large or for tools, and scopes of embeddings beyond the "
        "frame's (pyramid, object, clip): made and published on demand only.",
    )

    @property
    def endpoint(self) -> Address:
        return Address.parse(self.address)

    @property
    def service_endpoint(self) -> Address:
        return Address.parse(self.service) if self.service else self.endpoint.beside(".service")

    @field_validator("address", "service")
    @classmethod
    def _can_bind(cls, text: str | None) -> str | None:
        if text is None:
            return None
        try:
            address = Address.parse(text)
        except AddressError as error:
            raise ValueError(str(error)) from None
        if address.endpoint.startswith("inproc:"):
            raise ValueError(f"no other process can reach {address.endpoint}: use ipc:///PATH")
        if address.verb == "connect" or address.socket == "sub":
            raise ValueError(f"a pipeline publishes and binds: write pub+bind:{address.endpoint}")
        return text

    @model_validator(mode="before")
    @classmethod
    def _take_the_word(cls, data: Any, info: ValidationInfo) -> Any:
        """`--insecure` on the command line is as good as the key."""
        is_meant = bool(info.context and info.context.get("insecure"))
        return {**data, "insecure": True} if is_meant and isinstance(data, dict) else data

    @model_validator(mode="after")
    def _is_private(self) -> PublishConfig:
        if (self.key is None) != (self.allow is None):
            raise ValueError("`key` and `allow` go together: whose key it is, and who may listen")
        if self.key or self.insecure:
            return self
        for address in (self.endpoint, self.service_endpoint):
            if not address.is_local:
                raise ValueError(
                    f"{address} can be reached from other hosts. Use 127.0.0.1 or ipc://, give it "
                    "`key` and `allow` (streamvis keygen makes keys), or say insecure: true."
                )
        return self
