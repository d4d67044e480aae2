from __future__ import annotations

import yaml

from streamvis.tiling.config import TilingConfig


def test_off_needs_no_quotes() -> None:
    said = yaml.safe_load("{policy: off}")
    assert TilingConfig.model_validate(said).policy == "off"
