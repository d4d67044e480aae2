"""How tiles are chosen."""

from __future__ import annotations

from typing import Literal

from streamvis.config.model import ConfigModel


class TilingConfig(ConfigModel):
    """`off` sends every tile of every frame: the dense encoder."""

    policy: Literal["off"] = "off"
